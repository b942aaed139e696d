"""Tests of exceptions that a middleware answers: one event each, on the span of the request too."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from brain_otel.testing import Telemetry
from tests.support import ROOT
from tests.support.process import run_python


class Answering:
    """Answers exceptions with the status in the path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except ValueError:
            status = int(scope["path"].rpartition("/")[2])
            await JSONResponse("answered", status)(scope, receive, send)


class Retrying(Answering):
    """Asks again after an exception."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except ValueError:
            await self.app({**scope, "path": "/fine"}, receive, send)


class Failing(Answering):
    """Fails itself, below another middleware."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        raise ValueError("failing middleware")


async def answering_base(request: Request, call_next: RequestResponseEndpoint) -> Response:
    try:
        return await call_next(request)
    except ValueError:
        return JSONResponse("answered", 503)


def create_app(*middleware: Any, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/fail/{status}")
    async def fail(status: int) -> None:
        raise ValueError(f"answered with {status}")

    @app.get("/fine")
    async def fine() -> str:
        return "fine"

    @app.get("/unavailable")
    async def unavailable() -> None:
        raise HTTPException(503)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield "begun"
            raise ValueError("stream")

        return StreamingResponse(body())

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        async def work() -> None:
            raise ValueError("background")

        tasks.add_task(work)
        return "done"

    for each in middleware:
        app.add_middleware(each, **options)
    return app


def get(app: FastAPI, path: str) -> int:
    async def call() -> int:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return (await client.get(path)).status_code

    return asyncio.run(call())


def server_span(telemetry: Telemetry) -> dict[str, Any]:
    (span,) = [each for each in telemetry.spans if each["kind"] == "server"]
    return span


def reported(telemetry: Telemetry) -> list[tuple[str, bool]]:
    values = [event["exception"]["values"][-1] for event in telemetry.events]
    return [(each["value"], each["mechanism"]["handled"]) for each in values]


def transaction_status(telemetry: Telemetry) -> str:
    (found,) = [each for each in telemetry.transactions if each["contexts"]["trace"]["op"].endswith(".server")]
    status: str = found["contexts"]["trace"]["status"]
    return status


def test_an_exception_that_a_middleware_answers_is_one_handled_event(telemetry: Telemetry) -> None:
    """The span has one exception event too."""
    assert get(create_app(Answering), "/fail/500") == 500
    assert reported(telemetry) == [("answered with 500", True)]
    span = server_span(telemetry)
    assert (span["status"], [each["name"] for each in span["events"]]) == ("error", ["exception"])
    assert "exception.escaped" not in span["events"][0]["attributes"]


@pytest.mark.parametrize("status", [200, 404, 422])
def test_an_answer_that_is_no_failure_is_no_event(telemetry: Telemetry, status: int) -> None:
    """The middleware has handled the exception."""
    assert get(create_app(Answering), f"/fail/{status}") == status
    assert reported(telemetry) == []
    assert server_span(telemetry)["events"] == []


def test_a_retry_that_succeeds_is_no_event(telemetry: Telemetry) -> None:
    """The response decides, not the exception."""
    assert get(create_app(Retrying), "/fail/500") == 200
    assert reported(telemetry) == []
    assert server_span(telemetry)["status"] == "unset"


def test_a_failing_middleware_below_another_is_an_event(telemetry: Telemetry) -> None:
    """Whoever raised it."""
    assert get(create_app(Failing, Answering), "/fail/502") == 502
    assert reported(telemetry) == [("failing middleware", True)]


def test_base_http_middleware_is_seen_too(telemetry: Telemetry) -> None:
    """Its inner app runs in another task."""
    app = create_app()
    app.add_middleware(BaseHTTPMiddleware, dispatch=answering_base)
    assert get(app, "/fail/500") == 503
    assert reported(telemetry) == [("answered with 500", True)]
    assert transaction_status(telemetry) == "unavailable"


def test_an_exception_that_nobody_answers_is_unhandled(telemetry: Telemetry) -> None:
    """Starlette's own 500 is no answer of a middleware's."""
    app = create_app(Retrying)
    app.add_middleware(Answering)
    app.router.routes[:] = [each for each in app.router.routes if getattr(each, "path", "") != "/fine"]

    @app.get("/fine")
    async def fine() -> None:
        raise LookupError("nobody answers")

    assert get(app, "/fail/500") == 500
    assert reported(telemetry) == [("nobody answers", False)]
    assert [each["name"] for each in server_span(telemetry)["events"]] == ["exception"]


def test_a_mounted_app_with_middleware_is_seen(telemetry: Telemetry) -> None:
    """The outer app has none."""
    outer = FastAPI()
    outer.mount("/sub", create_app(Answering))
    assert get(outer, "/sub/fail/500") == 500
    assert reported(telemetry) == [("answered with 500", True)]


def test_an_http_exception_that_is_a_failure_is_on_the_span(telemetry: Telemetry) -> None:
    """With the status of the response."""
    assert get(create_app(), "/unavailable") == 503
    span = server_span(telemetry)
    assert [each["attributes"]["exception.type"] for each in span["events"]] == ["fastapi.exceptions.HTTPException"]
    assert span["status"] == "error"
    assert reported(telemetry) == [("Service Unavailable", True)]


@pytest.mark.parametrize("has_middleware", [False, True])
def test_a_stream_that_fails_is_one_exception_and_no_success(telemetry: Telemetry, has_middleware: bool) -> None:
    """Under `BaseHTTPMiddleware`, which completes the response, too."""
    app = create_app()
    if has_middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=answering_base)
    assert get(app, "/stream") == 200
    span = server_span(telemetry)
    assert (span["status"], [each["name"] for each in span["events"]]) == ("error", ["exception"])
    assert reported(telemetry) == [("stream", False)]
    assert transaction_status(telemetry) == "internal_error"


