"""A record of the standard library's logging: its ids, the errors that it counts, and its way to the destinations."""

import functools
import logging
import sys
from typing import Any

from opentelemetry import _logs as otel_logs
from opentelemetry._logs import NoOpLoggerProvider, SeverityNumber
from opentelemetry.instrumentation.log_utils import std_to_otel
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs import LoggerProvider

from brain_otel.events.attributes import attribute_value, error_attributes
from brain_otel.events.deduplication import find_record
from brain_otel.events.error_counter import count_error
from brain_otel.events.error_rules import error_rules
from brain_otel.events.log_correlation import (
    SPAN_ID,
    TRACE_ID,
    being_emitted,
    context_of_log,
    error_of_log,
    fields_of_log,
    ids_of_log,
    logger_of,
    message_of_log,
)
from brain_otel.events.report import EVENT_ID
from brain_otel.privacy.model_clients import logs_prompts
from brain_otel.runtime.quiet import is_looking, quiet
from brain_otel.runtime.text import encodable

QUIET = (
    *("brain_otel", "opentelemetry", "sentry_sdk", "uvicorn.access"),
    *("httpx", "httpcore", "httpx2", "httpcore2"),
)
"""Loggers whose records, and those of their children, are not emitted: the SDKs' and ours, to avoid a feedback loop,
and those that log one line for each request, which has a span."""

_SERVERS = ("uvicorn.error", "gunicorn.error", "hypercorn.error", "asyncio")
"""Loggers of exceptions that have been reported as unhandled already."""

_STANDARD = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", TRACE_ID, SPAN_ID, "color_message"}
)
"""Attributes of a record to which the application has added nothing; uvicorn adds the message with escapes."""

_SEVERITY_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""Python's level -> OpenTelemetry's text, where they differ; contrib's handler uses the same."""

_OTHER_HANDLERS = ("opentelemetry.instrumentation.logging.handler", "opentelemetry.sdk._logs")
"""Modules whose ``LoggingHandler`` emits records: contrib's, and the SDK's deprecated one."""


def add_ids(record: logging.LogRecord) -> None:
    """Add ``trace_id`` and ``span_id`` to ``record``, unless it has them."""
    for name, value in ids_of_log(record).items():
        record.__dict__.setdefault(name, value)


def is_wanted(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """Whether ``record`` is emitted, for the destinations for logs."""
    if sys.is_finalizing() or being_emitted.get() is not None:
        return False
    if not is_instrumentation_enabled() or _is_quiet(record.name):
        return False
    if record.levelno <= logging.DEBUG and logs_prompts(record.name):
        return False
    if record.name in _SERVERS and _event_id_of(error_of_log(record)):
        return False
    return not _is_emitted_by_another(logger, record)


def count(record: logging.LogRecord) -> None:
    """Count the exception of ``record`` if it is an event in Sentry too, unless it has been reported or ignored."""
    error, rules = error_of_log(record), error_rules()
    known = find_record(error) if error is not None else None
    if error is None or _is_quiet(record.name) or rules.ignores_logger(record.name) or is_looking():
        return
    if not (known is not None and known.is_ignored) and rules.should_report(error) is not False:
        count_error(error, handled=record.name not in _SERVERS)


def emit(record: logging.LogRecord) -> None:
    """Emit ``record`` as one of OpenTelemetry's."""
    emitting = being_emitted.set(record)  # the `__str__` of the application's objects may log
    try:
        severity = std_to_otel(record.levelno) if record.levelno >= logging.DEBUG else SeverityNumber.TRACE
        attributes = _attributes(record)
        event_name = attributes.pop("otel.event.name", None)
        logger_of(encodable(record.name)).emit(
            context=context_of_log(error_of_log(record)),
            timestamp=int(record.created * 1e9),
            severity_number=severity,
            severity_text=encodable(_SEVERITY_TEXTS.get(record.levelname, record.levelname)),
            body=_body(record),
            attributes=attributes,
            event_name=str(event_name) if event_name is not None else None,
        )
    finally:
        being_emitted.reset(emitting)


def _body(record: logging.LogRecord) -> str:
    try:
        with quiet():  # the `__str__` of the application's objects may make spans and report errors
            return encodable(message_of_log(record))
    except Exception:  # the arguments do not fit the message; logging's own handlers say so on stderr
        return str(attribute_value(record.msg))


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    """The application's ``extra``, without names that begin with an underscore, and the exception."""
    fields = fields_of_log(record)
    attributes = {
        str(name): attribute_value(value)
        for name, value in list(fields.items())
        if name not in _STANDARD and not str(name).startswith("_")
    }
    for name, ours in ids_of_log(record).items():
        if fields.get(name, ours) != ours:  # the application's own
            attributes[name] = attribute_value(fields[name])
    error = error_of_log(record)
    if error is not None:
        attributes |= error_attributes(error)
        event_id = _event_id_of(error)
        if event_id:
            attributes.setdefault(EVENT_ID, event_id)
    elif isinstance(record.exc_text, str):  # the record comes from elsewhere, where the exception was formatted
        attributes["exception.stacktrace"] = encodable(record.exc_text)
    return attributes


def _event_id_of(error: BaseException | None) -> str | None:
    """The id of the event that reported ``error``; None if there is no such event."""
    record = find_record(error) if error is not None else None
    return record.event_id if record is not None else None


@functools.lru_cache(maxsize=1024)
def _is_quiet(name: str) -> bool:
    return any(name == quiet or name.startswith(f"{quiet}.") for quiet in QUIET)


def _is_emitted_by_another(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """Whether a handler of ``logger``, or of a parent, emits ``record``: the application has installed contrib's."""
    modules = [sys.modules.get(name) for name in _OTHER_HANDLERS]
    kinds = tuple(module.LoggingHandler for module in modules if module is not None)
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if isinstance(handler, kinds) and record.levelno >= handler.level and _emits_to_us(handler):
                return True
        current = current.parent if current.propagate else None
    return False


def _emits_to_us(handler: logging.Handler) -> bool:
    """Whether ``handler`` emits to the global provider; it may have been given another one.

    A handler created before the global provider was set holds a proxy of the API.
    """
    providers = [each for each in vars(handler).values() if isinstance(each, otel_logs.LoggerProvider)]
    in_use = otel_logs.get_logger_provider()
    return any(each is in_use or not isinstance(each, (LoggerProvider, NoOpLoggerProvider)) for each in providers)
