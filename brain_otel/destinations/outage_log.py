"""Logs the beginning and the end of an exporter's outage, one line each, in place of the exporter's own lines.

OpenTelemetry's exporters log every failed attempt, several lines for each batch of each signal, for as long as an
outage lasts. Here their lines are captured, and the first of them is the reason in the line about the outage.
"""

import logging
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from brain_otel.configuration.error import masked, reason
from brain_otel.configuration.options import Signal
from brain_otel.delivery.otlp_answer import PartialSuccess
from brain_otel.delivery.target_log import TargetLog
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.limited_log import OutageLog
from brain_otel.runtime.text import printable

logger = logging.getLogger(__name__)

_RESULTS: dict[Signal, Any] = {
    "traces": SpanExportResult,
    "logs": LogRecordExportResult,
    "metrics": MetricExportResult,
}

_ITEMS: dict[Signal, str] = {"traces": "spans", "logs": "log records", "metrics": "data points"}

_LOGGERS = ("opentelemetry.exporter.", "opentelemetry.sdk.")
_TRANSIENT = expression(r"Transient error (.+) encountered while exporting .*")
_WITHOUT_REASON = expression("due to timeout, max retries or shutdown|Shutdown in progress|Channel closed")
_MAX_REASON = 300
"""Characters of a reason; some exporters log the whole answer of the server."""


class FailureLogger:
    """Logs when an exporter begins to fail, when it works again, and what the receiver rejects of accepted requests.

    It remembers whether anything was lost.

    It replaces ``export`` on the exporter object itself, since metric readers read other attributes of it.
    """

    def __init__(self, exporter: Any, name: str, signal: Signal) -> None:
        self._export = exporter.export
        self._failure = _RESULTS[signal].FAILURE
        self._outage_log = OutageLog(
            logger,
            f"{name}: {signal}",
            failed="%s do not arrive, and are dropped until they do (%s)",
            recovered="%s arrive again",
            repeated="%s did not arrive %d more times within a minute",
        )
        self._items, self._partial_log = _ITEMS[signal], TargetLog(name)
        self._has_lost = False
        exporter.export = self.export

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Call the exporter; an exception counts as a failure."""
        logs = CapturedLogs()
        with logs:
            try:
                result = self._export(*args, **kwargs)
            except Exception as error:
                result, logs.reason = self._failure, f"{type(error).__name__}: {reason(error)}"
        self._log(None if getattr(result, "name", "") == "SUCCESS" else logs.reason or str(result))
        self._has_lost |= logs.partial.rejected > 0
        self._partial_log.accepted(self._items, *logs.partial)
        return result

    def flushed(self, was_exported: bool) -> bool:
        """Whether the flush ``was_exported`` and no export failed since the last call; processors ignore results."""
        has_lost, self._has_lost = self._has_lost, False
        return was_exported and not has_lost

    def _log(self, failure: str | None) -> None:
        if failure is not None:
            self._has_lost = True
            self._outage_log.failed(failure)
        else:
            self._outage_log.works()


class CapturedLogs:
    """Captures what exporters log in this context while the ``with`` block lasts, and keeps the reason they give."""

    def __init__(self) -> None:
        self.reason = ""
        self.partial = PartialSuccess()
        """The receiver's message about the latest request that it accepted."""

    def __enter__(self) -> None:
        _filter_exporters()
        self._token: Token[CapturedLogs | None] = _capturing.set(self)

    def __exit__(self, *_: object) -> None:
        _capturing.reset(self._token)

    def add(self, record: logging.LogRecord) -> None:
        """Keep the line as the reason if it gives one; some lines only say that there was an earlier one."""
        line = " ".join(record.getMessage().split())
        if record.levelno >= logging.WARNING and not (self.reason and _WITHOUT_REASON.search(line)):
            self.reason = printable(masked(_TRANSIENT.sub(r"\1", line)))[:_MAX_REASON]


_capturing: ContextVar[CapturedLogs | None] = ContextVar("brain_otel.captured_logs", default=None)


def report_partial_success(partial: PartialSuccess) -> None:
    """Tell whoever captures the lines of the export that runs in this context what the receiver has said."""
    captured = _capturing.get()
    if captured is not None:
        captured.partial = partial


def _capture(record: logging.LogRecord) -> bool:
    """Filter of a logger: holds back lines that are logged while they are captured in this context."""
    captured = _capturing.get()
    if captured is not None:
        captured.add(record)
    return captured is None


def _filter_exporters() -> None:
    for name, each in list(logging.root.manager.loggerDict.items()):
        if name.startswith(_LOGGERS) and isinstance(each, logging.Logger) and _capture not in each.filters:
            each.filters.insert(0, _capture)  # before their own, which pass an equal line once in 20 seconds
