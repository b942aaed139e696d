"""Turns any value or exception into OpenTelemetry attributes."""

from __future__ import annotations

import traceback
from typing import Any

from opentelemetry.semconv.attributes import exception_attributes

from brain_otel.privacy import policy
from brain_otel.runtime.safe_repr import safe_repr
from brain_otel.runtime.text import encodable

_INT64 = 2**63


def attribute_value(value: Any) -> Any:
    """``value`` as an OpenTelemetry attribute; other types become text, masked and at most 1,000 characters long."""
    try:
        if isinstance(value, str):
            return encodable(value)
        if isinstance(value, (bool, float)) or (isinstance(value, int) and -_INT64 <= value < _INT64):
            return value
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return [encodable(item) for item in value]
        masked = policy().value(value)  # before it becomes text, in which names are hard to find
        to_text = str if isinstance(masked, BaseException) else _safe_text
        return encodable(to_text(masked)[:1000])
    except Exception:  # the application's object may have a broken __str__
        return f"<{type(value).__name__}>"


def _safe_text(value: Any) -> str:
    return value if isinstance(value, str) else safe_repr(value, str)


def error_attributes(error: BaseException) -> dict[str, str]:
    """The attributes of a log record about ``error``.

    ``emit(exception=...)`` of the SDK makes the same ones, but raises if the exception's ``__str__`` does.
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
