"""An app with one route for each place in which a FastAPI app can fail.

A route's name says what happens there. ``GET /seen`` returns the trace of each path. Without ``SENTRY_DSN`` this is
the bare app, whose answers the tests compare.
"""

import asyncio
import contextvars
import gc
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from opentelemetry import trace
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import brain_otel

if "SENTRY_DSN" in os.environ:
    brain_otel.setup()

logger = logging.getLogger(__name__)

seen: dict[str, tuple[str, str]] = {}
"""Trace and span id by path, as the outermost middleware sees them."""
ended: set[str] = set()
"""Paths whose client has disconnected and whose work has ended."""
held: set[asyncio.Task[Any]] = set()


class AppError(Exception):
    """The failure of this app. Its text is the name of the route."""


class AnsweredByServerError(Exception):
    """Has a handler that answers 500."""


class AnsweredBySyncServerError(Exception):
    """Has a synchronous handler that answers 500."""


class AnsweredByClientError(Exception):
    """Has a handler that answers 400."""


class FailingHandlerError(Exception):
    """Has a handler that fails itself."""


def note(name: str) -> None:
    """Record the ids of the current span under ``name``."""
    span = trace.get_current_span().get_span_context()
    seen[name] = (f"{span.trace_id:032x}", f"{span.span_id:016x}")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    with brain_otel.start_transaction("start up", op="app.start"):
        note("lifespan")
        try:
            raise AppError("lifespan")
        except AppError as error:
            brain_otel.capture_exception(error)
    yield


class Noting:
    """The outermost middleware: records the trace of each path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            note(scope["path"])
        await self.app(scope, receive, send)


class ByPath:
    """Applies a middleware to the paths that begin with its name."""

    def __init__(self, app: ASGIApp, middleware: dict[str, Callable[[ASGIApp], ASGIApp]]) -> None:
        self.app = app
        self.wrapped = {name: create(app) for name, create in middleware.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope.get("path", "").strip("/").split("/")[0]
        await self.wrapped.get(name, self.app)(scope, receive, send)


class FailingMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        raise AppError("asgi-middleware")


class FailingBaseMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:  # noqa: ARG002
        raise AppError("base-middleware")


class FailingAfterwardsMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        await call_next(request)
        raise AppError("base-middleware-afterwards")


class PassingBaseMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


class AnsweringMiddleware:
    """Answers the app's errors with this status."""

    def __init__(self, app: ASGIApp, status: int = 500) -> None:
        self.app = app
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except AppError:
            await JSONResponse("answered", self.status)(scope, receive, send)


class AnsweringBaseMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        try:
            return await call_next(request)
        except AppError:
            return JSONResponse("answered", 503)


class FailingBelowMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        raise AppError("answered-by-the-next-middleware")


BY_PATH: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "answered-by-the-next-middleware": AnsweringMiddleware,
    "answering-middleware": AnsweringMiddleware,
    "answering-base-middleware": AnsweringBaseMiddleware,
    "falling-back-middleware": partial(AnsweringMiddleware, status=200),
    "refusing-middleware": partial(AnsweringMiddleware, status=404),
    "streaming-below-base-middleware": PassingBaseMiddleware,
    "asgi-middleware": FailingMiddleware,
    "base-middleware": FailingBaseMiddleware,
    "base-middleware-afterwards": FailingAfterwardsMiddleware,
    "below-base-middleware": PassingBaseMiddleware,
    "disconnect-below-base-middleware": PassingBaseMiddleware,
}

app = FastAPI(lifespan=lifespan)
app.add_middleware(ByPath, middleware={"answered-by-the-next-middleware": FailingBelowMiddleware})
app.add_middleware(ByPath, middleware=BY_PATH)
app.add_middleware(Noting)


@app.exception_handler(AnsweredByServerError)
async def answer_server_error(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 500)


@app.exception_handler(AnsweredBySyncServerError)
def answer_sync_server_error(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 500)


@app.exception_handler(AnsweredByClientError)
async def answer_client_error(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 400)


@app.exception_handler(FailingHandlerError)
async def answer_failure(_: Request, error: Exception) -> JSONResponse:
    raise AppError(str(error))


@app.get("/seen")
async def get_seen() -> dict[str, Any]:
    gc.collect()  # closes a stream that Starlette has left at a `yield`, as below its base middleware
    return {"seen": seen, "ended": sorted(ended)}


# -- endpoints, dependencies, middleware, handlers -----------------------------------------------------------


@app.get("/async-endpoint/{item}")
async def async_endpoint() -> None:
    raise AppError("async-endpoint")


@app.get("/sync-endpoint/{item}")
def sync_endpoint() -> None:
    raise AppError("sync-endpoint")


async def failing_dependency() -> None:
    raise AppError("dependency")


def failing_sync_dependency() -> None:
    raise AppError("sync-dependency")


async def dependency_failing_afterwards() -> AsyncIterator[None]:
    yield
    raise AppError("yield-dependency")


def sync_dependency_failing_afterwards() -> Iterator[None]:
    yield
    raise AppError("sync-yield-dependency")


