"""The standard library's logging: trace ids on every record, and records to the destinations for logs.

Both are done where every record passes, whatever handlers and configuration the application has or changes later:
``Logger.handle`` gives a record ``trace_id`` and ``span_id`` (unless the application gave it its own), so that a
plain format string can show them; ``Logger.callHandlers`` emits it as an OpenTelemetry log record, once, also where
the logger does not propagate (uvicorn's). contrib's handler translates; as a handler of the root logger, as contrib
installs it, it would miss those, and be lost to ``basicConfig(force=True)``.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import wrapt
from opentelemetry import _logs as otel_logs
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, unwrap
from opentelemetry.sdk._logs import LoggerProvider

from brain_otel import local_trace
from brain_otel.capture import attribute_value, context_of_log
from brain_otel.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AnyValue

    from brain_otel.settings import InstrumentationSettings

    Arguments = tuple[Any, ...]

TRACE_ID, SPAN_ID = "trace_id", "span_id"

QUIET = ("brain_otel", "opentelemetry", "httpx", "httpcore", "uvicorn.access")
"""Loggers whose records are not emitted, nor those of loggers below them: ours and OpenTelemetry's, which would feed
on themselves, and lines per request, for which there is a span."""

_SERVERS = ("uvicorn.error", "gunicorn.error", "hypercorn.error", "asyncio")
"""Loggers of what has been reported as an unhandled exception already."""

_emitting: ContextVar[bool] = ContextVar("brain_otel.logging.emitting", default=False)


class Translator(LoggingHandler):
    """contrib's handler, with attributes that OpenTelemetry takes."""

    def __init__(self) -> None:
        super().__init__(logger_provider=otel_logs.get_logger_provider())

    def _get_attributes(self, record: logging.LogRecord) -> tuple[dict[str, AnyValue], str | None]:
        attributes, event_name = super()._get_attributes(record)
        for name in (TRACE_ID, SPAN_ID):
            attributes.pop(name, None)
        return {key: attribute_value(value) for key, value in attributes.items()}, event_name


def instrument(settings: InstrumentationSettings) -> None:  # noqa: ARG001
    """Observe every logger."""
    wrapt.wrap_function_wrapper(logging.Logger, "handle", _handle)
    if isinstance(otel_logs.get_logger_provider(), LoggerProvider):
        translator = Translator()

        def call_handlers(
            wrapped: Callable[..., Any], _: object, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            with guarded("emitting a log record"):
                _emit(translator, args[0] if args else kwargs["record"])
            return wrapped(*args, **kwargs)

        wrapt.wrap_function_wrapper(logging.Logger, "callHandlers", call_handlers)


def uninstrument() -> None:
    """Leave the loggers alone."""
    unwrap(logging.Logger, "handle")
    unwrap(logging.Logger, "callHandlers")


def _handle(wrapped: Callable[..., Any], _: object, args: Arguments, kwargs: dict[str, Any]) -> Any:
    with guarded("giving a log record its trace's ids"):
        record = args[0] if args else kwargs["record"]
        span = local_trace.current_span_context(local_trace.current())
        record.__dict__.setdefault(TRACE_ID, f"{span.trace_id:032x}" if span is not None else "")
        record.__dict__.setdefault(SPAN_ID, f"{span.span_id:016x}" if span is not None else "")
    return wrapped(*args, **kwargs)


def _emit(translator: Translator, record: logging.LogRecord) -> None:
    if _emitting.get() or not is_instrumentation_enabled() or _is_quiet(record.name):
        return
    if record.name in _SERVERS and record.exc_info and _is_reported(record.exc_info[1]):
        return
    emitting = _emitting.set(True)
    attached = otel_context.attach(context_of_log() or otel_context.get_current())
    try:
        translator.emit(record)
    finally:
        otel_context.detach(attached)
        _emitting.reset(emitting)


def _is_quiet(name: str) -> bool:
    return any(name == quiet or name.startswith(f"{quiet}.") for quiet in QUIET)


def _is_reported(error: BaseException | None) -> bool:
    trace = local_trace.current() or local_trace.failed_in(error)
    return error is not None and trace is not None and trace.reported_as(error) is not None
