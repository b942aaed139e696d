"""sentry-sdk's handlers for log records, without the ids and loggers that brain_otel excludes."""

import logging
from logging import LogRecord
from typing import Any

from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler, LoggingIntegration, SentryLogsHandler

from brain_otel.events.arguments import text_of
from brain_otel.events.deduplication import find_record
from brain_otel.events.error_rules import error_rules
from brain_otel.events.log_correlation import error_of_log, fields_of_log, ids_of_log, message_of_log
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.quiet import is_looking, one_budget, quiet
from brain_otel.runtime.safe_repr import plain
from brain_otel.runtime.text import MAX_TEXT, shortened


class _WithoutIds(logging.Handler):
    """Handles records without the trace ids that the logging instrumentation put on them.

    sentry-sdk sends every attribute that it does not know as the application's; the trace context has the ids. An id
    that the application put on the record itself stays.
    """

    def emit(self, record: LogRecord) -> Any:
        if is_looking():
            return None
        with guarded("copying a log record"):
            record = _Record(record)
        with one_budget():
            return super().emit(record)

    def format(self, record: LogRecord) -> str:
        """The message alone: the traceback is written elsewhere, and that of a large exception takes long."""
        record.message = record.getMessage()
        return record.message

    def _extra_from_record(self, record: LogRecord) -> Any:
        """The application's ``extra`` as plain data: a breadcrumb may be serialized on another thread."""
        return plain(super()._extra_from_record(record))  # type: ignore[misc]


class _Record(logging.LogRecord):
    """A copy of a record without our trace ids. Its arguments' ``__str__`` makes no spans, events and breadcrumbs."""

    __slots__ = ("_original", "_text")

    def __init__(self, original: LogRecord) -> None:
        self._original = original
        self._text: str | None = None
        ids = ids_of_log(original)
        fields = fields_of_log(original)
        vars(self).update(
            {name: value for name, value in fields.items() if type(value) is not str or ids.get(name) != value}
        )
        self.msg = text_of(original.msg)  # of which sentry-sdk makes a text

    def getMessage(self) -> str:  # noqa: N802 - overrides
        if self._text is None:
            with quiet():
                self._text = shortened(message_of_log(self._original), MAX_TEXT)
        return self._text


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
                made.addFilter(lambda each: not error_rules().ignores_logger(each.name))
                if isinstance(handler, EventHandler):
                    made.addFilter(_may_be_event)
                setattr(self, name, made)


def _may_be_event(record: LogRecord) -> bool:
    """Whether no instrumentation has found that the exception of ``record`` is no event, or none yet.

    sentry-sdk would drop an event about the same exception that is captured later.
    """
    with guarded("looking for what became of a logged exception"):
        error = error_of_log(record)
        known = find_record(error) if error is not None else None
        return known is None or not known.is_ignored
    return True
