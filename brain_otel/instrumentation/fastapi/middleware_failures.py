"""Notices exceptions that pass from one middleware of an app to the next, where no exception handler sees them.

A middleware may answer an exception: ``try: await call_next(request)`` with ``except Exception: return
JSONResponse(..., 500)``. So each middleware of the application gets a wrapper around the app that it calls. The
wrapper remembers an exception that leaves this app, and the response that follows decides: a 5xx is a failure. An
exception that leaves the outermost middleware may only mean that the client has gone. That is no failure, so the
request's span ends before contrib and Starlette's response with status 500 make it one.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Iterable
from typing import Any

from opentelemetry.sdk.trace import Span
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brain_otel.events.report import record_error
from brain_otel.instrumentation.fastapi.errors import has_client_left, is_normal_close, report_answered
from brain_otel.instrumentation.fastapi.request import SCOPE_KEY, RequestInProgress
from brain_otel.runtime.guard import caught, guarded
from brain_otel.traces.conventions import raw_attributes


def observed_middleware(middleware: Iterable[Any], *, ends_with_body: bool) -> list[Any]:
    """Give each middleware an inner app that remembers the exceptions that leave it.

    Args:
        middleware: The middleware that the application has added.
        ends_with_body: Whether the request's span ends with the last message of the response.
    """
    observed = [
        Middleware(functools.partial(_create, each.cls), *each.args, **each.kwargs)
        if isinstance(each, Middleware)
        else each
        for each in middleware
    ]
    return [Middleware(_Leaving, ends_with_body), *observed]


def _create(kind: Any, app: ASGIApp, /, *args: Any, **kwargs: Any) -> Any:
    return kind(_Passing(app), *args, **kwargs)


class _Passing:
    """Calls ``app``, and remembers the exception that leaves it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        __tracebackhide__ = True  # sentry-sdk and pytest leave the frame out
        self._follow(scope)
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            self._remember(scope, error)
            raise

    @staticmethod
    def _follow(scope: Scope) -> None:
        request = scope.get(SCOPE_KEY)
        if isinstance(request, RequestInProgress) and request.routed is not scope:
            with guarded("following a request through a middleware"):
                request.follow(scope)

    def _remember(self, scope: Scope, error: Exception) -> None:
        with guarded("remembering an exception"):
            request = scope.get(SCOPE_KEY)
            if isinstance(request, RequestInProgress):
                request.passing = error


class _Leaving(_Passing):
    """Around the outermost middleware. None has answered what leaves it, so the 500 that follows is Starlette's."""

    def __init__(self, app: ASGIApp, ends_with_body: bool) -> None:
        super().__init__(app)
        self._ends_with_body = ends_with_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        __tracebackhide__ = True
        self._follow(scope)
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            if isinstance(error, Exception):
                self._remember(scope, error)
            if self._ends_with_body:
                _name_unanswered(scope)
            raise
        if self._ends_with_body and scope["type"] == "http":
            try:
                _note_unfinished(scope)
            except Exception as error:
                caught("looking at the end of a response", error)

    def _remember(self, scope: Scope, error: Exception) -> None:
        with guarded("ending a request that its client has left"):
            request = scope.get(SCOPE_KEY)
            if not isinstance(request, RequestInProgress):
                return
            request.passing = None
            if has_client_left(error):
                request.trace.is_cancelled = not is_normal_close(error)
                if request.trace.root is not None and request.trace.root.is_recording():
                    request.name_span(request.trace.root)
                    request.trace.root.end()


def _name_unanswered(scope: Scope) -> None:
    """Name the span of a request that was cancelled or failed, which may never be answered."""
    with guarded("naming a request's span"):
        request = scope.get(SCOPE_KEY)
        if isinstance(request, RequestInProgress) and request.trace.root is not None:
            request.name_span(request.trace.root)


def _note_unfinished(scope: Scope) -> None:
    """Mark the request as cancelled if its response has begun and is not complete: the client has not waited."""
    request = scope.get(SCOPE_KEY)
    if not isinstance(request, RequestInProgress):
        return
    root = request.trace.root
    if root is not None and root.is_recording() and isinstance(root, Span):
        request.trace.is_cancelled = "http.response.status_code" in raw_attributes(root)


def observed_send(request: RequestInProgress, send: Send) -> Send:
    """Wrap ``send``: report an exception that is answered, and record one that breaks the response off."""

    def observed(message: Message) -> Awaitable[None]:
        error = request.passing
        if error is not None:
            with guarded("reporting an answered exception"):
                if message["type"] == "http.response.start":
                    request.passing = None
                    report_answered(error, message["status"])
                elif not message.get("more_body", False) and request.trace.root is not None:
                    # `BaseHTTPMiddleware` completes a response whose body has failed, and raises afterwards.
                    record_error(request.trace.root, error)
        return send(message)

    return observed
