"""The helpers that an application calls: errors, messages, users, tags, contexts and breadcrumbs.

One call feeds Sentry, a collector and a terminal: exceptions, messages and feedback become log records, facts about a
request become attributes or events of its spans, and each destination that takes errors is notified. The helpers may
be called anywhere, also outside of a request, in a thread or a task. Before ``setup()`` and after ``shutdown()`` they
send nothing. They never raise.
"""

import logging
import math
import sys
import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.trace import Span

from brain_otel.events.arguments import facts, name_of_fact, text_of
from brain_otel.events.attributes import attribute_value, set_facts
from brain_otel.events.deduplication import remember_event
from brain_otel.events.error_rules import ASKED_FOR
from brain_otel.events.listeners import Feedback, Message, notify
from brain_otel.events.report import SEVERITIES, emit_log, report_exception
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.limited_log import CountLog
from brain_otel.runtime.quiet import is_looking, one_budget, one_clock
from brain_otel.runtime.safe_repr import safe_repr
from brain_otel.runtime.text import encodable, shortened
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import MEASUREMENTS
from brain_otel.traces.scope import BREADCRUMB_EVENT

logger = logging.getLogger(__name__)

_USER_NAMES = {
    "username": "user.name",
    **{name: f"user.{name}" for name in ("id", "email", "full_name", "hash", "roles")},
}
"""Facts about a user -> the registry's attributes, https://opentelemetry.io/docs/specs/semconv/registry/attributes/user/."""

_USER = "brain_otel.user."
"""Prefix of the other facts."""

FEEDBACK_EVENT = "brain_otel.feedback"
"""The name of the log record's event of a feedback."""

_FEEDBACK_ABOUT = f"{FEEDBACK_EVENT}.event_id"
_MEASUREMENT = "brain_otel.measurement."

MAX_FEEDBACK, MAX_NAME, MAX_UNIT = 4_096, 200, 15
"""Characters of a feedback, of a name or address, and of a unit: Sentry's limits."""

MAX_MEASUREMENTS = 100
"""Measurements of one transaction."""

_HEX = frozenset("0123456789abcdef")

_LEVEL_NAMES = {"critical": "fatal", "warn": "warning"}


def capture_exception(error: BaseException | Any | None = None, **context: Any) -> str | None:
    """Report a handled exception. Its event belongs to the current span, which is not marked as failed.

    Args:
        error: The exception to report. Default: the one being handled (``sys.exc_info()``). Any other object is
            reported as a message.
        **context: Extra data: shown under ``extra`` in Sentry, and as attributes on the log record.

    Returns:
        The event id, the same in Sentry and on the log record. If this exception was reported before in this request,
            the id of that event. None if there is no exception.
    """
    with guarded("capturing an exception"), one_clock():
        if is_looking():
            return None
        found: Any = error if error is not None else sys.exc_info()[1]
        if issubclass(type(found), BaseException):  # `isinstance()` would load a proxy
            with guarded("recording an exception on its span"):
                otel_trace.get_current_span().record_exception(found)  # handled, so the span's status stays
            event_id = report_exception(found, handled=True, mechanism=ASKED_FOR, context=context)
            if event_id is not None:
                remember_event(event_id)
            return event_id
        if found is not None:
            return capture_message(text_of(found), level="error", **context)
    return None


def capture_message(message: str, level: str = "info", **context: Any) -> str | None:
    """Report a message.

    Args:
        message: The text.
        level: ``debug``, ``info``, ``warning``, ``error`` or ``fatal``; anything else counts as ``info``.
        **context: Extra data: shown under ``extra`` in Sentry, and as attributes on the log record.

    Returns:
        The event id, the same in Sentry and on the log record.
    """
    if is_looking():
        return None
    event_id = uuid.uuid4().hex
    with guarded("capturing a message"), one_budget():
        name, text, data = _level(level), text_of(message), facts(context)
        with guarded("emitting a message's log record"):
            emit_log(text, name, event_id, data)
        report = Message(text=text, event_id=event_id, level=name, context=data)
        notify("reporting a message", lambda listener: listener.on_message(report))
        remember_event(event_id)
        return event_id
    return None


def capture_feedback(
    message: str, event_id: str | None = None, name: str | None = None, email: str | None = None
) -> str | None:
    """Send a user's feedback, about an event or in general.

    Args:
        message: The user's words, at most 4,096 characters.
        event_id: The id of the event, as ``capture_exception`` or ``capture_message`` returned it; default: no event.
        name: The user's name, for an answer.
        email: The user's e-mail address, for an answer.

    Returns:
        The feedback's id, the same in Sentry and on the log record. None if the message is empty.
    """
    with guarded("capturing feedback"), one_budget():
        text = "" if message is None else shortened(safe_repr(message, str), MAX_FEEDBACK).strip()
        if is_looking() or not text:
            return None
        about = event_id.replace("-", "").lower() if isinstance(event_id, str) else ""
        feedback = Feedback(
            text=text,
            event_id=uuid.uuid4().hex,
            about=about if len(about) == 32 and _HEX.issuperset(about) else None,
            name=_short(name),
            email=_short(email),
        )
        given = {"user.full_name": feedback.name, "user.email": feedback.email, _FEEDBACK_ABOUT: feedback.about}
        facts = {key: value for key, value in given.items() if value is not None}
        with guarded("emitting a feedback's log record"):
            emit_log(text, "info", feedback.event_id, facts, event_name=FEEDBACK_EVENT)
        notify("reporting feedback", lambda listener: listener.on_feedback(feedback))
        return feedback.event_id
    return None