def test_a_background_task_that_fails_is_seen_on_the_transaction(telemetry: Telemetry) -> None:
    """The server span has ended as a success, as the client saw it; the task's own span has the error."""
    assert get(create_app(), "/background") == 200
    assert server_span(telemetry)["status"] == "unset"
    assert transaction_status(telemetry) == "internal_error"
    assert reported(telemetry) == [("background", False)]


def test_the_apps_own_middleware_stays_as_it_was(telemetry: Telemetry) -> None:
    """The list and what is in it; each middleware gets its arguments."""
    seen: list[str] = []

    class Looking(Answering):
        def __init__(self, app: ASGIApp, word: str) -> None:
            super().__init__(app)
            seen.append(word)

    app = create_app(Looking, word="given")
    before = app.user_middleware
    get(app, "/fine")
    assert app.user_middleware is before
    assert [(str(each.cls), each.kwargs) for each in before] == [(str(Looking), {"word": "given"})]
    assert seen == ["given"]
    assert telemetry.events == []


def websocket(app: FastAPI, code: int) -> None:
    """Open `/socket`, say hello and leave with `code`."""
    messages = iter(
        [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "hello"},
            {"type": "websocket.disconnect", "code": code},
        ]
    )

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        assert message["type"] in ("websocket.accept", "websocket.send")

    scope = {"type": "websocket", "path": "/socket", "raw_path": b"/socket", "query_string": b"", "headers": []}
    with suppress(WebSocketDisconnect):
        asyncio.run(app(scope, receive, send))


@pytest.mark.parametrize(
    ("code", "status"), [(1000, "ok"), (1001, "ok"), (1005, "ok"), (1006, "cancelled"), (1011, "cancelled")]
)
def test_a_websocket_that_its_client_closes_is_no_error(telemetry: Telemetry, code: int, status: str) -> None:
    """The endpoint's `receive_text()` raises, which no span shows as an error; an abnormal close is cancelled."""
    app = create_app()

    @app.websocket("/socket")
    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            await socket.send_text(await socket.receive_text())

    websocket(app, code)
    span = server_span(telemetry)
    assert (span["status"], span["events"]) == ("unset", [])
    assert reported(telemetry) == []
    assert transaction_status(telemetry) == status


