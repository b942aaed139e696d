"""One kind of second set-up beside brain_otel's, in a process of its own; prints what came of it, as JSON.

Arguments: the library, the kind, and `before` or `after` brain_otel's set-up; with `used`, after the first call.
"""

import asyncio
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import fastapi
import httpx
import redis
import redis.asyncio
import sqlalchemy
import sqlalchemy.ext.asyncio
from opentelemetry import trace as otel_trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor, SyncOpenTelemetryTransport
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import SpanProcessor

import brain_otel
from brain_otel import instrumentation
from brain_otel.testing import Telemetry, captured_telemetry

Action = Callable[[], Any]
VALKEY = os.environ.get("VALKEY_URL", "")
lines: list[str] = []


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def answer() -> str:
    return "answer"


class Counting(SpanProcessor):
    open: ClassVar[int] = 0

    def on_start(self, *_: Any, **__: Any) -> None:
        Counting.open += 1

    def on_end(self, *_: Any) -> None:
        Counting.open -= 1


class Collecting(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "brain_otel.sdk.setup":  # the line about the semantic conventions
            lines.append(f"{record.name}: {record.getMessage()}")


def of_sqlalchemy(kind: str) -> tuple[Action, Action, Action]:
    made: dict[str, Any] = {}

    def engine() -> Any:
        if "engine" not in made:
            options = {"poolclass": sqlalchemy.pool.StaticPool}
            made["engine"] = sqlalchemy.create_engine("sqlite://", **options)
        return made["engine"]

    def call() -> None:
        with engine().connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))

    def fail() -> None:
        with engine().connect() as connection:
            try:
                connection.execute(sqlalchemy.text("select nothing"))
            except sqlalchemy.exc.OperationalError:
                return

    instrumentor = SQLAlchemyInstrumentor()
    if kind != "later engine":
        engine()
    options: dict[str, Any] = {
        "global": dict,
        "later engine": dict,
        "engine": lambda: {"engine": engine()},
        "engines": lambda: {"engines": [engine()]},
        "comments": lambda: {"engine": engine(), "enable_commenter": True},
        "failing": lambda: {"engine": engine()},
    }
    use = lambda: instrumentor.instrument(skip_dep_check=True, **options[kind]())  # noqa: E731
    return (fail if kind == "failing" else call), use, instrumentor.uninstrument


def of_httpx(kind: str) -> tuple[Action, Action, Action]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://key:secret@127.0.0.1:{server.server_port}/path?token=1"
    clients: dict[str, Any] = {"sync": httpx.Client(), "async": httpx.AsyncClient()}

    def call() -> None:
        clients["sync"].get(url)

    def call_async() -> None:
        async def get() -> None:
            async with httpx.AsyncClient() as client:
                if kind == "async client" and clients.get("wraps"):
                    HTTPXClientInstrumentor.instrument_client(client)
                await client.get(url)

        asyncio.run(get())

    def transport() -> None:
        clients["sync"] = httpx.Client(transport=SyncOpenTelemetryTransport(httpx.HTTPTransport()))

    if kind == "global":
        return call, HTTPXClientInstrumentor().instrument, HTTPXClientInstrumentor().uninstrument
    if kind == "async client":
        return call_async, lambda: clients.update(wraps=True), lambda: clients.update(wraps=False)
    if kind == "transport":
        return call, transport, lambda: clients.update(sync=httpx.Client())
    client = clients["sync"]
    return (
        call,
        lambda: HTTPXClientInstrumentor.instrument_client(client),
        lambda: HTTPXClientInstrumentor.uninstrument_client(client),
    )


def of_redis(kind: str) -> tuple[Action, Action, Action]:
    client = redis.Redis.from_url(VALKEY)

    def call() -> None:
        client.get("two_setups")

    def pipeline() -> None:
        with client.pipeline() as commands:
            commands.get("a")
            commands.get("b")
            commands.execute()

    def call_async() -> None:
        async def get() -> None:
            async with redis.asyncio.Redis.from_url(VALKEY) as other:
                if wraps:
                    RedisInstrumentor.instrument_client(other)
                await other.get("two_setups")

        asyncio.run(get())

    wraps: list[bool] = []
    if kind == "global":
        return call, RedisInstrumentor().instrument, RedisInstrumentor().uninstrument
    if kind == "async client":
        return call_async, lambda: wraps.append(True), wraps.clear
    return (
        pipeline if kind == "pipeline" else call,
        lambda: RedisInstrumentor.instrument_client(client),
        lambda: RedisInstrumentor.uninstrument_client(client),
    )


def of_fastapi(kind: str) -> tuple[Action, Action, Action]:
    made: dict[str, fastapi.FastAPI] = {}
    path = "/sub/y" if "mounted" in kind else "/x"

    def app() -> fastapi.FastAPI:
        if "app" not in made:
            made["app"], sub = fastapi.FastAPI(), fastapi.FastAPI()
            made["app"].get("/x")(answer)
            sub.get("/y")(answer)
            made["app"].mount("/sub", sub)
        return made["app"]

    def call() -> None:
        async def get() -> None:
            transport = httpx.ASGITransport(app())
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                (await client.get(path)).raise_for_status()

        asyncio.run(get())

    if "later" not in kind:
        app()
    if kind in ("app", "mounted"):
        exclude = ["receive", "send"]
        return (
            call,
            lambda: FastAPIInstrumentor.instrument_app(app(), exclude_spans=exclude),  # type: ignore[arg-type]
            lambda: FastAPIInstrumentor.uninstrument_app(app()),
        )
    use = lambda: FastAPIInstrumentor().instrument(exclude_spans=["receive", "send"])  # noqa: E731
    return call, use, FastAPIInstrumentor().uninstrument


LIBRARIES = {"sqlalchemy": of_sqlalchemy, "httpx": of_httpx, "redis": of_redis, "fastapi": of_fastapi}


def spans_of(call: Action, telemetry: Telemetry, *, in_transaction: bool) -> list[str]:
    """The names of the spans of one call; `open` for each that has not ended."""
    telemetry.clear()
    Counting.open = 0
    if in_transaction:
        with brain_otel.start_transaction("transaction"):
            call()
    else:
        call()
    # Without an address, and a pipeline as contrib names it.
    names = [re.sub(r" \S+:\S*$", "", each["name"]).replace("MULTI GET", "GET GET") for each in telemetry.spans]
    return [each for each in names if each not in ("transaction", "connect")] + ["open"] * Counting.open


def main(library: str, kind: str, order: str) -> dict[str, Any]:
    call, use, remove = LIBRARIES[library](kind)
    if order == "before":
        use()
    found: dict[str, Any] = {}

    def spans() -> list[str]:
        return spans_of(call, telemetry, in_transaction=library != "fastapi")

    with captured_telemetry({"BRAIN_OTEL_FAST_PATHS": os.environ.get("BRAIN_OTEL_FAST_PATHS", "true")}) as telemetry:
        provider: Any = otel_trace.get_tracer_provider()
        provider.add_span_processor(Counting())
        if order == "used":
            spans()
        if order != "before":
            use()
        found["both"] = [spans(), spans()]
        remove()
        found["ours"] = spans()
        use()
        found["again"] = spans()
        found["lines"] = list(lines)
        instrumentation.uninstrument()
        found["theirs"] = spans()
        remove()
        found["none"] = spans()
    return found


if __name__ == "__main__":
    logging.getLogger().addHandler(Collecting(logging.WARNING))
    with closing(sys.stdout):
        sys.stdout.write(json.dumps(main(*sys.argv[1:])))
