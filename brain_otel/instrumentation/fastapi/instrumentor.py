"""FastAPI: one server span a request, and the request as a local trace of its own.

The spans are contrib's (``fastapi: contrib``) or FastAPI's own (``native``). What is added to either, at the
one place through which every request of every app goes, ``FastAPI.__call__``:

- the local trace, in which user, tags and errors of the request are kept, until its background tasks are done;
- unhandled exceptions, and handled ones that became a 5xx response, are reported, once, linked to the request;
- a mounted app is part of its parent's request: no second server span, and the route of both in its name.

Contrib replaces the class ``fastapi.FastAPI``, which an app whose class was imported before does not see; here
methods of the class are replaced, so the order does not matter, and contrib traces each app when its first
request comes.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from fastapi import FastAPI
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.instrumentation import fastapi as contrib
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from brain_otel.events.listeners import local_trace_entered
from brain_otel.instrumentation.exception_recording import original_exception
from brain_otel.instrumentation.fastapi.errors import observed_handlers, report_unhandled
from brain_otel.instrumentation.fastapi.health_checks import (
    build_unwrapped,
    is_excluded,
    remember_bare,
    serve_excluded,
)
from brain_otel.instrumentation.fastapi.native import NATIVE_KEY, NativeObserver
from brain_otel.instrumentation.fastapi.request import SCOPE_KEY, RequestInProgress
from brain_otel.instrumentation.fastapi.server_span import ServerSpanMiddleware
from brain_otel.privacy import policy
from brain_otel.runtime.exit import flush_before_exit
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patch, replace
from brain_otel.sampling.context import is_suppressed
from brain_otel.traces import local_trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Token

    from opentelemetry.trace import Span
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from brain_otel.configuration.settings import InstrumentationSettings

logger = logging.getLogger(__name__)

_patches: list[Patch] = []
_seen: WeakSet[FastAPI] = WeakSet()


def instrument(settings: InstrumentationSettings) -> None:
    """Trace every request of every app from now on."""
    native = settings.fastapi == "native"
    if native and find_spec("fastapi.telemetry") is None:
        logger.warning("fastapi: native needs FastAPI 0.142 or newer; using contrib's instrumentation")
        native = False
    health_checks = frozenset(settings.health_checks)
    make = functools.partial(_traced_call, native=native, health_checks=health_checks)
    _patches.append(replace(FastAPI, "__call__", make))
    _patches.append(replace(contrib, "OpenTelemetryMiddleware", lambda _: ServerSpanMiddleware))
    _patches.append(replace(FastAPI, "build_middleware_stack", functools.partial(_observed_build, native=native)))


def uninstrument() -> None:
    """Leave the class and every app as they were found; an app builds its middleware anew."""
    while _patches:
        _patches.pop().undo()
    for app in list(_seen):
        if getattr(app, "_is_instrumented_by_opentelemetry", False):
            FastAPIInstrumentor.uninstrument_app(app)
        app.middleware_stack = None
    _seen.clear()


def _traced_call(patch: Patch, *, native: bool, health_checks: frozenset[str]) -> Callable[..., Awaitable[None]]:
    original = patch.original

    @functools.wraps(original)
    async def call(app: FastAPI, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if not patch.active or kind not in ("http", "websocket", "lifespan") or is_excluded(scope):
            await original(app, scope, receive, send)
            return
        outer = scope.get(SCOPE_KEY)
        if isinstance(outer, RequestInProgress):
            with guarded("entering a mounted app"):
                outer.enter(app, scope, rename=not native)  # FastAPI does it itself
            await original(app, scope, receive, send)
            return
        with guarded("preparing an app"):
            _prepare(app, native=native)
        if kind == "lifespan":
            await original(app, scope, receive, _flushing_at_shutdown(send))
            return
        if not native:
            scope.setdefault(NATIVE_KEY, None)  # FastAPI itself is not to look, here and in mounted apps
        if is_suppressed() or (kind == "http" and scope["path"] in health_checks):
            await _excluded_call(original, app, scope, receive, send)
            return
        request, receive = _begin(app, scope, receive)
        if request is None:
            await original(app, scope, receive, send)
            return
        await _request_call(request, functools.partial(original, app, scope, receive, send))

    return call


async def _request_call(request: RequestInProgress, call: Callable[[], Awaitable[None]]) -> None:
    """Serve a request within its local trace."""
    around = _detached_from_previous_request()
    try:
        with local_trace_entered(request.trace):
            try:
                await call()
                return
            except BaseException as raised:
                error = original_exception(raised)
                report_unhandled(error)
                if error is raised:
                    raise
            raise error
    finally:
        request.leave()
        if around is not None:
            otel_context.detach(around)


def _begin(app: FastAPI, scope: Scope, receive: Receive) -> tuple[RequestInProgress | None, Receive]:
    """The request, and what to read it from."""
    with guarded("preparing a request"):
        request = RequestInProgress(app, scope)
        if policy().send_default_pii and scope["type"] == "http":
            receive = request.observed(receive)
        scope[SCOPE_KEY] = request
        return request, receive
    return None, receive


async def _excluded_call(
    original: Callable[..., Awaitable[None]], app: FastAPI, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve a request without a trace; only what fails is told of."""
    try:
        await serve_excluded(original, app, scope, receive, send)
    except BaseException as error:
        with guarded("preparing a request"), local_trace_entered(RequestInProgress(app, scope).trace):
            report_unhandled(error)
        raise