def measurement(name: str, value: float, unit: str = "") -> None:
    """Record a number for the current transaction: a measurement in Sentry, an attribute of the local root elsewhere.

    Args:
        name: Its name, such as ``rows_read``; a second value under the same name replaces the first.
        value: A finite number; anything else is not recorded, and a log line says so.
        unit: A `unit <https://develop.sentry.dev/sdk/telemetry/metrics/#units>`_ such as ``millisecond`` or ``byte``.
    """
    with guarded("setting a measurement"), one_budget():
        key = safe_repr(name, str)[:MAX_NAME]
        known_unit = "" if unit is None else safe_repr(unit, str)[:MAX_UNIT]
        number = _number(value)
        if number is None:
            _rejected_measurements().add(key)
            return
        trace = local_trace.current()
        if trace is not None:
            found = trace.extras.get(MEASUREMENTS, {})
            if key not in found and len(found) >= MAX_MEASUREMENTS:
                _rejected_measurements().add(f"more than {MAX_MEASUREMENTS} of a transaction")
                return
            trace.extras[MEASUREMENTS] = {**found, key: (number, known_unit or "none")}
        root = _local_root()
        if root is not None:
            given = {f"{_MEASUREMENT}{key}": number, f"{_MEASUREMENT}{key}.unit": known_unit}
            set_facts(root, {name: value for name, value in given.items() if value != ""})


@cache
def _rejected_measurements() -> CountLog:
    return CountLog(logger, "Measurements that are no finite numbers, or too many, are not recorded: %s")


def _number(value: Any) -> float | None:
    """``value`` as a finite number, else None."""
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _short(text: Any) -> str | None:
    return None if text is None else shortened(safe_repr(text, str), MAX_NAME)


def add_breadcrumb(
    message: str, category: str = "default", level: str = "info", data: Mapping[str, Any] | None = None
) -> None:
    """Record a step that may lead to an error.

    Args:
        message: What happened.
        category: A short dotted name such as ``validation``.
        level: As for :func:`capture_message`.
        data: Facts about the step.
    """
    if is_looking():
        return
    with guarded("adding a breadcrumb"), one_budget():
        known = facts(data)
        crumb: dict[str, Any] = {
            "message": text_of(message),
            "category": text_of(category),
            "level": _level(level),
            "data": known,
        }
        attributes = {
            **{f"{BREADCRUMB_EVENT}.{key}": encodable(crumb[key]) for key in ("message", "category", "level")},
            **{key: attribute_value(value) for key, value in known.items()},
        }
        otel_trace.get_current_span().add_event(BREADCRUMB_EVENT, attributes)
        notify("reporting a breadcrumb", lambda listener: listener.on_breadcrumb(crumb))


def set_user_context(
    user_id: str | None = None, email: str | None = None, username: str | None = None, **extra: Any
) -> None:
    """Set the user of the current request; without arguments, remove it.

    In Sentry it is the user of this request's events and transaction. Elsewhere ``user.id``, ``user.email``,
    ``user.name`` and ``brain_otel.user.<extra>`` are set on the request's root span, the current span and every later
    span of this request.

    Args:
        user_id: The id in your application.
        email: The e-mail address.
        username: The login name.
        **extra: Other facts about the user.
    """
    with guarded("setting the user"), one_budget():
        known = {"id": user_id, "email": email, "username": username, **facts(extra)}
        user = {key: value for key, value in known.items() if value is not None}
        attributes = {_USER_NAMES.get(key, f"{_USER}{key}"): attribute_value(value) for key, value in user.items()}
        trace = local_trace.current()
        if trace is not None:
            kept = {key: value for key, value in trace.attributes.items() if not key.startswith(("user.", _USER))}
            trace.attributes = {**kept, **attributes}
        _set_on_spans(attributes)
        notify("reporting the user", lambda listener: listener.on_user(user))


def set_tag(key: str, value: Any) -> None:
    """Tag the current request: a tag in Sentry, an attribute on the local root and the current span."""
    with guarded("setting a tag"), one_budget():
        name, known = name_of_fact(key), attribute_value(value)
        _set_on_spans({name: known})
        notify("reporting a tag", lambda listener: listener.on_tag(name, str(known)))


def set_context(name: str, data: Mapping[str, Any]) -> None:
    """Attach facts to the current request: a context block in Sentry, ``<name>.<key>`` on the local root."""
    with guarded("setting a context"), one_budget():
        block, known = name_of_fact(name), facts(data)
        root = _local_root()
        if root is not None:
            set_facts(root, {f"{block}.{key}": attribute_value(value) for key, value in known.items()})
        notify("reporting a context", lambda listener: listener.on_context(block, known))


def _level(level: str) -> str:
    name = name_of_fact(level).lower()
    name = _LEVEL_NAMES.get(name, name)
    return name if name in SEVERITIES else "info"


def _local_root() -> Span | None:
    trace = local_trace.current()
    if trace is None:
        return otel_trace.get_current_span()
    return trace.root if trace.root is not None and trace.root.is_recording() else None


def _set_on_spans(attributes: Mapping[str, Any]) -> None:
    span = otel_trace.get_current_span()
    root = _local_root()
    if span.is_recording():
        set_facts(span, attributes)
    if root is not None and root is not span:
        set_facts(root, attributes)
