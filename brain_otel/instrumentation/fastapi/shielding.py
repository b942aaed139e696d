"""Shields the application from instrumentation of ASGI that fails: contrib's middleware, and FastAPI's own telemetry.

Both read the scope, the headers and the messages unguarded. A query that is not UTF-8, or a server without a port,
would become a response with status 500.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from brain_otel.instrumentation.fastapi.request import is_traced_by_parent
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement
from brain_otel.runtime.shield import Relay, await_through

Instrumented = Callable[[ASGIApp, Receive, Send], Awaitable[None]]
"""Serves a request with an app, ``receive`` and ``send`` in the place of the original ones."""


def patch_middleware(patches: Patches) -> None:
    """Shield every app from contrib's middleware, whoever has added it."""
    patches.replace(OpenTelemetryMiddleware, "__call__", _contrib)


def patch_native(patches: Patches) -> None:
    """Shield every app from FastAPI's own telemetry."""
    with guarded("shielding apps from FastAPI's telemetry"):
        patches.replace(import_module("fastapi.telemetry._asgi").NativeTelemetry, "__call__", _native)


@replacement
async def _contrib(
    original: Original, self: OpenTelemetryMiddleware, scope: Scope, receive: Receive, send: Send
) -> None:
    if is_traced_by_parent(scope):
        await self.app(scope, receive, send)
        return

    async def instrumented(app: ASGIApp, receive: Receive, send: Send) -> None:
        middleware = copy.copy(self)  # requests run at the same time, each with its own app
        middleware.app = app
        await original(middleware, scope, receive, send)

    await _serve(instrumented, self.app, scope, receive, send)


@replacement
async def _native(
    original: Original, /, self: Any, *, app: ASGIApp, scope: Scope, receive: Receive, send: Send, **options: Any
) -> None:
    async def instrumented(app: ASGIApp, receive: Receive, send: Send) -> None:
        await original(self, app=app, scope=scope, receive=receive, send=send, **options)

    await _serve(instrumented, app, scope, receive, send)


async def _serve(instrumented: Instrumented, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    receiving, sending = Relay("receiving a message", receive), Relay("sending a message", send)

    async def watched(run: Callable[..., Awaitable[None]]) -> None:
        async def inner(scope: Scope, receive: Receive, send: Send) -> None:
            await run(scope, receiving.through(receive), sending.through(send))

        await instrumented(inner, receiving.function, sending.function)

    await await_through("tracing a request", watched, app, scope, receive, send)
