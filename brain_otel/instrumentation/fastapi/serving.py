"""Serves the requests of FastAPI apps in their local traces, and has contrib trace each app."""

import asyncio
import functools
import logging
import weakref
from collections.abc import Awaitable, Callable
from contextvars import Token
from importlib.util import find_spec
from weakref import WeakKeyDictionary

from fastapi.applications import FastAPI  # contrib may have replaced `fastapi.FastAPI`
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.instrumentation import fastapi as contrib
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.events.listeners import kept_apart, local_trace_entered
from brain_otel.instrumentation.conflicts import warn_once
from brain_otel.instrumentation.exception_recording import original_exception
from brain_otel.instrumentation.fastapi.errors import observed_handlers, report_unhandled
from brain_otel.instrumentation.fastapi.health_checks import UnwrappedStacks, is_excluded, serve_excluded
from brain_otel.instrumentation.fastapi.middleware_failures import observed_middleware, observed_send
from brain_otel.instrumentation.fastapi.native import NATIVE_KEY, NativeObserver
from brain_otel.instrumentation.fastapi.original_build import (
    BUILD,
    CONTRIBS_ORIGINAL,
    OriginalBuild,
    is_traced_by_contrib,
    restore_build,
)
from brain_otel.instrumentation.fastapi.request import SCOPE_KEY, RequestInProgress, span_started
from brain_otel.instrumentation.fastapi.shielding import patch_middleware, patch_native
from brain_otel.privacy import policy
from brain_otel.runtime.announcements import announce_again
from brain_otel.runtime.exit import flush_at_shutdown
from brain_otel.runtime.garbage import garbage
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.imports import load_late_modules
from brain_otel.runtime.patch import Original, Patch, Patches
from brain_otel.runtime.threads import finished
from brain_otel.sampling.context import is_suppressed
from brain_otel.traces import local_trace

logger = logging.getLogger(__name__)


class Serving:
    """Traces the requests of all apps; ``patches`` are the instrumentation's."""

    def __init__(self, settings: InstrumentationSettings, patches: Patches) -> None:
        self._prepared: WeakKeyDictionary[FastAPI, bool] = WeakKeyDictionary()
        """Whether each app had built its middleware before."""
        self._latest: Callable[[], FastAPI | None] = lambda: None
        """Weak: the prepared app whose request came last."""
        self._unwrapped = UnwrappedStacks()
        self._health_checks = frozenset(settings.health_checks)
        self._native = settings.fastapi == "native"
        if self._native and find_spec("fastapi.telemetry") is None:
            logger.warning("fastapi: native needs FastAPI 0.142 or newer; using contrib's instrumentation")
            self._native = False

        patch_middleware(patches)
        if self._native:
            patch_native(patches)
        with guarded("loading the fast path of FastAPI"):
            from brain_otel.instrumentation.fastapi.attributes import patch_attributes
            from brain_otel.instrumentation.fastapi.server_span import ServerSpanMiddleware

            patches.replace(contrib, "OpenTelemetryMiddleware", lambda _: ServerSpanMiddleware)
            patch_attributes(patches)

    def leave(self) -> None:
        """Leave every app as it was found; middleware that was built meanwhile is built anew."""
        for app, had_built in list(self._prepared.items()):
            original = vars(app).get(CONTRIBS_ORIGINAL, vars(app).get(BUILD))
            if isinstance(original, OriginalBuild):
                original.put_back(app)
            elif not had_built:
                app.middleware_stack = None
        self._prepared.clear()
        self._latest = lambda: None

    def traced_call(self, patch: Patch) -> Callable[..., Awaitable[None]]:
        """Make the replacement of ``FastAPI.__call__``."""
        original = patch.original

        @functools.wraps(original)
        async def call(app: FastAPI, scope: Scope, receive: Receive, send: Send) -> None:
            kind = scope.get("type")
            if not patch.active or kind not in ("http", "websocket", "lifespan") or is_excluded(scope):
                await original(app, scope, receive, send)
                return
            outer = scope.get(SCOPE_KEY)
            if isinstance(outer, RequestInProgress):
                with guarded("entering a mounted app"):
                    outer.enter(app, scope, rename=not self._native)  # FastAPI renames its own span
                    send = observed_send(outer, send) if app.user_middleware else send
                await original(app, scope, receive, send)
                return
            self._arrived(app, kind)
            if kind == "lifespan":
                await original(app, scope, receive, _observing_lifespan(send))
                return
            if not self._native:
                scope.setdefault(NATIVE_KEY, None)  # keeps FastAPI's own telemetry off, here and in mounted apps
            if is_suppressed() or (kind == "http" and self._is_health_check(scope)):
                await serve_excluded(original, app, scope, receive, send)
                return
            request, receive, send = _begin(app, scope, receive, send)
            if request is None:
                with kept_apart():
                    await original(app, scope, receive, send)
                return
            with (served := _Served(request)):
                await original(app, scope, receive, send)
            if served.original is not None:
                try:
                    raise served.original
                finally:
                    served.original = None  # its traceback holds this frame

        return call

    def _arrived(self, app: FastAPI, kind: str) -> None:
        """A request of ``app``, or its lifespan, has arrived."""
        try:
            self._prepare(app)
            if kind != "lifespan":
                announce_again()
                if garbage.is_due:
                    garbage.request()
        except Exception as error:
            caught("preparing an app", error)

    def _is_health_check(self, scope: Scope) -> bool:
        path = scope.get("path")
        return isinstance(path, str) and path in self._health_checks

    def _prepare(self, app: FastAPI) -> None:
        """Have contrib trace ``app``, before its first request, or once the application does so no more."""
        is_known = app is self._latest() or app in self._prepared
        is_traced = self._native or is_traced_by_contrib(app)
        if is_known and is_traced:
            self._latest = weakref.ref(app)
            return
        built = app.middleware_stack
        self._prepared[app] = built is not None
        if is_known:
            restore_build(app)
        elif built is not None:
            logger.warning(
                "The app %r had built its middleware before brain_otel.setup() (it has served requests, or setup() "
                "was called while it started): errors that its exception handlers answer with a 5xx are not "
                "reported. Call setup() where the app is made.",
                app.title,
            )
        if is_traced:
            if not self._native:
                warn_once("FastAPI", "FastAPIInstrumentor")
            return
        if built is not None:
            self._unwrapped.add(app, built)
        app.build_middleware_stack = OriginalBuild(app, built)  # type: ignore[method-assign]
        FastAPIInstrumentor.instrument_app(app, server_request_hook=span_started, exclude_spans=["send", "receive"])
        excluding = self._unwrapped.excluding(app, app.build_middleware_stack)
        app.build_middleware_stack = excluding  # type: ignore[method-assign]
        if built is not None:
            app.middleware_stack = app.build_middleware_stack()

    def build(self, original: Original, app: FastAPI) -> ASGIApp:
        """Build the middleware of ``app`` by ``original``, and observe it."""
        handlers, middleware = app.exception_handlers, app.user_middleware
        with guarded("observing exception handlers and middleware"):
            app.exception_handlers = observed_handlers(handlers)
            app.user_middleware = observed_middleware(middleware, ends_with_body=not self._native)
        try:
            stack: ASGIApp = original(app)
        finally:
            app.exception_handlers, app.user_middleware = handlers, middleware
        if self._native:
            return NativeObserver(stack, span_started)
        self._unwrapped.add(app, stack)
        return stack