@app.get("/dependency/{item}")
async def dependency(_: Annotated[None, Depends(failing_dependency)]) -> None: ...


@app.get("/sync-dependency/{item}")
async def sync_dependency(_: Annotated[None, Depends(failing_sync_dependency)]) -> None: ...


@app.get("/yield-dependency/{item}")
async def yield_dependency(_: Annotated[None, Depends(dependency_failing_afterwards)]) -> str:
    return "done"


@app.get("/sync-yield-dependency/{item}")
def sync_yield_dependency(_: Annotated[None, Depends(sync_dependency_failing_afterwards)]) -> str:
    return "done"


@app.get("/asgi-middleware/{item}")
@app.get("/base-middleware/{item}")
@app.get("/base-middleware-afterwards/{item}")
async def behind_a_middleware() -> str:
    return "done"


@app.get("/answering-middleware/{item}")
@app.get("/answering-base-middleware/{item}")
@app.get("/answered-by-the-next-middleware/{item}")
@app.get("/falling-back-middleware/{item}")
@app.get("/refusing-middleware/{item}")
async def answered_by_a_middleware(request: Request) -> None:
    raise AppError(request.url.path.split("/")[1])


@app.get("/streaming-below-base-middleware/{item}")
async def streaming_below_base_middleware() -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        yield "begun"
        raise AppError("streaming-below-base-middleware")

    return StreamingResponse(body())


@app.get("/below-base-middleware/{item}")
async def below_base_middleware() -> None:
    raise AppError("below-base-middleware")


@app.get("/failing-handler/{item}")
async def failing_handler() -> None:
    raise FailingHandlerError("failing-handler")


@app.get("/handler-answers-500/{item}")
async def handler_answers_500() -> None:
    raise AnsweredByServerError("handler-answers-500")


@app.get("/sync-handler-answers-500/{item}")
async def sync_handler_answers_500() -> None:
    raise AnsweredBySyncServerError("sync-handler-answers-500")


@app.get("/handler-answers-400/{item}")
async def handler_answers_400() -> None:
    raise AnsweredByClientError("handler-answers-400")


# -- after the response has begun ----------------------------------------------------------------------------


@app.get("/streaming/{item}")
async def streaming() -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"begun"
        raise AppError("streaming")

    return StreamingResponse(chunks())


@app.get("/sync-streaming/{item}")
def sync_streaming() -> StreamingResponse:
    def chunks() -> Iterator[bytes]:
        yield b"begun"
        raise AppError("sync-streaming")

    return StreamingResponse(chunks())


def failing_background() -> None:
    raise AppError("sync-background")


async def failing_async_background() -> None:
    raise AppError("async-background")


@app.get("/sync-background/{item}")
async def sync_background(tasks: BackgroundTasks) -> str:
    tasks.add_task(failing_background)
    return "done"


@app.get("/async-background/{item}")
async def async_background(tasks: BackgroundTasks) -> str:
    tasks.add_task(failing_async_background)
    return "done"


@app.websocket("/websocket/{item}")
async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("begun")
    raise AppError("websocket")


@app.websocket("/websocket-disconnect/{item}")
async def websocket_disconnect(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("begun")
    try:
        await socket.receive_text()
    finally:
        ended.add(socket.url.path)


# -- tasks and threads ---------------------------------------------------------------------------------------


async def fail_soon(name: str) -> None:
    await asyncio.sleep(0.02)
    raise AppError(name)


@app.get("/forgotten-task/{item}")
async def forgotten_task() -> str:
    asyncio.create_task(fail_soon("forgotten-task"))  # noqa: RUF006  # this case is the point
    return "done"


@app.get("/held-task/{item}")
async def held_task() -> str:
    task = asyncio.create_task(fail_soon("held-task"))
    held.add(task)
    task.add_done_callback(held.discard)
    return "done"


@app.get("/awaited-task/{item}")
async def awaited_task() -> None:
    await asyncio.create_task(fail_soon("awaited-task"))


@app.get("/task-group/{item}")
async def task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail_soon("task-group"))


@app.get("/to-thread/{item}")
async def to_thread() -> None:
    def fail() -> None:
        raise AppError("to-thread")

    await asyncio.to_thread(fail)


@app.get("/thread-with-context/{item}")
def thread_with_context() -> str:
    def fail() -> None:
        raise AppError("thread-with-context")

    thread = threading.Thread(target=contextvars.copy_context().run, args=(fail,))
    thread.start()
    thread.join()
    return "done"


@app.get("/thread-without-context/{item}")
def thread_without_context() -> str:
    def fail() -> None:
        raise AppError("thread-without-context")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    return "done"


@app.get("/span/{item}")
async def span() -> None:
    with brain_otel.start_span("work", "the work"):
        raise AppError("span")


@app.get("/captured-in-span/{item}")
async def captured_in_span() -> str:
    with brain_otel.start_span("work", "the work"):
        try:
            raise AppError("captured-in-span")
        except AppError as error:
            brain_otel.capture_exception(error)
    return "done"


