"""The demo's main service for a server of your own: ``uvicorn --factory brain_otel.demo.asgi:create_app``."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI

import brain_otel
from brain_otel.demo.servers import prepared_core


def create_app() -> FastAPI:
    """BRAiN Core, with telemetry as the variables say; what it needs runs until the server stops.

    Raises:
        ConfigurationError: a variable is wrong.
        ServiceError: a service did not start.
    """
    brain_otel.setup()
    running = ExitStack()
    core = running.enter_context(prepared_core())
    lifespan = core.router.lifespan_context

    @asynccontextmanager
    async def lifespan_with_services(app: FastAPI) -> AsyncIterator[None]:
        with running:
            async with lifespan(app):
                yield

    core.router.lifespan_context = lifespan_with_services
    return core
