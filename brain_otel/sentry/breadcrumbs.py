"""Turns the SQL, Redis and HTTP spans of a local trace into breadcrumbs: the trail that led to an error.

An error event makes them from the collected spans, so a successful request pays nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from brain_otel.privacy.spans import MaskedSpan
from brain_otel.runtime.text import shortened
from brain_otel.sentry import span_fields
from brain_otel.sentry.flat_spans import FlatSpan, restored
from brain_otel.traces import conventions, operations

MAX_BREADCRUMBS = 100
"""The latest breadcrumbs that an event carries; Sentry's default."""

MAX_TEXT = 8_192
"""Characters of a breadcrumb's text; Sentry keeps no more of it."""

_COMMANDS_OF_A_KEY = frozenset({"DECR", "DECRBY", "GET", "INCR", "INCRBY", "PTTL", "SET", "SETEX", "SETNX", "TTL"})
_COMMANDS_OF_KEYS = frozenset({"DEL", "MGET", "TOUCH", "UNLINK"})
"""The commands whose key sentry-sdk puts on a breadcrumb."""


def breadcrumbs_of(spans: Sequence[ReadableSpan | FlatSpan]) -> list[dict[str, Any]]:
    """Breadcrumbs of the latest spans that called something outside of the process."""
    crumbs = (_breadcrumb(MaskedSpan(restored(span))) for span in reversed(spans))
    found = list(islice((crumb for crumb in crumbs if crumb is not None), MAX_BREADCRUMBS))
    return found[::-1]


def bound(crumb: Any) -> None:
    """Cut the long texts of ``crumb``, if it is a breadcrumb."""
    if not isinstance(crumb, dict):
        return
    if type(message := crumb.get("message")) is str:
        crumb["message"] = shortened(message, MAX_TEXT)
    data = crumb.get("data")
    if isinstance(data, dict) and any(type(value) is str and len(value) > MAX_TEXT for value in data.values()):
        crumb["data"] = {
            name: shortened(value, MAX_TEXT) if type(value) is str else value for name, value in data.items()
        }


def merged(values: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both lists in one, ordered by time; the latest ``MAX_BREADCRUMBS``."""
    return sorted([*values, *more], key=_time)[-MAX_BREADCRUMBS:]


def _breadcrumb(span: ReadableSpan) -> dict[str, Any] | None:
    attributes = span.attributes or {}
    crumb: dict[str, Any] = {"timestamp": datetime.fromtimestamp((span.end_time or 0) / 1e9, UTC)}
    system = conventions.db_system(attributes)
    if system == "redis":
        crumb |= {"type": "redis", "category": "redis", "message": shortened(operations.description(span), MAX_TEXT)}
        crumb |= {"data": data} if (data := _command(crumb["message"])) else {}
    elif system is not None:
        crumb |= {"type": "query", "category": "query", "message": shortened(operations.description(span), MAX_TEXT)}
    elif conventions.http_method(attributes) is not None and span.kind is SpanKind.CLIENT:
        data = span_fields.data(span)
        url = operations.description(span).partition(" ")[2]
        crumb |= {"type": "http", "category": "httplib", "data": {"url": url}}
        crumb["data"]["method"] = data.get("http.request.method")
        crumb["data"]["status_code"] = data.get("http.response.status_code")
    else:
        return None
    if not span.status.is_ok and not span.status.is_unset:
        code = span_fields.http_status(span)
        crumb["level"] = "warning" if code is not None and 400 <= code < 500 else "error"
    return crumb


def _command(text: str) -> dict[str, str]:
    """A Redis command and its only key, under sentry-sdk's names; empty for a pipeline."""
    if "\n" in text:
        return {}
    command, *arguments = text.split(" ")
    name = command.upper()
    has_key = (name in _COMMANDS_OF_A_KEY and arguments) or (name in _COMMANDS_OF_KEYS and len(arguments) == 1)
    return {"redis.command": command, "db.operation": command} | ({"redis.key": arguments[0]} if has_key else {})


def _time(crumb: dict[str, Any]) -> datetime:
    value = crumb.get("timestamp")
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return datetime.fromtimestamp(float(value or 0), UTC)
