"""The standard library's logging: trace ids on every record, and records to the destinations for logs.

Both are done where every record passes, whatever handlers and configuration the application has or changes later:
``Logger.handle`` gives a record ``trace_id`` and ``span_id``, so that a plain format string can show them (not
``makeRecord``, where the application's own ``extra={"trace_id": ...}`` would then be refused);
``Logger.callHandlers`` emits it as an OpenTelemetry log record, once, also where the logger does not propagate
(uvicorn's). contrib's handler of the root logger misses those, and is lost to ``basicConfig(force=True)``.

What the application's handlers get is the record as ever, with the two attributes. They are empty strings outside
of a trace. A record from before ``setup()`` has none: ``logging.Formatter(..., defaults={"trace_id": ""})``.
"""

from __future__ import annotations

import functools
import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs as otel_logs
from opentelemetry._logs import SeverityNumber
from opentelemetry._logs._internal import ProxyLoggerProvider
from opentelemetry.instrumentation.log_utils import std_to_otel
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.semconv.attributes import exception_attributes, otel_attributes

from brain_otel.events.attributes import attribute_value, error_attributes
from brain_otel.events.failures import find_record
from brain_otel.events.log_correlation import SPAN_ID, TRACE_ID, context_of_log, error_of_log, ids_of_log, logger_of
from brain_otel.events.report import EVENT_ID
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patch, replace
from brain_otel.runtime.text import encodable

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.configuration.settings import InstrumentationSettings

QUIET = ("brain_otel", "opentelemetry", "sentry_sdk", "httpx", "httpcore", "uvicorn.access")
"""Loggers whose records are not emitted, nor those of loggers below them: ours and the SDKs', which would feed on
themselves, and lines per request, for which there is a span."""

_SERVERS = ("uvicorn.error", "gunicorn.error", "hypercorn.error", "asyncio")
"""Loggers of what has been reported as an unhandled exception already."""

_STANDARD = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", TRACE_ID, SPAN_ID},
)
"""What is in a record that the application has added nothing to."""

_SEVERITY_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""OpenTelemetry's words where they are not Python's, as contrib's handler has them."""

_OTHER_HANDLERS = ("opentelemetry.instrumentation.logging.handler", "opentelemetry.sdk._logs")
"""Modules with a ``LoggingHandler`` that emits what it handles: contrib's, and the SDK's deprecated one."""

_emitting: ContextVar[bool] = ContextVar("brain_otel.logging.emitting", default=False)

_identifying: list[Patch] = []
"""The patch of ``Logger.handle``; it stays."""

_observing: list[Patch] = []
"""The patch of ``Logger.callHandlers`` while we are installed."""


def instrument(settings: InstrumentationSettings) -> None:  # noqa: ARG001
    """Observe every logger."""
    handle = vars(logging.Logger)["handle"]
    if not _identifying or handle is _identifying[0].found:  # once, unless somebody has put back what was there
        _identifying[:] = [replace(logging.Logger, "handle", _identified)]
    _observing.append(replace(logging.Logger, "callHandlers", _emitted))


def uninstrument() -> None:
    """Emit nothing more.

    The ids stay on the records: with a format string that shows them, every later line, such as a server's last
    ones, would be an error of formatting instead.
    """
    while _observing:
        _observing.pop().undo()


def _identified(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def handle(self: logging.Logger, record: logging.LogRecord) -> Any:
        with guarded("giving a log record its trace's ids"):
            _identify(record)
        return patch.original(self, record)

    return handle


def _emitted(patch: Patch) -> Callable[..., Any]:
    provider = otel_logs.get_logger_provider()
    has_logs = isinstance(provider, LoggerProvider)

    @functools.wraps(patch.original)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> Any:
        if not patch.active:
            return patch.original(self, record)
        wanted = False
        with guarded("looking at a log record"):
            if TRACE_ID not in record.__dict__ or SPAN_ID not in record.__dict__:
                _identify(record)  # a subclass of Logger has a `handle` of its own
            wanted = has_logs and _is_wanted(self, record)
        try:
            return patch.original(self, record)
        finally:
            if wanted:  # after the handlers, of which Sentry's may have given the error its event id
                with guarded("emitting a log record"):
                    _emit(record)

    return call_handlers


def _identify(record: logging.LogRecord) -> None:
    for name, value in ids_of_log(record).items():
        record.__dict__.setdefault(name, value)


def _is_wanted(logger: logging.Logger, record: logging.LogRecord) -> bool:
    if sys.is_finalizing() or _emitting.get() or not is_instrumentation_enabled() or _is_quiet(record.name):
        return False
    if record.name in _SERVERS and _event_id_of(error_of_log(record)):
        return False
    return not _is_emitted_by_another(logger, record)


def _emit(record: logging.LogRecord) -> None:
    emitting = _emitting.set(True)  # the application's objects may log while they are written out
    try:
        severity = std_to_otel(record.levelno) if record.levelno >= logging.DEBUG else SeverityNumber.TRACE
        attributes = _attributes(record)
        event_name = attributes.pop(otel_attributes.OTEL_EVENT_NAME, None)
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
        _emitting.reset(emitting)


def _body(record: logging.LogRecord) -> str:
    try:
        return encodable(record.getMessage())
    except Exception:  # the arguments do not fit the message, which logging's own handlers say on stderr
        return str(attribute_value(record.msg))


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    """What the application added (``extra``), and the exception; a name with an underscore is somebody's own."""
    facts = record.__dict__
    attributes = {
        str(name): attribute_value(value)
        for name, value in list(facts.items())
        if name not in _STANDARD and not str(name).startswith("_")
    }
    for name, ours in ids_of_log(record).items():
        if facts.get(name, ours) != ours:  # the application's own
            attributes[name] = attribute_value(facts[name])
    error = error_of_log(record)
    if error is not None:
        attributes |= error_attributes(error)
        event_id = _event_id_of(error)
        if event_id:
            attributes.setdefault(EVENT_ID, event_id)
    elif isinstance(record.exc_text, str):  # a record from elsewhere: the exception has been written out there
        attributes[exception_attributes.EXCEPTION_STACKTRACE] = encodable(record.exc_text)
    return attributes


def _event_id_of(error: BaseException | None) -> str | None:
    """The event as which ``error`` has been reported; None for one that has not been, or is ignored."""
    record = find_record(error) if error is not None else None
    return record.event_id if record is not None else None


@functools.lru_cache(maxsize=1024)
def _is_quiet(name: str) -> bool:
    return any(name == quiet or name.startswith(f"{quiet}.") for quiet in QUIET)


def _is_emitted_by_another(logger: logging.Logger, record: logging.LogRecord) -> bool:
    """Whether a handler that emits will see ``record``: the application has installed contrib's, before or after."""
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
    """Whether ``handler`` emits to the global provider, not to one of the application's.

    ``_logger_provider`` is its own name; a test tells when it changes.
    """
    provider = getattr(handler, "_logger_provider", None)
    return isinstance(provider, ProxyLoggerProvider) or provider is otel_logs.get_logger_provider()
