"""sentry-sdk's handlers for log records, without the ids and loggers that brain_otel excludes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler, LoggingIntegration, SentryLogsHandler

from brain_otel.events.error_rules import error_rules
from brain_otel.events.log_correlation import ids_of_log
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.quiet import is_looking, one_budget
from brain_otel.runtime.safe_repr import plain

if TYPE_CHECKING:
    from logging import LogRecord


class _WithoutIds(logging.Handler):
    """Handles records without the trace ids that the logging instrumentation put on them.

    sentry-sdk sends every attribute that it does not know as the application's; the trace context has the ids. An id
    that the application put on the record itself stays.
    """

    def emit(self, record: LogRecord) -> Any:
        if is_looking():
            return None
        with guarded("removing the trace ids from a log record"):
            record = _without_ids(record)
        with one_budget():
            return super().emit(record)

    def _extra_from_record(self, record: LogRecord) -> Any:
        """The application's ``extra`` as plain data: a breadcrumb may be serialized on another thread."""
        return plain(super()._extra_from_record(record))  # type: ignore[misc]


def _without_ids(record: LogRecord) -> LogRecord:
    facts = vars(record)
    ours = [name for name, value in ids_of_log(record).items() if facts.get(name) == value]
    if not ours:
        return record
    copied = object.__new__(type(record))
    vars(copied).update({name: value for name, value in facts.items() if name not in ours})
    return copied


_OURS: dict[type, Any] = {
    kind: type(kind.__name__, (_WithoutIds, kind), {})
    for kind in (EventHandler, BreadcrumbHandler, SentryLogsHandler)
}


def _is_not_ignored(record: LogRecord) -> bool:
    """Whether the error rules do not ignore the logger of ``record``."""
    return not error_rules().ignores_logger(record.name)


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
                made.addFilter(_is_not_ignored)
                setattr(self, name, made)
