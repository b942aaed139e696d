"""Errors, messages, users, tags, contexts and breadcrumbs: the helpers an application calls.

Each writes on OpenTelemetry's span (and log) *and* tells every destination that has more to it than spans, so
the same call feeds Sentry, a collector and a terminal. Every helper works before ``setup()``, after
``shutdown()``, outside of a request, in a thread, in a task: it does what it can there, and never raises.
"""

from __future__ import annotations

import sys
import time
import traceback
import uuid
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel_trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.semconv.attributes import exception_attributes
from opentelemetry.trace import Status, StatusCode

from brain_otel import local_trace
from brain_otel.encoding import encodable
from brain_otel.error_rules import ASKED_FOR, error_rules
from brain_otel.guard import guarded
from brain_otel.log_records import context_of_log, logger_of
from brain_otel.privacy import policy
from brain_otel.reporting import Failure, Message, reporters
from brain_otel.written import written_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

_SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "fatal": SeverityNumber.FATAL,
}
_LEVEL_NAMES = {"critical": "fatal", "warn": "warning"}

EVENT_ID = "sentry.event_id"
"""The log record's attribute with the id that ``capture_*`` returns and Sentry shows."""

_INT64 = 2**63


def capture_exception(error: BaseException | Any | None = None, **context: Any) -> str | None:
    """Report a handled exception.

    Args:
        error: The exception; None for the one being handled (``sys.exc_info()``). What is no exception is
            reported as a message.
        **context: Facts that go with it: the context ``extra`` in Sentry, attributes of the log record.

    Returns:
        The event id, the same in Sentry and on the log record; the earlier one if this very exception was
        reported before in this request. None if there is no exception.
    """
    with guarded("capturing an exception"):
        found = error if error is not None else sys.exc_info()[1]
        if isinstance(found, BaseException):
            with guarded("recording an exception on its span"):
                _record_on_span(found)
            return report_exception(found, handled=True, mechanism=ASKED_FOR, context=context)
        if found is not None:
            return capture_message(str(found), level="error", **context)
    return None


def capture_message(message: str, level: str = "info", **context: Any) -> str | None:
    """Report a message.

    Args:
        message: The text.
        level: ``debug``, ``info``, ``warning``, ``error`` or ``fatal``; anything else counts as ``info``.
        **context: Facts that go with it: the context ``extra`` in Sentry, attributes of the log record.

    Returns:
        The event id, the same in Sentry and on the log record.
    """
    event_id = uuid.uuid4().hex
    with guarded("capturing a message"):
        name = _level(level)
        with guarded("writing a message's log record"):
            _emit_log(str(message), name, event_id, context)
        report = Message(text=str(message), event_id=event_id, level=name, context=context)
        for reporter in reporters():
            with guarded("reporting a message"):
                reporter.message(report)
        return event_id
    return None


