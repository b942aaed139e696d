"""Sends log records to Sentry as its log items, so that Sentry gets the same lines as a collector.

sentry-sdk gathers up to 100 of them, for at most 5 seconds, in one envelope, and adds what its scopes know: the user,
the environment and the release. Follows https://develop.sentry.dev/sdk/telemetry/logs/.
"""

from collections.abc import Iterator
from itertools import islice
from logging import LogRecord
from typing import Any

import sentry_sdk
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.semconv.attributes import exception_attributes, otel_attributes

from brain_otel.events.arguments import facts
from brain_otel.events.attributes import attribute_value
from brain_otel.events.log_correlation import being_emitted, fields_of_log
from brain_otel.events.report import EVENT_ID
from brain_otel.runtime.quiet import one_budget
from brain_otel.runtime.text import shortened
from brain_otel.sentry.listener import LinkingIntegration
from brain_otel.sentry.masked_items import MAX_LOG_TEXT, PARAMETER

_NAMES = ("trace", "debug", "info", "warn", "error", "fatal")
"""Sentry's names of levels; each stands for four severity numbers, from 1 on."""

_INFO = 9
"""The severity of a record that has none."""

MAX_PARAMETERS = 50
"""Arguments of a message that are sent."""

_TEMPLATE = "sentry.message.template"


class SentryLogProcessor(LogRecordProcessor):
    """Hands each log record to sentry-sdk whose severity number is at least ``least``."""

    def __init__(self, least: int) -> None:
        self._least = least
        client = sentry_sdk.get_client()
        self._root = str(client.options["project_root"] or "")
        client.options["enable_logs"] = False  # else sentry-sdk's own handler would send each record again

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Hand the record on, in Sentry's form."""
        severity = _severity_of(log_record)
        if severity >= self._least:
            with one_budget():
                item = self._item(log_record, severity)
            sentry_sdk.get_current_scope()._capture_log(item)  # the public functions take no time and no ids

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Do nothing: the bridge to Sentry is flushed as a whole."""
        return True

    def shutdown(self) -> None:
        """Do nothing."""

    def _item(self, emitted: ReadWriteLogRecord, severity: int) -> Any:
        record = emitted.log_record
        source = being_emitted.get()
        attributes = {
            name: list(each) if type(each) is tuple else each for name, each in (record.attributes or {}).items()
        }
        if EVENT_ID in attributes:  # the event has the frames
            attributes.pop(exception_attributes.EXCEPTION_STACKTRACE, None)
        if record.event_name:
            attributes[otel_attributes.OTEL_EVENT_NAME] = record.event_name
        if emitted.instrumentation_scope is not None:
            attributes.setdefault("logger.name", emitted.instrumentation_scope.name)
        attributes["sentry.origin"] = "auto.log.otel" if source is None else "auto.log.stdlib"
        if source is not None:
            attributes = {**dict(self._facts_of(source)), **attributes}
        return {
            "severity_text": _NAMES[(severity - 1) // 4],
            "severity_number": severity,
            "body": record.body if isinstance(record.body, str) else str(attribute_value(record.body)),
            "attributes": attributes,
            "time_unix_nano": record.timestamp or record.observed_timestamp,
            "trace_id": f"{record.trace_id:032x}" if record.trace_id else None,
            "span_id": f"{record.span_id:016x}" if record.span_id else None,
        }

    def _facts_of(self, record: LogRecord) -> Iterator[tuple[str, Any]]:
        """The template and arguments of a record of the standard library's logging, and where it was made."""
        given: Any = fields_of_log(record).get("args")
        named = enumerate(given) if type(given) in (tuple, list) else facts(given).items()
        parameters = {f"{PARAMETER}{name}": each for name, each in islice(named, MAX_PARAMETERS)}
        if parameters:
            yield _TEMPLATE, attribute_value(record.msg)
        for name, each in parameters.items():
            shown = attribute_value(each)
            yield name, shortened(shown, MAX_LOG_TEXT) if isinstance(shown, str) else shown
        yield "code.file.path", _relative(str(record.pathname), self._root)
        yield "code.line.number", record.lineno
        yield "code.function.name", record.funcName
        yield "thread.id", record.thread
        yield "thread.name", record.threadName
        yield "process.pid", record.process
        yield "process.executable.name", record.processName


def create_log_processor(least: int) -> SentryLogProcessor | None:
    """The processor for records from one severity on; None if the bridge to Sentry has not been started."""
    is_started = sentry_sdk.get_client().get_integration(LinkingIntegration) is not None
    return SentryLogProcessor(least) if is_started else None


def _severity_of(emitted: ReadWriteLogRecord) -> int:
    number = emitted.log_record.severity_number
    return min(number.value, 24) if number is not None and number.value > 0 else _INFO


def _relative(path: str, root: str) -> str:
    return path[len(root) + 1 :] if root and path.startswith(f"{root}/") else path
