"""Turns any value or exception into OpenTelemetry attributes."""

import json
import logging
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any

from opentelemetry.semconv.attributes import exception_attributes
from opentelemetry.trace import Span

from brain_otel.events.exception_tree import MAX_EXCEPTIONS, exceptions_in
from brain_otel.events.tracebacks import format_exception
from brain_otel.privacy import policy
from brain_otel.runtime.limited_log import CountLog
from brain_otel.runtime.quiet import clock, one_clock, quiet
from brain_otel.runtime.safe_repr import plain_text, safe_repr
from brain_otel.runtime.text import beginning, encodable

logger = logging.getLogger(__name__)

MAX_ATTRIBUTES = 128
"""Attributes of a span, an event, a link or a log record, and a span's events and links:
https://opentelemetry.io/docs/specs/otel/common/#configurable-parameters."""

_MAX_WITH_FACTS = MAX_ATTRIBUTES - 8
"""Attributes of a span to which facts of the application are added; the rest is for what its instrumentation adds."""

_INT64 = 2**63

_MAX_MESSAGE = 131_072
"""Characters of a message that a traceback is written with."""

_MAX_ARGS = 100
"""Arguments of an exception, or notes, that a traceback is written with."""

_SMALL = (type(None), bool, int, float)


def attribute_value(value: Any) -> Any:
    """``value`` as an OpenTelemetry attribute; other types become text, masked and at most 1,000 characters long.

    A mapping or a list becomes JSON.
    """
    shown = value if type(value) in (str, bool, float) else plain_text(value)
    kind = type(shown)
    if kind is str:
        return encodable(shown)
    if kind in (bool, float) or (kind is int and -_INT64 <= shown < _INT64):
        return shown
    if kind in (list, tuple) and all(type(item) is str for item in shown):
        return [encodable(item) for item in shown]
    if issubclass(type(value), BaseException):
        return encodable(beginning(str(shown), 1_000))
    masked = policy().value(shown)  # masked before it is text, in which names are hard to find
    return encodable((_json(masked) if isinstance(masked, (dict, list, tuple)) else str(masked))[:1000])


def set_facts(span: Span, facts: Mapping[str, Any]) -> None:
    """Set ``facts``, which are attributes, on ``span``. Leave out, and count, those for which it has no room.

    A span that is full drops its oldest attributes, which tell what it is.
    """
    known: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    room = _MAX_WITH_FACTS - len(known)
    if len(facts) > room:
        new = [name for name in facts if name not in known]
        omitted = set(new[max(room, 0) :])
        facts = {name: value for name, value in facts.items() if name not in omitted}
        if omitted:
            _left_out().add("facts", len(omitted))
    span.set_attributes(facts)


@cache
def _left_out() -> CountLog:
    return CountLog(logger, f"A span takes facts up to {_MAX_WITH_FACTS} attributes; left out: %s")


def _json(value: Any) -> str:
    """``value``, which is plain, as JSON, or as ``str()`` writes it if it has keys of other types."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:  # JSON has no infinite number
        return json.dumps(json.loads(json.dumps(value, default=str), parse_constant=str), ensure_ascii=False)
    except TypeError:
        return str(value)


def error_attributes(error: BaseException) -> dict[str, str]:
    """The attributes of a log record about ``error``.

    ``emit(exception=...)`` of the SDK makes the same ones, but raises if the exception's ``__str__`` does.
    """
    with one_clock():
        return {**error_facts(error), exception_attributes.EXCEPTION_STACKTRACE: encodable(_stacktrace(error))}


def error_facts(error: BaseException) -> dict[str, str]:
    """The type and the text of ``error`` as attributes."""
    return {
        exception_attributes.EXCEPTION_TYPE: class_name(type(error)),
        exception_attributes.EXCEPTION_MESSAGE: attribute_value(error),
    }


def _stacktrace(error: BaseException) -> str:
    """The traceback as Python writes it, shorter if a group is very deep, or a text large or slow."""
    errors = [node.error for node in islice(exceptions_in(error), MAX_EXCEPTIONS + 1)]
    if len(errors) <= MAX_EXCEPTIONS and all(map(_is_small, errors)):
        with suppress(Exception), quiet():
            return format_exception(error)
    parts = []
    for each in errors[:MAX_EXCEPTIONS]:
        frames = "".join(traceback.format_tb(each.__traceback__))
        parts.append(
            f"Traceback (most recent call last):\n{frames}{class_name(type(each))}: {safe_repr(each, str)}\n"
        )
    return "\n".join(reversed(parts))


def _is_small(error: BaseException) -> bool:
    """Whether the text of ``error`` is short, or its class writes it within little time."""
    notes = getattr(error, "__notes__", ())
    if type(notes) not in (list, tuple) or len(notes) > _MAX_ARGS or not all(map(_is_short, notes)):
        return False
    if type(error).__str__ not in (BaseException.__str__, KeyError.__str__):
        safe_repr(error, str)  # its class writes it, and it is written again for the traceback
        return clock().left > 0 and (id(error), str) not in clock().slow
    return len(error.args) <= _MAX_ARGS and all(type(arg) in _SMALL or _is_short(arg) for arg in error.args)


def _is_short(text: object) -> bool:
    return type(text) is str and len(text) <= _MAX_MESSAGE


def class_name(kind: type) -> str:
    """The name of a class with its module, unless it is built in."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
