"""One application for two SDKs: ``SIDE=native`` is ``sentry_sdk.init()``, anything else brain_otel.

Each route is one behaviour that both report. ``TARGET`` is an HTTP server, ``REDIS`` a Valkey.
"""

import asyncio
import contextvars
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import sentry_sdk

NATIVE = os.environ.get("SIDE") == "native"

if NATIVE:
    from sentry_sdk.integrations.flask import FlaskIntegration

    # Flask is there for a server of other tests, and sentry-sdk would call itself `sentry.python.flask`.
    sentry_sdk.init(traces_sample_rate=1.0, disabled_integrations=[FlaskIntegration()])
    start_span: Any = sentry_sdk.start_span
    start_transaction: Any = sentry_sdk.start_transaction
    capture_exception: Any = sentry_sdk.capture_exception
else:
    import brain_otel

    brain_otel.setup()
    start_span, start_transaction = brain_otel.start_span, brain_otel.start_transaction
    capture_exception = brain_otel.capture_exception

import httpx  # noqa: E402
import redis  # noqa: E402
import redis.asyncio  # noqa: E402
from fastapi import (  # noqa: E402
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    HTTPException,
    Query,
    Request,
    WebSocket,
)
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from sentry_sdk.crons import capture_checkin, monitor  # noqa: E402
from sqlalchemy import create_engine, text  # noqa: E402
from sqlalchemy.pool import StaticPool  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402
from starlette.routing import Route  # noqa: E402

TARGET = os.environ.get("TARGET", "")
logger = logging.getLogger("shop")
logger.setLevel(logging.DEBUG)
app = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
with engine.begin() as prepared:
    prepared.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)"))
    prepared.execute(text("INSERT INTO item VALUES (1, 'a'), (2, 'b')"))
store = redis.Redis.from_url(os.environ.get("REDIS", "redis://127.0.0.1:9/0"))
async_store = redis.asyncio.Redis.from_url(os.environ.get("REDIS", "redis://127.0.0.1:9/0"))
store.set("warm", "1")


