"""Describes a span in words for the terminal, from old and stable semantic conventions alike."""

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from brain_otel.traces import conventions, operations
from brain_otel.traces.repeated import plain_statement

_MAX_TEXT = 2_000


def clean(text: object) -> str:
    """``text`` on one line, of bounded length, without control characters that a terminal would obey."""
    words = " ".join(str(text)[:_MAX_TEXT].split())
    return words if words.isprintable() else "".join(each if each.isprintable() else "�" for each in words)


def operation(span: ReadableSpan) -> str:
    """The operation of ``span``, in Sentry's words."""
    return clean(operations.operation(span))


def description(span: ReadableSpan) -> str:
    """The statement, the method and address, or the name of ``span``."""
    return clean(operations.description(span))


def statement(span: ReadableSpan) -> str | None:
    """The SQL statement of ``span`` without its literals; None for another operation."""
    return plain_statement(operation(span), description(span))


def http_status(span: ReadableSpan) -> int | None:
    """The HTTP status code of ``span``, if it has one."""
    code = conventions.first(span.attributes or {}, "http.response.status_code", "http.status_code")
    return code if isinstance(code, int) else None


def has_failed(span: ReadableSpan) -> bool:
    """Whether the status of ``span`` is error."""
    return span.status.status_code is StatusCode.ERROR


def duration(milliseconds: float) -> str:
    """``milliseconds`` with three significant digits and a unit."""
    if milliseconds >= 1_000:
        return f"{milliseconds / 1_000:.2f} s"
    decimals = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
    return f"{milliseconds:.{decimals}f} ms"
