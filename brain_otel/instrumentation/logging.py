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
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs as otel_logs
from opentelemetry._logs import NoOpLoggerProvider, SeverityNumber
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs import LoggerProvider

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
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
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.patch import Patch, Patches
from brain_otel.runtime.quiet import is_looking, one_clock, quiet
from brain_otel.runtime.text import encodable

if TYPE_CHECKING:
    from opentelemetry.instrumentation import log_utils
else:
    log_utils = late_module("opentelemetry.instrumentation.log_utils")

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
            _add_ids(record)
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
            if TRACE_ID not in record.__dict__ or SPAN_ID not in record.__dict__:
                _add_ids(record)  # a subclass of Logger may override `handle`
            is_wanted = has_logs and _is_wanted(self, record)
        try:
            return patch.original(self, record)
        finally:
            if record.levelno >= logging.ERROR and record.exc_info:
                with guarded("counting a logged error"):
                    _count(record)
            if is_wanted:  # after the handlers: Sentry's may have set the error's event id
                with guarded("emitting a log record"):
                    _emit(record)

    return call_handlers


def _add_ids(record: logging.LogRecord) -> None:
    for name, value in ids_of_log(record).items():
        record.__dict__.setdefault(name, value)


def _is_wanted(logger: logging.Logger, record: logging.LogRecord) -> bool:
    if sys.is_finalizing() or being_emitted.get() is not None:
        return False
    if not is_instrumentation_enabled() or _is_quiet(record.name):
        return False
    if record.levelno <= logging.DEBUG and logs_prompts(record.name):
        return False
    if record.name in _SERVERS and _event_id_of(error_of_log(record)):
        return False
    return not _is_emitted_by_another(logger, record)


def _count(record: logging.LogRecord) -> None:
    """Count the exception of ``record`` if it is an event in Sentry too, unless it has been reported or ignored."""
    error, rules = error_of_log(record), error_rules()
    known = find_record(error) if error is not None else None
    if error is None or _is_quiet(record.name) or rules.ignores_logger(record.name) or is_looking():
        return
    if not (known is not None and known.is_ignored) and rules.should_report(error) is not False:
        count_error(error, handled=record.name not in _SERVERS)


def _emit(record: logging.LogRecord) -> None:
    emitting = being_emitted.set(record)  # the `__str__` of the application's objects may log
    try:
        severity = log_utils.std_to_otel(record.levelno) if record.levelno >= logging.DEBUG else SeverityNumber.TRACE
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