class _Served:
    """Serves a request within its local trace, in the block of its ``with`` statement; reports what the block raises.

    It suppresses an exception only if :attr:`original` is to be raised in its place.
    """

    __slots__ = ("_entered", "_request", "_token", "original")

    def __init__(self, request: RequestInProgress) -> None:
        self._request = request
        self._entered = local_trace_entered(request.trace)
        self.original: BaseException | None = None

    def __enter__(self) -> None:
        self._token = _detached_from_previous_request()
        self._entered.__enter__()

    def __exit__(self, kind: object, raised: BaseException | None, where: object) -> bool:
        try:
            if raised is not None:
                self._report(raised)
            self._entered.__exit__(None, raised if self.original is None else self.original, None)
        finally:
            del self._entered  # it has the trace, whose errors have tracebacks that hold the frame of this object
            self._request.leave()
            if self._token is not None:
                otel_context.detach(self._token)
        return self.original is not None

    def _report(self, raised: BaseException) -> None:
        error = raised
        with guarded("looking for the original exception"):
            error = original_exception(raised)
        self._request.trace.is_cancelled |= isinstance(error, asyncio.CancelledError)
        report_unhandled(error)
        if error is not raised:
            self.original = error


def _begin(
    app: FastAPI, scope: Scope, receive: Receive, send: Send
) -> tuple[RequestInProgress | None, Receive, Send]:
    """The request, and the functions with which the app reads and answers it."""
    try:
        request = RequestInProgress(app, scope)
        if scope["type"] == "http" and app.user_middleware:
            send = observed_send(request, send)
        if policy().send_default_pii and scope["type"] == "http":
            receive = request.observed(receive)
        scope[SCOPE_KEY] = request
        return request, receive, send
    except Exception as error:
        caught("preparing a request", error)
    return None, receive, send


def _detached_from_previous_request() -> Token[Context] | None:
    """Leave the context of the previous request on the same connection, from which a server starts the next one.

    A request that a running request makes in this process, or a test, keeps its context.
    """
    try:
        previous = local_trace.current()
        root = previous.root if previous is not None and previous.kind == "request" else None
        if root is not None and not root.is_recording():
            return otel_context.attach(Context())
    except Exception as error:
        caught("leaving the context of the previous request", error)
    return None


def _observing_lifespan(send: Send) -> Send:
    """Announce and complete the set-up when the app has started; flush at its shutdown, while the loop still runs."""

    async def observing_send(message: Message) -> None:
        if message["type"] in ("lifespan.startup.complete", "lifespan.startup.failed"):
            with guarded("announcing the set-up"):
                announce_again()
                load_late_modules()
                garbage.freeze()
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            with guarded("flushing at the server's shutdown"):
                await finished(flush_at_shutdown, "brain_otel.shutdown")
        await send(message)

    return observing_send
