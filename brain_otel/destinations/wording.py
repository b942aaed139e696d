"""A span in words: what the console says of it, from old and stable semantic conventions alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind, StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

_MAX_TEXT = 2_000
_LITERAL = re.compile(r"'[^']*'|\b\d+\b")
_BY_KIND = {
    SpanKind.SERVER: "websocket.server",
    SpanKind.PRODUCER: "queue.publish",
    SpanKind.CONSUMER: "queue.process",
}


def clean(text: object) -> str:
    """``text`` on one line, of bounded length and without what a terminal might obey."""
    words = " ".join(str(text)[:_MAX_TEXT].split())
    return words if words.isprintable() else "".join(each if each.isprintable() else "�" for each in words)


def operation(span: ReadableSpan) -> str:
    """What kind of work ``span`` stands for, in Sentry's words."""
    attributes = span.attributes or {}
    if "sentry.op" in attributes:
        return clean(attributes["sentry.op"])
    if _first(attributes, "http.request.method", "http.method"):
        return "http.client" if span.kind is SpanKind.CLIENT else "http.server"
    system = _first(attributes, "db.system.name", "db.system")
    if system:
        return "db.redis" if system == "redis" else "db"
    if span.kind in _BY_KIND:
        return _BY_KIND[span.kind]
    return "background_task" if span.name.startswith("BackgroundTask ") else "function"


def description(span: ReadableSpan) -> str:
    """The statement, the method and address, or the name of ``span``."""
    attributes = span.attributes or {}
    method = _first(attributes, "http.request.method", "http.method")
    url = _first(attributes, "url.full", "http.url")
    if method and span.kind is SpanKind.CLIENT:
        return clean(f"{method} {_without_query(str(url))}" if url else span.name)
    if method and span.name in (method, "HTTP"):
        return clean(f"{method} {_without_query(str(_first(attributes, 'url.path', 'http.target') or ''))}")
    return clean(_first(attributes, "db.query.text", "db.statement") or span.name)


def statement(span: ReadableSpan) -> str | None:
    """The SQL statement of ``span`` without its literals, or None if it is of another kind."""
    return _LITERAL.sub("?", description(span)) if operation(span) == "db" else None


def http_status(span: ReadableSpan) -> int | None:
    """The HTTP status code of ``span``, if it has one."""
    code = _first(span.attributes or {}, "http.response.status_code", "http.status_code")
    return code if isinstance(code, int) else None


def has_failed(span: ReadableSpan) -> bool:
    """Whether the status of ``span`` is error."""
    return span.status.status_code is StatusCode.ERROR


def duration(milliseconds: float) -> str:
    """``milliseconds`` with three significant digits and a unit."""
    if milliseconds >= 1_000:
        return f"{milliseconds / 1_000:.2f} s"
    return (
        f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.{1 if milliseconds >= 10 else 2}f} ms"
    )


def _first(attributes: Mapping[str, Any], *names: str) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def _without_query(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0]
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path
