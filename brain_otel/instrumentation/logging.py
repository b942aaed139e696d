"""The standard library's logging: trace ids on every record, and each record sent to the destinations for logs.

Both happen where every record passes, whatever handlers and configuration the application has or sets later:

- ``Logger.handle`` adds ``trace_id`` and ``span_id`` to a record, so that a plain format string can show them.
  (``makeRecord`` would then reject the application's own ``extra={"trace_id": ...}``.)
- ``Logger.callHandlers`` emits the record as an OpenTelemetry log record, once, even if the logger does not
  propagate, as uvicorn's. contrib's handler on the root logger misses those records, and
  ``basicConfig(force=True)`` removes it.

The application's handlers get the same record with two more attributes, empty strings outside of a trace. A record
created before ``setup()`` has neither: use ``logging.Formatter(..., defaults={"trace_id": ""})``.
"""

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs as otel_logs
from opentelemetry.sdk._logs import LoggerProvider

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.patch import Patch, Patches
from brain_otel.runtime.quiet import one_clock

if TYPE_CHECKING:
    from brain_otel.instrumentation import log_records as records
else:
    # The first record needs it; a set-up may log none.
    records = late_module("brain_otel.instrumentation.log_records")

_ADDS_IDS = "_brain_otel_adds_ids"
"""Marks our ``Logger.handle``, and, by ``functools.wraps``, functions that wrap it."""


class LoggingInstrumentation:
    """Observes every logger."""

    def __init__(self) -> None:
        self._emitting = Patches()

    def instrument(self, settings: InstrumentationSettings) -> None:  # noqa: ARG002
        """Begin."""
        if not hasattr(logging.Logger.handle, _ADDS_IDS):
            Patches().replace(logging.Logger, "handle", _handle_with_ids)
        self._emitting.replace(logging.Logger, "callHandlers", _call_handlers_and_emit)

    def uninstrument(self) -> None:
        """Stop emitting.

        Records keep their ids: without them, a format string that shows them would fail on the server's last lines.
        """
        self._emitting.undo()


def _handle_with_ids(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def handle(self: logging.Logger, record: logging.LogRecord) -> Any:
        with guarded("adding the trace's ids to a log record"):
            records.add_ids(record)
        with one_clock():
            return patch.original(self, record)

    setattr(handle, _ADDS_IDS, True)
    return handle


def _call_handlers_and_emit(patch: Patch) -> Callable[..., Any]:
    provider = otel_logs.get_logger_provider()
    has_logs = isinstance(provider, LoggerProvider)

    @functools.wraps(patch.original)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> Any:
        if not patch.active:
            return patch.original(self, record)
        is_wanted = False
        with guarded("looking at a log record"):
            if "trace_id" not in record.__dict__ or "span_id" not in record.__dict__:
                records.add_ids(record)  # a subclass of Logger may override `handle`
            is_wanted = has_logs and records.is_wanted(self, record)
        try:
            return patch.original(self, record)
        finally:
            if record.levelno >= logging.ERROR and record.exc_info:
                with guarded("counting a logged error"):
                    records.count(record)
            if is_wanted:  # after the handlers: Sentry's may have set the error's event id
                with guarded("emitting a log record"):
                    records.emit(record)

    return call_handlers