@app.get("/captured-in-transaction/{item}")
async def captured_in_transaction() -> str:
    with brain_otel.start_transaction("inner"):
        try:
            raise AppError("captured-in-transaction")
        except AppError as error:
            brain_otel.capture_exception(error)
    return "done"


@app.get("/transaction/{item}")
async def transaction() -> None:
    with brain_otel.start_transaction("inner"):
        raise AppError("transaction")


# -- logged and captured -------------------------------------------------------------------------------------


@app.get("/logger-error/{item}")
async def logger_error() -> str:
    logger.error("logged: %s", "logger-error")
    return "done"


@app.get("/logger-exception/{item}")
async def logger_exception() -> str:
    try:
        raise AppError("logger-exception")
    except AppError:
        logger.exception("it failed")
    return "done"


@app.get("/logged-then-raised/{item}")
async def logged_then_raised() -> None:
    try:
        raise AppError("logged-then-raised")
    except AppError:
        logger.exception("it failed")
        raise


@app.get("/captured/{item}")
async def captured() -> str:
    try:
        raise AppError("captured")
    except AppError as error:
        brain_otel.capture_exception(error)
    return "done"


@app.get("/captured-in-sync-endpoint/{item}")
def captured_in_sync_endpoint() -> str:
    try:
        raise AppError("captured-in-sync-endpoint")
    except AppError:
        brain_otel.capture_exception()
    return "done"


@app.get("/captured-then-logged/{item}")
async def captured_then_logged() -> str:
    try:
        raise AppError("captured-then-logged")
    except AppError as error:
        brain_otel.capture_exception(error)
        logger.exception("it failed")
    return "done"


@app.get("/captured-then-raised/{item}")
async def captured_then_raised() -> None:
    try:
        raise AppError("captured-then-raised")
    except AppError as error:
        brain_otel.capture_exception(error)
        raise


@app.get("/captured-in-thread-then-raised/{item}")
def captured_in_thread_then_raised() -> None:
    try:
        raise AppError("captured-in-thread-then-raised")
    except AppError as error:
        brain_otel.capture_exception(error)
        raise


@app.get("/captured-beside-another-then-raised/{item}")
async def captured_beside_another_then_raised() -> None:
    try:
        raise AppError("captured-beside-another-then-raised")
    except AppError as error:
        brain_otel.capture_exception(error)
        brain_otel.capture_exception(AppError("another"))
        raise


@app.get("/captured-then-translated/{item}")
async def captured_then_translated() -> None:
    try:
        raise AppError("captured-then-translated")
    except AppError as error:
        brain_otel.capture_exception(error)
        raise HTTPException(503) from error


@app.get("/message/{item}")
async def message() -> str:
    brain_otel.capture_message("message", level="warning")
    return "done"


@app.get("/exception-group/{item}")
async def exception_group() -> None:
    raise ExceptionGroup("exception-group", [AppError("first"), AppError("second")])


@app.get("/http-503/{item}")
async def http_503() -> None:
    raise HTTPException(503, "http-503")


# -- not an error of the service -----------------------------------------------------------------------------


@app.get("/http-404/{item}")
async def http_404() -> None:
    raise HTTPException(404)


@app.get("/http-404-translated/{item}")
async def http_404_translated() -> None:
    try:
        raise AppError("http-404-translated")
    except AppError as error:
        raise HTTPException(404) from error


@app.get("/http-422/{item}")
async def http_422(item: int, number: int) -> int:
    return item + number


@app.get("/gathered-with-exceptions/{item}")
async def gathered_with_exceptions() -> str:
    results = await asyncio.gather(
        fail_soon("gathered-with-exceptions"),
        asyncio.create_task(fail_soon("gathered-with-exceptions")),
        return_exceptions=True,
    )
    return ", ".join(str(result) for result in results)


@app.get("/handled-task/{item}")
async def handled_task() -> str:
    try:
        await asyncio.create_task(fail_soon("handled-task"))
    except AppError as error:
        return str(error)
    return "done"


@app.get("/timed-out/{item}")
async def timed_out() -> str:
    try:
        await asyncio.wait_for(asyncio.create_task(asyncio.sleep(30)), timeout=0.01)
    except TimeoutError:
        return "timed out"
    return "done"


@app.get("/cancelled-task/{item}")
async def cancelled_task() -> str:
    task = asyncio.create_task(asyncio.sleep(30))
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return "cancelled"


@app.get("/cancelled/{item}")
async def cancelled() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.cancel()
    await asyncio.sleep(30)


@app.get("/disconnect/{item}")
@app.get("/disconnect-below-base-middleware/{item}")
async def disconnect(request: Request) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0.01)
        finally:
            ended.add(request.url.path)

    return StreamingResponse(chunks())


@app.post("/disconnect-in-body/{item}")
async def disconnect_in_body(request: Request) -> int:
    seen[request.url.path + "/begun"] = seen[request.url.path]
    try:
        return len(await request.body())
    finally:
        ended.add(request.url.path)


gc.freeze()  # so that a collection looks at what requests leave, and at no module