def add_breadcrumb(
    message: str,
    category: str = "default",
    level: str = "info",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Note a step on the way to a possible error.

    Args:
        message: What happened.
        category: A short dotted name such as ``validation``.
        level: As for :func:`capture_message`.
        data: Facts about the step.
    """
    with guarded("adding a breadcrumb"):
        facts = dict(data or {})
        crumb = {"message": str(message), "category": category, "level": _level(level), "data": facts}
        attributes = {
            "breadcrumb.message": crumb["message"],
            "breadcrumb.category": category,
            "breadcrumb.level": crumb["level"],
            **{key: attribute_value(value) for key, value in facts.items()},
        }
        otel_trace.get_current_span().add_event("breadcrumb", attributes)
        for reporter in reporters():
            with guarded("reporting a breadcrumb"):
                reporter.breadcrumb(crumb)


def set_user_context(
    user_id: str | None = None, email: str | None = None, username: str | None = None, **extra: Any
) -> None:
    """Say on whose behalf the current request runs; without any argument, that nobody is known.

    Sentry: the user of this request's events and transaction. Elsewhere: ``user.id``, ``user.email``,
    ``user.name`` and ``user.<extra>`` on the local root, the current span and every later one of this request.
    """
    with guarded("setting the user"):
        known = {"id": user_id, "email": email, "username": username, **extra}
        user = {key: value for key, value in known.items() if value is not None}
        names = {"username": "name"}
        attributes = {f"user.{names.get(key, key)}": attribute_value(value) for key, value in user.items()}
        trace = local_trace.current()
        if trace is not None:
            kept = {key: value for key, value in trace.attributes.items() if not key.startswith("user.")}
            trace.attributes = {**kept, **attributes}
        _set_on_spans(attributes)
        for reporter in reporters():
            with guarded("reporting the user"):
                reporter.user(user)


def set_tag(key: str, value: Any) -> None:
    """Tag the current request: a tag in Sentry, an attribute on the local root and the current span."""
    with guarded("setting a tag"):
        known = attribute_value(value)
        _set_on_spans({str(key): known})
        for reporter in reporters():
            with guarded("reporting a tag"):
                reporter.tag(str(key), str(known))


def set_context(name: str, data: Mapping[str, Any]) -> None:
    """Attach facts to the current request: a context block in Sentry, ``<name>.<key>`` on the local root."""
    with guarded("setting a context"):
        facts = dict(data)
        root = _local_root()
        if root is not None:
            root.set_attributes({f"{name}.{key}": attribute_value(value) for key, value in facts.items()})
        for reporter in reporters():
            with guarded("reporting a context"):
                reporter.context(str(name), facts)


def report_exception(
    error: BaseException, *, handled: bool, mechanism: str, context: Mapping[str, Any] | None = None
) -> str | None:
    """Report ``error`` to every destination once; the event id, or None if it is ignored. For instrumentations.

    What is recorded on the span is the caller's affair.
    """
    with guarded("reporting an exception"):
        trace = local_trace.current()
        if trace is not None and (known := trace.reported_as(error)) is not None:
            return known
        if mechanism != ASKED_FOR and error_rules().verdict(error) is False:
            if trace is not None:
                trace.remember(error, event_id="")  # a server's or a handler's log line of it is no event either
            return None
        event_id = uuid.uuid4().hex
        facts = context or {}
        with guarded("writing an exception's log record"):
            _emit_log(None, "error", event_id, facts, error)
        failure = Failure(error=error, event_id=event_id, handled=handled, mechanism=mechanism, context=facts)
        for reporter in reporters():
            with guarded("reporting an exception to a destination"):
                reporter.exception(failure)
        if trace is not None and trace.reported_as(error) is None:
            trace.remember(error, event_id)
        return event_id
    return None


def attribute_value(value: Any) -> Any:
    """``value`` as an OpenTelemetry attribute: what is not one already, or cannot be encoded, is written out."""
    try:
        if isinstance(value, str):
            return encodable(value)
        if isinstance(value, (bool, float)) or (isinstance(value, int) and -_INT64 <= value < _INT64):
            return value
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return [encodable(item) for item in value]
        masked = policy().value(value)  # now: nobody can tell the names apart later
        write = str if isinstance(masked, BaseException) else _written
        return encodable(write(masked)[:1000])
    except Exception:  # the application's object may have a broken __str__
        return f"<{type(value).__name__}>"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else written_out(value, str)


def error_attributes(error: BaseException) -> dict[str, str]:
    """``error`` in a log record's attributes.

    The SDK makes the same of ``emit(exception=...)``, but fails where the exception's ``__str__`` does.
    """
    kind = type(error)
    is_builtin = kind.__module__ == "builtins"
    return {
        exception_attributes.EXCEPTION_TYPE: kind.__qualname__
        if is_builtin
        else f"{kind.__module__}.{kind.__qualname__}",
        exception_attributes.EXCEPTION_MESSAGE: attribute_value(error),
        exception_attributes.EXCEPTION_STACKTRACE: encodable("".join(traceback.format_exception(error))),
    }


def _level(level: str) -> str:
    name = str(level).lower()
    name = _LEVEL_NAMES.get(name, name)
    return name if name in _SEVERITIES else "info"


def _record_on_span(error: BaseException) -> None:
    span = otel_trace.get_current_span()
    if span.is_recording():
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {attribute_value(error)}"))


def _local_root() -> Span | None:
    trace = local_trace.current()
    if trace is None:
        return otel_trace.get_current_span()
    return trace.root if trace.root is not None and trace.root.is_recording() else None


def _set_on_spans(attributes: Mapping[str, Any]) -> None:
    span = otel_trace.get_current_span()
    root = _local_root()
    if span.is_recording():
        span.set_attributes(attributes)
    if root is not None and root is not span:
        root.set_attributes(attributes)


def _emit_log(
    body: str | None,
    level: str,
    event_id: str,
    context: Mapping[str, Any],
    error: BaseException | None = None,
) -> None:
    """A log record for the destinations that have logs; without a logger provider this does nothing."""
    if sys.is_finalizing():
        return
    attributes = {key: attribute_value(value) for key, value in context.items()}
    if error is not None:
        attributes = {**error_attributes(error), **attributes}
    attributes[EVENT_ID] = event_id
    logger_of("brain_otel").emit(
        context=context_of_log(error),
        timestamp=time.time_ns(),
        severity_number=_SEVERITIES[level],
        severity_text=_SEVERITIES[level].name,
        body=encodable(body or "") if error is None else f"{type(error).__name__}: {attribute_value(error)}",
        attributes=attributes,
    )
