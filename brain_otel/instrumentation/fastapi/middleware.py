"""Notices exceptions that a middleware of the application answers, which no exception handler sees.

``try: await call_next(request)`` with ``except Exception: return JSONResponse(..., 500)`` is a failure that nobody is
told of. So each user middleware of an app gets an inner app that remembers what passes through it, and the response
that follows decides: a 5xx means that the middleware has answered the exception. Apps without user middleware are
left alone.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware

from brain_otel.events.report import record_error
from brain_otel.instrumentation.fastapi.errors import report_answered
from brain_otel.instrumentation.fastapi.request import SCOPE_KEY, RequestInProgress
from brain_otel.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def observed_middleware(middleware: Iterable[Any]) -> list[Any]:
    """Let each middleware serve an app that remembers the exceptions that leave it."""
    observed = [
        Middleware(functools.partial(_create, each.cls), *each.args, **each.kwargs)
        if isinstance(each, Middleware)
        else each
        for each in middleware
    ]
    return [Middleware(_Leaving), *observed] if observed else []


def _create(kind: Any, app: ASGIApp, *args: Any, **kwargs: Any) -> Any:
    return kind(_Passing(app), *args, **kwargs)


class _Passing:
    """Serves as ``app`` does, and remembers the exception that leaves it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        __tracebackhide__ = True  # sentry-sdk and pytest leave the frame out
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            self._remember(scope, error)
            raise

    def _remember(self, scope: Scope, error: Exception) -> None:
        with guarded("remembering an exception"):
            request = scope.get(SCOPE_KEY)
            if isinstance(request, RequestInProgress):
                request.passing = error


class _Leaving(_Passing):
    """The outermost: no middleware has answered the exception, so the 500 that follows is Starlette's."""

    def _remember(self, scope: Scope, error: Exception) -> None:  # noqa: ARG002 - overrides
        with guarded("forgetting an exception"):
            request = scope.get(SCOPE_KEY)
            if isinstance(request, RequestInProgress):
                request.passing = None


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