def test_an_abandoned_upload_is_cancelled(telemetry: Telemetry) -> None:
    """Nobody gets Starlette's 500, so the span has no status code."""
    app = create_app()

    @app.post("/upload")
    async def upload(request: Request) -> None:
        await request.body()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        del message

    scope = {"type": "http", "method": "POST", "path": "/upload", "raw_path": b"/upload"}
    with pytest.raises(ClientDisconnect):
        asyncio.run(app({**scope, "query_string": b"", "headers": []}, receive, send))
    span = server_span(telemetry)
    assert (span["name"], span["status"], span["events"]) == ("POST /upload", "unset", [])
    assert "http.response.status_code" not in span["attributes"]
    assert transaction_status(telemetry) == "cancelled"
    assert reported(telemetry) == []


def test_a_stream_that_its_client_leaves_is_cancelled(telemetry: Telemetry) -> None:
    """Starlette ends it without an exception, and without the last part of the body."""
    app = create_app()
    left = asyncio.Event()

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            while True:
                yield "more"
                await asyncio.sleep(0.001)

        return StreamingResponse(body())

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            left.set()

    scope = {"type": "http", "method": "GET", "path": "/endless", "raw_path": b"/endless"}
    asyncio.run(app({**scope, "query_string": b"", "headers": []}, receive, send))
    span = server_span(telemetry)
    assert (span["status"], span["events"], span["attributes"]["http.response.status_code"]) == ("unset", [], 200)
    assert transaction_status(telemetry) == "cancelled"
    assert reported(telemetry) == []


def test_a_cancelled_request_is_cancelled(telemetry: Telemetry) -> None:
    """As a server does that stops, or that cancels the request of a client that has gone."""
    app = create_app()

    @app.get("/wait")
    async def wait() -> None:
        await asyncio.sleep(60)

    async def call() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
                await client.get("http://shop/wait")

    asyncio.run(call())
    assert transaction_status(telemetry) == "cancelled"
    assert server_span(telemetry)["status"] == "unset"
    assert reported(telemetry) == []


def test_a_middleware_may_have_any_option(telemetry: Telemetry) -> None:
    """Also one with the name of a parameter of ours."""
    seen: list[str] = []

    class Optional(Answering):
        def __init__(self, app: ASGIApp, kind: str) -> None:
            super().__init__(app)
            seen.append(kind)

    assert get(create_app(Optional, kind="mine"), "/fine") == 200
    assert seen == ["mine"]
    assert telemetry.events == []


STACK = """
import asyncio, json, sys
import brain_otel
brain_otel.setup()
from fastapi import FastAPI

app = FastAPI()

@app.get("/items")
async def items(): return 1

@app.get("/fails")
async def fails(): raise ValueError("no")

async def ask(path):
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": path}
    scope |= {"query_string": b"", "headers": [(b"host", b"shop.test")]}
    sent = []

    async def receive(): return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message): sent.append(message.get("status"))

    try:
        await app(scope, receive, send)
    except ValueError as error:
        sent.append(str(error))
    return sent

calls = []

def count(frame, event, argument):
    if event == "call" and "brain_otel" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
        calls.append(frame.f_code.co_qualname)

async def main():
    answers = [await ask(path) for path in ("/items", "/items", "/fails")]
    numbers = []
    for _ in range(10):  # the least: one may begin a minute, or come when objects are frozen
        calls.clear()
        sys.setprofile(count)
        await ask("/items")
        sys.setprofile(None)
        numbers.append(len(calls))
    print(json.dumps([answers, type(app.middleware_stack.app).__name__, min(numbers)]))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("fast", "outermost", "at_most"), [("true", "ServerSpanMiddleware", 160), ("false", "ServerErrorMiddleware", 500)]
)
def test_a_request_passes_through_no_more_than_it_needs(fast: str, outermost: str, at_most: int) -> None:
    """Contrib's last resort surrounds contrib's middleware alone, and few functions of ours run for a request."""
    env = {
        "SENTRY_DSN": "http://key@127.0.0.1:9/1",
        "SENTRY_ENVIRONMENT": "production",
        "SENTRY_TRACES_SAMPLE_RATE": "1",
    }
    done = run_python(STACK, {**env, "BRAIN_OTEL_FAST_PATHS": fast}, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    answers, found, calls = json.loads(done.stdout)
    assert answers == [[200, None], [200, None], [500, None, "no"]]
    assert (found, calls <= at_most) == (outermost, True), calls
