"""An app with every kind of route, for contrib's middleware and ours."""

import time
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Response, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from opentelemetry import baggage
from opentelemetry import trace as otel_trace


def create_app(began: Callable[[int], None]) -> FastAPI:
    """Create the app, which calls ``began`` with the time in nanoseconds when a background task begins."""
    app, sub, inner = FastAPI(), FastAPI(), APIRouter(prefix="/inner")
    add_items(app, sub, inner)
    add_statuses(app)
    add_lasting(app, began)
    app.include_router(inner, prefix="/api")
    app.mount("/sub", sub)
    return app


def add_items(app: FastAPI, sub: FastAPI, inner: APIRouter) -> None:
    @app.get("/items/{item_id}")
    @sub.get("/items/{item_id}")
    @inner.get("/items/{item_id}")
    @app.post("/only-post")
    async def item(item_id: str = "") -> str:
        return item_id

    @app.get("/context")
    @sub.get("/context")
    async def seen() -> Any:
        span = otel_trace.get_current_span()
        context = span.get_span_context()
        state = context.trace_state.to_header()
        ids = f"{context.trace_id:x}", f"{context.span_id:x}", int(context.trace_flags), state
        return {"ids": ids, "recording": span.is_recording(), "baggage": dict(baggage.get_all())}


def add_statuses(app: FastAPI) -> None:
    @app.get("/status/{code}")
    async def status(code: int) -> Response:
        return PlainTextResponse("é", status_code=code)

    @app.get("/named-status")
    async def named() -> Response:
        return PlainTextResponse("", status_code=HTTPStatus.CREATED)

    @app.get("/refused/{code}")
    async def refused(code: int) -> None:
        raise HTTPException(code, "no")

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError("boom")

    @app.get("/boom-in-thread")
    def boom_in_thread() -> None:
        raise KeyError("boom")

    @app.get("/no-body")
    async def no_body() -> Response:
        return Response(status_code=204)

    @app.head("/head")
    async def head() -> Response:
        return Response(headers={"x-head": "1"})

    @app.websocket("/rooms/{room}")
    async def room(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_text(room)
        await websocket.close()


def add_lasting(app: FastAPI, began: Callable[[int], None]) -> None:
    async def chunks(fails: bool) -> AsyncIterator[bytes]:
        yield b"one"
        if fails:
            raise RuntimeError("late")
        yield b"two"

    @app.get("/stream/{fails}")
    async def stream(fails: bool) -> Response:
        return StreamingResponse(chunks(fails))

    async def work(fails: bool) -> None:
        began(time.time_ns())
        if fails:
            raise RuntimeError("in the background")

    @app.get("/background/{fails}")
    async def background(fails: bool, tasks: BackgroundTasks) -> str:
        tasks.add_task(work, fails)
        return "done"
