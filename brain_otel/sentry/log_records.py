"""Selects and copies log records for :mod:`.log_handlers`. The first record loads this module."""

import logging
from logging import LogRecord

from brain_otel.events.arguments import text_of
from brain_otel.events.deduplication import find_record
from brain_otel.events.error_rules import error_rules
from brain_otel.events.log_correlation import error_of_log, fields_of_log, ids_of_log, message_of_log
from brain_otel.runtime.quiet import quiet
from brain_otel.runtime.safe_repr import plain
from brain_otel.runtime.text import MAX_TEXT, shortened

__all__ = ["RecordWithoutIds", "is_wanted", "may_be_event", "plain"]


class RecordWithoutIds(logging.LogRecord):
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
        """The message, within bounds and without named secrets."""
        if self._text is None:
            with quiet():
                self._text = shortened(message_of_log(self._original), MAX_TEXT)
        return self._text


def is_wanted(record: LogRecord) -> bool:
    """Whether the logger of ``record`` is not one that the error rules ignore."""
    return not error_rules().ignores_logger(record.name)


def may_be_event(record: LogRecord) -> bool:
    """Whether no instrumentation has found that the exception of ``record`` is no event, or none yet.

    sentry-sdk would drop an event about the same exception that is captured later.
    """
    error = error_of_log(record)
    known = find_record(error) if error is not None else None
    return known is None or not known.is_ignored