def _detached_from_previous_request() -> Token[Context] | None:
    """Leave an earlier request's context, in which a server starts a request that came on the same connection.

    A request made in the process by one that is still being served, or by a test, stays where it was made.
    """
    with guarded("leaving an earlier request's context"):
        around = local_trace.current()
        root = around.root if around is not None and around.kind == "request" else None
        if root is not None and not root.is_recording():
            return otel_context.attach(Context())
    return None


def _prepare(app: FastAPI, *, native: bool) -> None:
    """See to it once, before the first request, that contrib traces ``app``."""
    if app in _seen:
        return
    _seen.add(app)
    built = app.middleware_stack
    if built is not None:
        logger.warning(
            "The app %r had built its middleware before brain_otel.setup() (it has served requests, or setup() "
            "was called while it started): errors that its exception handlers answer with a 5xx are not reported. "
            "Call setup() where the app is made.",
            app.title,
        )
    if native or getattr(app, "_is_instrumented_by_opentelemetry", False):
        return
    if built is not None:
        # Contrib wraps what this returns: the stack as it is, so that no middleware is made twice.
        app.build_middleware_stack = lambda: built  # type: ignore[method-assign]
    if built is not None:
        remember_bare(app, built)
    FastAPIInstrumentor.instrument_app(app, server_request_hook=_on_server_span, exclude_spans=["send", "receive"])
    app.build_middleware_stack = build_unwrapped(app, app.build_middleware_stack)  # type: ignore[method-assign]
    if built is not None:
        app.middleware_stack = app.build_middleware_stack()


def _on_server_span(span: Span, scope: Scope) -> None:
    """Contrib has started the request's span, recorded or not."""
    with guarded("finding a request's span"):
        request = scope.get(SCOPE_KEY)
        if isinstance(request, RequestInProgress):
            request.trace.start(span, None)


def _observed_build(patch: Patch, *, native: bool) -> Callable[[FastAPI], ASGIApp]:
    @functools.wraps(patch.original)
    def build_middleware_stack(app: FastAPI) -> ASGIApp:
        if not patch.active:
            return cast("ASGIApp", patch.original(app))
        handlers = app.exception_handlers
        with guarded("observing exception handlers"):
            app.exception_handlers = observed_handlers(handlers)
        try:
            stack: ASGIApp = patch.original(app)
        finally:
            app.exception_handlers = handlers
        if native:
            return NativeObserver(stack, _on_server_span)
        remember_bare(app, stack)
        return stack

    return build_middleware_stack


def _flushing_at_shutdown(send: Send) -> Send:
    """Send what waits when the server shuts down, while there is a loop to do it from."""

    async def flushing_send(message: Message) -> None:
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            with guarded("sending what waits at the server's shutdown"):
                await asyncio.to_thread(flush_before_exit)
        await send(message)

    return flushing_send
