"""FastAPI's own telemetry (``fastapi: native``, from 0.142): its spans, without its second report of an error."""

from collections.abc import Callable
from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.trace import Span
from starlette.types import ASGIApp, Receive, Scope, Send

from brain_otel.runtime.guard import guarded

NATIVE_KEY = "fastapi.telemetry"
"""In the ASGI scope, FastAPI's telemetry of the request; if the key is present, even with None, FastAPI adds none."""


class NativeObserver:
    """Innermost middleware of an app: finds the span that FastAPI has started for the request, recorded or not."""

    def __init__(self, app: ASGIApp, on_span: Callable[[Span, Scope], None]) -> None:
        self.app = app
        self._on_span = on_span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Observe and serve one request."""
        self._on_span(otel_trace.get_current_span(), scope)
        with guarded("finding FastAPI's logger"):
            telemetry: Any = scope.get(NATIVE_KEY)
            logger = getattr(telemetry, "logger", None)
            if logger is not None and not isinstance(logger, _WithoutErrors):
                telemetry.logger = _WithoutErrors(logger)
        await self.app(scope, receive, send)


class _WithoutErrors:
    """FastAPI's logger for one request, without unhandled exceptions, which we emit ourselves."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def emit(self, *args: Any, **kwargs: Any) -> None:
        """Emit a record without an exception, such as a failed validation."""
        if kwargs.get("exception") is None:
            self._logger.emit(*args, **kwargs)
