"""Reports an exception once: as a log record, and to every destination."""

import sys
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Span, Status, StatusCode

from brain_otel.events.deduplication import find_record, record_ignored, record_reported, trace_of
from brain_otel.events.error_rules import ASKED_FOR, error_rules
from brain_otel.events.listeners import Failure, notify
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.quiet import is_looking, one_budget, one_clock
from brain_otel.runtime.text import encodable
from brain_otel.traces.scope import NAME

if TYPE_CHECKING:
    from brain_otel.events import arguments, attributes, error_counter, log_correlation
else:
    # The first error needs them.
    arguments = late_module("brain_otel.events.arguments")
    attributes = late_module("brain_otel.events.attributes")
    error_counter = late_module("brain_otel.events.error_counter")
    log_correlation = late_module("brain_otel.events.log_correlation")

SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "fatal": SeverityNumber.FATAL,
}


EVENT_ID = "brain_otel.event_id"
"""The log record's attribute with the event id, which ``capture_*`` returns and Sentry shows."""


_EVENTS = {"fastapi": "http.server.request.exception"}
"""Mechanism that reports an exception -> name of the log record's event; for all others ``exception``."""


def report_exception(
    error: BaseException, *, handled: bool, mechanism: str, context: Mapping[str, Any] | None = None
) -> str | None:
    """Report ``error`` to every destination, once. Instrumentations and ``capture_exception`` call it.

    The caller records ``error`` on its span.

    Returns:
        The event id; that of the earlier event if ``error`` was reported before. None if ``error`` is ignored.
    """
    with guarded("reporting an exception"), one_budget():
        if is_looking():
            return None
        trace = trace_of(error)
        if trace is not None and (record := find_record(error, trace)) is not None:
            return record.event_id
        if mechanism != ASKED_FOR and error_rules().should_report(error) is False:
            record_ignored(error)
            return None
        event_id = uuid.uuid4().hex
        if trace is not None:
            record_reported(trace, error, event_id)
        known: Mapping[str, Any] = {}
        with guarded("counting an error"):  # by itself: an import fails if no descriptor is left
            known = arguments.facts(context)
            error_counter.count_error(error, handled=handled)
        with guarded("emitting an exception's log record"):
            emit_log(None, "error", event_id, known, error, _EVENTS.get(mechanism, "exception"))
        failure = Failure(error=error, event_id=event_id, handled=handled, mechanism=mechanism, context=known)
        notify("reporting an exception to a destination", lambda listener: listener.on_exception(failure))
        return event_id
    return None


def status_of(error: BaseException) -> Status:
    """The status of a span that ended with ``error``, in OpenTelemetry's form."""
    return Status(StatusCode.ERROR, f"{type(error).__name__}: {attributes.attribute_value(error)}")


def set_error(span: Span, error: BaseException) -> None:
    """Set the status of ``span``, which ended with ``error``, and ``error.type`` unless it has a better one.

    Contrib's instrumentation of HTTPX sets the class without its module.
    """
    known = (getattr(span, "attributes", None) or {}).get(ERROR_TYPE)
    if known is None or known == type(error).__qualname__:
        span.set_attribute(ERROR_TYPE, attributes.class_name(type(error)))
    span.set_status(status_of(error))


def record_error(span: Span, error: BaseException) -> None:
    """Set the status of ``span``, which ``error`` has left, and add an event unless the latest one is the same."""
    with guarded("recording an exception on a span"), one_clock():
        if span.is_recording():
            record_event(span, error)
            set_error(span, error)


def record_event(span: Span, error: BaseException) -> None:
    """Record ``error`` as an event of ``span``, unless the latest event is of the same type and text.

    Contrib records an exception that passes its middleware, and so does a handler that answers it.
    """
    latest = next(reversed(getattr(span, "events", ())), None)
    known = (latest.attributes or {}) if latest is not None else {}
    if any(known.get(name) != value for name, value in attributes.error_facts(error).items()):
        span.record_exception(error)


def emit_log(
    body: str | None,
    level: str,
    event_id: str,
    context: Mapping[str, Any],
    error: BaseException | None = None,
    event_name: str | None = None,
) -> None:
    """Emit a log record, unless no destination takes logs."""
    if sys.is_finalizing():
        return
    emitter = log_correlation.logger_of(NAME)
    if not emitter.enabled(severity_number=SEVERITIES[level]):
        return  # formatting the traceback is a tenth of what an error costs
    sent = {key: attributes.attribute_value(value) for key, value in context.items()}
    text = encodable(body or "")
    if error is not None:
        sent = {**attributes.error_attributes(error), **sent}
        text = f"{type(error).__name__}: {attributes.attribute_value(error)}"
    sent[EVENT_ID] = event_id
    emitter.emit(
        context=log_correlation.context_of_log(error),
        timestamp=time.time_ns(),
        severity_number=SEVERITIES[level],
        severity_text=SEVERITIES[level].name,
        body=text,
        attributes=sent,
        event_name=event_name,
    )
