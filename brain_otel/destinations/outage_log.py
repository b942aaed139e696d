"""An outage is one log line, and its end another, whatever the exporter says in between.

OpenTelemetry's exporters log every attempt that fails, several lines for each batch of each signal, for as long as an
outage lasts. Here the first failure is told with its reason, and that it is over.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from brain_otel.configuration.error import masked, reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brain_otel.configuration.options import Signal


logger = logging.getLogger(__name__)


FAILURES: dict[Signal, Any] = {
    "traces": SpanExportResult.FAILURE,
    "logs": LogRecordExportResult.FAILURE,
    "metrics": MetricExportResult.FAILURE,
}
"""What an exporter returns that has failed."""


class FailureLogger:
    """An exporter whose failures to export are told once an outage, and remembered until they are asked for.

    Its ``export`` is replaced on the object itself: readers of metrics look at other attributes of it, too.
    """

    def __init__(self, exporter: Any, what: str, failure: Any) -> None:
        """``what`` is exported, as in "otlp: traces"; an ``export`` that raises gives ``failure``."""
        self._export = exporter.export
        self._what = what
        self._failure = failure
        self._is_out = False
        self._has_lost = False
        exporter.export = self.export

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Export, and tell of the beginning or the end of an outage."""
        said = CapturedLogs()
        with captured_logs(said):
            try:
                result = self._export(*args, **kwargs)
            except Exception as error:
                result, said.reason = self._failure, f"{type(error).__name__}: {reason(error)}"
        self._tell(None if getattr(result, "name", "") == "SUCCESS" else said.reason or str(result))
        return result

    def flushed(self, handed_on: bool) -> bool:
        """Whether all was ``handed_on`` and, since this was asked last, taken: processors do not look at results."""
        lost, self._has_lost = self._has_lost, False
        return handed_on and not lost

    def _tell(self, reason: str | None) -> None:
        if reason is not None:
            self._has_lost = True
            if not self._is_out:
                logger.warning("%s do not arrive, and are dropped until they do (%s)", self._what, reason)
        elif self._is_out:
            logger.warning("%s arrive again", self._what)
        self._is_out = reason is not None


_LOGGERS = ("opentelemetry.exporter.", "opentelemetry.sdk.")


_MAX_LENGTH = 300
"""Characters of a reason; some exporters log what the server answered."""


_TRANSIENT = re.compile(r"Transient error (.+) encountered while exporting .*")


_WITHOUT_REASON = re.compile("due to timeout, max retries or shutdown|Shutdown in progress|Channel closed")


@dataclass
class CapturedLogs:
    """What was logged while an exporter exported."""

    reason: str = ""


_listener: ContextVar[CapturedLogs | None] = ContextVar("brain_otel.overheard", default=None)


def _hear(record: logging.LogRecord) -> bool:
    """Keep a line that an exporter logs for the one who listens, instead of letting it out; a logger's filter."""
    listener = _listener.get()
    if listener is None:
        return True
    line = " ".join(record.getMessage().split())
    # Some lines say no more than that there was an earlier one.
    if record.levelno >= logging.WARNING and not (listener.reason and _WITHOUT_REASON.search(line)):
        listener.reason = masked(_TRANSIENT.sub(r"\1", line))[:_MAX_LENGTH]
    return False


@contextmanager
def captured_logs(listener: CapturedLogs) -> Iterator[None]:
    """Keep in ``listener`` what exporters log in this context while the block lasts; it goes nowhere else."""
    _listen_to_all()
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _listen_to_all() -> None:
    for name, each in list(logging.root.manager.loggerDict.items()):
        if name.startswith(_LOGGERS) and isinstance(each, logging.Logger) and _hear not in each.filters:
            each.filters.insert(0, _hear)  # before their own, which let a line pass once in 20 seconds