class DeclinedError(Exception):
    """An error of the application's."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TeapotError(Exception):
    """Handled with 418."""


class BrokenError(Exception):
    """Handled with 500."""


class Order(BaseModel):
    """A JSON body."""

    item: str
    count: int = 1


@app.exception_handler(TeapotError)
async def teapot(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 418)


@app.exception_handler(BrokenError)
async def broken(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 500)


# -- routes --------------------------------------------------------------------------------------------------


@app.get("/plain")
async def plain() -> str:
    return "plain"


@app.get("/sync")
def sync() -> str:
    return "sync"


@app.get("/items/{item_id}")
async def item(item_id: int) -> int:
    return item_id


@app.get("/users/{user_id}/orders/{order_id}")
def order(user_id: int, order_id: str) -> str:
    return f"{user_id} {order_id}"


@app.get("/files/{path:path}")
async def file(path: str) -> str:
    return path


@app.get("/search")
async def search(q: str = "", page: int = Query(1)) -> str:
    return f"{q} {page}"


@app.post("/orders", status_code=201)
async def create_order(given: Order) -> Order:
    return given


@app.put("/orders/{order_id}")
async def replace_order(order_id: int, given: Order) -> Order:
    return given


@app.patch("/orders/{order_id}")
async def change_order(order_id: int) -> int:
    return order_id


@app.delete("/orders/{order_id}", status_code=204)
async def delete_order(order_id: int) -> None:
    return None


@app.post("/form")
async def form(request: Request) -> str:
    return (await request.body()).decode()


@app.post("/upload")
async def upload(request: Request) -> int:
    return len(await request.body())


@app.get("/cookie")
async def cookie(session: str = Cookie("")) -> str:
    return session


@app.get("/redirect")
async def redirect() -> RedirectResponse:
    return RedirectResponse("/plain")


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    return StreamingResponse(parts())


@app.get("/sync-stream")
def sync_stream() -> StreamingResponse:
    def parts() -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    return StreamingResponse(parts())


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(lambda: None)
    return "background"


def common(q: str = "") -> str:
    return q


@app.get("/depends")
async def depends(q: str = Depends(common)) -> str:
    return q


router = APIRouter(prefix="/api/v1")


@router.get("/things/{thing}")
async def thing(thing: str) -> str:
    return thing


app.include_router(router)
sub = FastAPI()


@sub.get("/inner/{number}")
async def inner(number: int) -> int:
    return number


@sub.get("/fails")
async def inner_fails() -> None:
    raise DeclinedError("inner")


async def plain_starlette(_: Request) -> PlainTextResponse:
    return PlainTextResponse("starlette")


app.mount("/sub", sub)
app.mount("/raw", Starlette(routes=[Route("/deep/{name}", plain_starlette)]))


# -- errors --------------------------------------------------------------------------------------------------


@app.get("/fails")
async def fails() -> None:
    raise DeclinedError("declined")


@app.get("/sync-fails/{number}")
def sync_fails(number: int) -> None:
    amount = number * 2
    raise DeclinedError(f"declined {amount}")


def failing_dependency() -> None:
    raise DeclinedError("dependency")


@app.get("/dependency-fails", dependencies=[Depends(failing_dependency)])
async def dependency_fails() -> None:
    return None


async def failing_later() -> AsyncIterator[None]:
    yield
    raise DeclinedError("later")


@app.get("/yield-fails", dependencies=[Depends(failing_later)])
async def yield_fails() -> str:
    return "yield"


@app.get("/http/{status}")
async def http_error(status: int) -> None:
    raise HTTPException(status, "as asked")


@app.get("/teapot")
async def handled_teapot() -> None:
    raise TeapotError("short and stout")


@app.get("/broken")
async def handled_broken() -> None:
    raise BrokenError("broken")


@app.get("/chained")
async def chained() -> None:
    try:
        raise KeyError("cause")
    except KeyError as error:
        raise DeclinedError("effect") from error


@app.get("/context-chained")
async def context_chained() -> None:
    try:
        raise KeyError("context")
    except KeyError:
        raise DeclinedError("effect")  # noqa: B904 - the implicit context is what is looked at


@app.get("/group")
async def group() -> None:
    raise ExceptionGroup("several", [ValueError("one"), DeclinedError("two")])


@app.get("/noted")
async def noted() -> None:
    error = DeclinedError("noted")
    error.add_note("a note")
    raise error


@app.get("/stream-fails")
async def stream_fails() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        raise DeclinedError("stream")

    return StreamingResponse(parts())


async def fail_later() -> None:
    raise DeclinedError("background")


def fail_later_sync() -> None:
    raise DeclinedError("background")


@app.get("/background-fails")
async def background_fails(tasks: BackgroundTasks) -> str:
    tasks.add_task(fail_later)
    return "background"


@app.get("/sync-background-fails")
async def sync_background_fails(tasks: BackgroundTasks) -> str:
    tasks.add_task(fail_later_sync)
    return "background"


@app.get("/captured")
async def captured() -> str:
    try:
        raise DeclinedError("captured")
    except DeclinedError as error:
        capture_exception(error)
    return "captured"


@app.get("/captured-twice")
async def captured_twice() -> str:
    try:
        raise DeclinedError("twice")
    except DeclinedError as error:
        capture_exception(error)
        capture_exception(error)
    return "captured"


@app.get("/captured-then-logged")
async def captured_then_logged() -> str:
    try:
        raise DeclinedError("logged")
    except DeclinedError as error:
        event_id = capture_exception(error)
        logger.error("Failed: %s (%s)", error, event_id)
    return "captured"


@app.get("/captured-in-sync")
def captured_in_sync() -> str:
    try:
        raise DeclinedError("sync")
    except DeclinedError:
        sentry_sdk.capture_exception()
    return "captured"


@app.get("/thread")
def in_thread() -> str:
    def work() -> None:
        sentry_sdk.capture_message("from a thread")

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    return "thread"


@app.get("/task")
async def in_task() -> str:
    async def work() -> None:
        sentry_sdk.capture_message("from a task")

    await asyncio.create_task(work(), context=contextvars.copy_context())
    return "task"


@app.get("/message/{level}")
async def message(level: str) -> str:
    sentry_sdk.capture_message("hello", level)  # type: ignore[arg-type]  # any text, as from a path
    return level


# -- scopes --------------------------------------------------------------------------------------------------


def told() -> str:
    """Report something that shows what is set."""
    sentry_sdk.capture_message("told")
    return "told"


@app.get("/tag")
async def tag() -> str:
    sentry_sdk.set_tag("tenant", "acme")
    sentry_sdk.set_tags({"more": "yes", "number": 7})
    return told()


@app.get("/user")
async def user() -> str:
    sentry_sdk.set_user({"id": "u1", "username": "ann", "plan": "premium"})
    return told()


@app.get("/context")
async def context() -> str:
    sentry_sdk.set_context("cluster", {"name": "blue", "nodes": 3, "tags": ["a", "b"]})
    sentry_sdk.set_extra("more", {"deep": [1, 2]})
    return told()


@app.get("/current-scope")
async def current_scope() -> str:
    scope = sentry_sdk.get_current_scope()
    scope.set_tag("tenant", "acme")
    scope.set_user({"id": "u2"})
    scope.set_context("cluster", {"name": "green"})
    return told()


@app.get("/fingerprint")
async def fingerprint() -> str:
    sentry_sdk.get_current_scope().fingerprint = ["mine"]
    sentry_sdk.get_current_scope().set_level("warning")
    return told()


@app.get("/named")
async def named() -> str:
    sentry_sdk.get_current_scope().set_transaction_name("nightly", source="task")
    return told()


@app.get("/new-scope")
async def new_scope() -> str:
    with sentry_sdk.new_scope() as scope:
        scope.set_tag("inner", "yes")
        told()
    return told()


@app.get("/isolation-scope")
async def isolation_scope() -> str:
    with sentry_sdk.isolation_scope() as scope:
        scope.set_tag("inner", "yes")
        told()
    return told()


@app.get("/sync-scope")
def sync_scope() -> str:
    sentry_sdk.set_tag("tenant", "sync")
    sentry_sdk.get_current_scope().set_tag("current", "sync")
    return told()


@app.get("/attachment")
async def attachment() -> str:
    sentry_sdk.get_current_scope().add_attachment(b"abc", "a.txt")
    return told()


@app.get("/breadcrumbs")
async def breadcrumbs() -> str:
    sentry_sdk.add_breadcrumb(message="validating", category="validation", level="info", data={"rows": 3})
    sentry_sdk.add_breadcrumb({"type": "user", "category": "click", "message": "button"})
    return told()


@app.get("/logged")
async def logged() -> str:
    logger.debug("not seen")
    logger.info("info %s", 1)
    logger.warning("warning", extra={"order": 6})
    return told()


@app.get("/logged-error")
async def logged_error() -> str:
    logger.error("order %s failed: %s", 6, "declined", extra={"order": 6})
    return "logged"


@app.get("/logged-exception")
async def logged_exception() -> str:
    try:
        raise DeclinedError("logged")
    except DeclinedError:
        logger.exception("order failed")
    return "logged"


@app.get("/logged-critical")
def logged_critical() -> str:
    logger.critical("on fire")
    return "logged"


# -- calls ---------------------------------------------------------------------------------------------------


@app.get("/httpx")
async def call() -> int:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return (await client.get(f"{TARGET}/200")).status_code


@app.get("/httpx-sync")
def call_sync() -> int:
    with httpx.Client(trust_env=False, verify=False) as client:
        return client.post(f"{TARGET}/201?page=2#top", json={"a": 1}).status_code


@app.get("/httpx/{status}")
async def call_status(status: int) -> str:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        await client.get(f"{TARGET}/{status}")
    return told()


@app.get("/httpx-refused")
async def call_refused() -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        await client.get("http://127.0.0.1:9/")


@app.get("/redis")
async def commands() -> str:
    await async_store.set("user:1", "ann", ex=60)
    await async_store.get("user:1")
    await async_store.delete("user:1")
    return told()


@app.get("/redis-sync")
def commands_sync() -> str:
    store.hset("hash:1", "field", "value")
    store.mget("a", "b")
    store.incr("counter")
    return told()


@app.get("/redis-pipeline")
def pipeline() -> str:
    with store.pipeline() as commands:
        commands.set("a", 1)
        commands.get("a")
        commands.execute()
    return told()


@app.get("/redis-fails")
def command_fails() -> None:
    store.set("text", "a")
    store.lpush("text", "b")


@app.get("/sql")
def sql() -> str:
    with engine.connect() as connection:
        connection.execute(text("SELECT name FROM item WHERE id = :id"), {"id": 1}).all()
    return told()


@app.get("/sql-write")
def sql_write() -> str:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO item (name) VALUES (:name)"), [{"name": "c"}, {"name": "d"}])
        connection.execute(text("DELETE FROM item WHERE name IN ('c', 'd')"))
    return told()


@app.get("/sql-fails")
def sql_fails() -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO item VALUES (1, 'again')"))


@app.get("/span")
async def span() -> str:
    with start_span(op="step", name="Load") as made:
        made.set_data("rows", 3)
        told()
    return "span"


@app.get("/nested-spans")
def nested_spans() -> str:
    with start_span(op="outer", name="Outer"), start_span(op="inner", name="Inner") as made:
        made.set_status("not_found")
    return "spans"


@app.get("/span-fails")
async def span_fails() -> None:
    with start_span(op="step", name="Load"):
        raise DeclinedError("in a span")


@app.get("/headers")
async def headers() -> list[str]:
    meta = sentry_sdk.get_current_scope().trace_propagation_meta()
    return [str(sentry_sdk.get_traceparent()), str(sentry_sdk.get_baggage()), meta]


# -- jobs ----------------------------------------------------------------------------------------------------


@app.get("/checkin")
async def checkin() -> str:
    capture_checkin(monitor_slug="step", status="ok")
    return "checkin"


@monitor(monitor_slug="nightly", monitor_config={"schedule": {"type": "interval", "value": 1, "unit": "day"}})
def nightly(fail: bool) -> None:
    if fail:
        raise DeclinedError("nightly")


@app.get("/monitor")
def monitored() -> str:
    nightly(False)
    return "monitor"


@app.get("/monitor-fails")
def monitored_fails() -> None:
    nightly(True)


@app.get("/job")
def job() -> str:
    with start_transaction(op="task", name="job") as transaction:
        transaction.set_tag("kind", "nightly")
        told()
    return "job"


# -- sockets and middleware ----------------------------------------------------------------------------------


@app.websocket("/ws/{room}")
async def socket(socket: WebSocket, room: str) -> None:
    await socket.accept()
    await socket.send_text(room)
    await socket.close()


@app.websocket("/ws-told")
async def socket_told(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(told())
    await socket.close()


@app.websocket("/ws-fails")
async def socket_fails(socket: WebSocket) -> None:
    await socket.accept()
    raise DeclinedError("socket")


@app.middleware("http")
async def tagging(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
    if request.url.path == "/middleware-fails":
        raise DeclinedError("middleware")
    return await call_next(request)


class Answering(BaseHTTPMiddleware):
    """Answers one path itself."""

    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        if request.url.path == "/middleware-answers":
            return PlainTextResponse("answered", 403)
        return await call_next(request)


app.add_middleware(Answering)


@app.get("/flush")
def flush() -> str:
    if NATIVE:
        sentry_sdk.flush(5)
    else:
        brain_otel.flush(5)
    return "flushed"
