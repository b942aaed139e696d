"""FastAPI's own telemetry (``fastapi: native``), from 0.142 on, beside ours: its spans, without its second errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel_trace

from brain_otel.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span
    from starlette.types import ASGIApp, Receive, Scope, Send

NATIVE_KEY = "fastapi.telemetry"
"""In the ASGI scope, FastAPI's own telemetry of the request; present, even as None, it keeps others silent."""


class NativeObserver:
    """Innermost middleware of an app: finds the request's span, which FastAPI has made and may not have recorded."""

    def __init__(self, app: ASGIApp, on_span: Callable[[Span, Scope], None]) -> None:
        self.app = app
        self._on_span = on_span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Look, and go on."""
        self._on_span(otel_trace.get_current_span(), scope)
        with guarded("finding FastAPI's logger"):
            telemetry: Any = scope.get(NATIVE_KEY)
            logger = getattr(telemetry, "logger", None)
            if logger is not None and not isinstance(logger, _WithoutErrors):
                telemetry.logger = _WithoutErrors(logger)
        await self.app(scope, receive, send)


class _WithoutErrors:
    """FastAPI's logger for one request; unhandled exceptions are log records of ours already."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def emit(self, *args: Any, **kwargs: Any) -> None:
        """Emit what is no exception, such as a failed validation."""
        if kwargs.get("exception") is None:
            self._logger.emit(*args, **kwargs)
