"""An app that uses every part of brain_otel, and in which a test can make one part fail.

``POST /control?target=...`` breaks the named part, ``POST /control`` repairs it. The FastAPI app serves neither.
"""

import asyncio
import importlib
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import httpx
import redis.asyncio
import sentry_sdk
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool
from starlette.types import Receive, Scope, Send

import brain_otel
from brain_otel.runtime.guard import forget_logged_places

logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
brain_otel.setup()

service = FastAPI()
cache = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]) if "REDIS_URL" in os.environ else None
mounted = FastAPI()
service.mount("/mounted", mounted)


class AnsweredError(Exception):
    """Has a handler that answers 503."""


@service.exception_handler(AnsweredError)
async def answer(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"answered": str(error)}, 503)


@service.get("/work/{number}")
async def work(number: int, background: BackgroundTasks) -> dict[str, Any]:
    """Use every helper and every instrumentation."""
    brain_otel.set_user_context("u1", email="a@b")
    brain_otel.set_tag("tenant", "acme")
    brain_otel.set_context("order", {"id": number})
    brain_otel.add_breadcrumb("began", data={"number": number})
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with brain_otel.start_span("task", "inner") as span, engine.connect() as connection:
        span.set_tag("a", 1)
        rows = connection.execute(text("SELECT 1 UNION SELECT 2")).scalars().all()
    engine.dispose()
    if cache is not None:
        await cache.get(f"work:{number}")
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        called = await client.get(f"http://127.0.0.1:{os.environ['PORT']}/plain?a=1")
    with brain_otel.start_transaction("nested") as transaction:
        transaction.set_tag("b", 2)
        brain_otel.capture_message("a message")
    try:
        raise ValueError(number)
    except ValueError as error:
        brain_otel.capture_exception(error, number=number)
    logging.getLogger("shop").error("logged %s", number)
    background.add_task(lambda: None)
    awaited = await asyncio.create_task(_later(number))
    return {"number": number, "rows": list(rows), "called": called.json(), "awaited": awaited}


async def _later(number: int) -> int:
    return number * 2


@service.get("/plain")
def plain() -> dict[str, str]:
    return {"plain": "yes"}


@service.get("/fails/{number}")
async def fails(number: int) -> None:
    raise ValueError(number)


@service.get("/answered/{number}")
async def answered(number: int) -> None:
    raise AnsweredError(number)


@service.get("/refused/{number}")
async def refused(number: int) -> None:
    raise HTTPException(502, "no")


@service.get("/stream")
async def stream() -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        with brain_otel.start_span("chunk"):
            for part in "abc":
                yield part

    return StreamingResponse(body())


@service.get("/task")
async def task() -> dict[str, str]:
    """Start a task that fails and that nobody awaits."""

    async def fail() -> None:
        raise ValueError("task")

    # The fast path leaves this transaction to sentry-sdk; of the others, those whose profile has samples enough.
    with suppress(RuntimeError):  # sentry-sdk's own function shows what is injected into a scope
        sentry_sdk.set_level("info")
    started = asyncio.create_task(fail())
    await asyncio.wait([started])
    del started
    return {"task": "done"}


@mounted.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    return {"item": number}


class Injection:
    """The part that is broken at the moment, and how often it was called."""

    def __init__(self) -> None:
        self.hits = 0
        self._mend: list[Any] = []

    def break_(self, target: str) -> None:
        """Make `module:path.to.name` fail; a number in the path is an index."""
        module, _, path = target.partition(":")
        owner: Any = importlib.import_module(module)
        *way, name = path.split(".")
        for part in way:
            owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
        missing = object()
        before = vars(owner).get(name, missing)

        def fail(*_: Any, **__: Any) -> None:
            self.hits += 1
            raise RuntimeError("injected")

        setattr(owner, name, fail)
        self._mend.append(lambda: delattr(owner, name) if before is missing else setattr(owner, name, before))

    def mend(self) -> None:
        while self._mend:
            self._mend.pop()()
        self.hits = 0
        brain_otel.flush()  # an object under construction may fail, and log it, only now
        forget_logged_places()


injection = Injection()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve `/control` here and all other paths in the app."""
    if scope["type"] != "http" or scope["path"] != "/control":
        await service(scope, receive, send)
        return
    hits = injection.hits
    if scope["method"] == "POST":
        injection.mend()
        for target in parse_qs(scope["query_string"].decode()).get("target", ()):
            injection.break_(target)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps({"hits": hits}).encode()})
