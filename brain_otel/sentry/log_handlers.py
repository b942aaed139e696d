"""sentry-sdk's handlers for log records, without the ids and loggers that brain_otel excludes."""

import logging
from logging import LogRecord
from typing import TYPE_CHECKING, Any

from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler, LoggingIntegration, SentryLogsHandler

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.quiet import is_looking, one_budget

if TYPE_CHECKING:
    from brain_otel.sentry import log_records
else:
    # The first record that becomes a breadcrumb, an event or a log item needs it.
    log_records = late_module("brain_otel.sentry.log_records")


class _WithoutIds(logging.Handler):
    """Handles records without the trace ids that the logging instrumentation put on them.

    sentry-sdk sends every attribute that it does not know as the application's; the trace context has the ids. An id
    that the application put on the record itself stays.
    """

    def emit(self, record: LogRecord) -> Any:
        if is_looking():
            return None
        with guarded("reading a log record"):
            record = log_records.RecordWithoutIds(record)
        with one_budget():
            return super().emit(record)

    def format(self, record: LogRecord) -> str:
        """The message alone: the traceback is written elsewhere, and that of a large exception takes long."""
        record.message = record.getMessage()
        return record.message

    def _extra_from_record(self, record: LogRecord) -> Any:
        """The application's ``extra`` as plain data: a breadcrumb may be serialized on another thread."""
        with guarded("reading a log record"):
            return log_records.plain(super()._extra_from_record(record))  # type: ignore[misc]
        return {}


_OURS: dict[type, Any] = {
    kind: type(kind.__name__, (_WithoutIds, kind), {})
    for kind in (EventHandler, BreadcrumbHandler, SentryLogsHandler)
}


class LogIntegration(LoggingIntegration):
    """sentry-sdk's integration of logging with our handlers, whatever the names it keeps its own by.

    The filter asks the current error rules; sentry-sdk's ``ignore_logger`` would stay after them.
    """

    def __init__(self) -> None:
        super().__init__()
        for name, handler in list(vars(self).items()):
            ours = _OURS.get(type(handler))
            if ours is not None:
                made = ours(level=handler.level)
                # A filter runs before the handler takes its lock, under which nothing should be imported.
                made.addFilter(_may_be_event if isinstance(handler, EventHandler) else _is_wanted)
                setattr(self, name, made)


def _is_wanted(record: LogRecord) -> bool:
    if record.name.partition(".")[0] == "brain_otel":
        return False  # sentry-sdk ignores our loggers too, but a line of set-up's would load the module first
    with guarded("reading a log record"):
        return log_records.is_wanted(record)
    return True


def _may_be_event(record: LogRecord) -> bool:
    with guarded("reading a log record"):
        return _is_wanted(record) and log_records.may_be_event(record)
    return True
