"""A transaction's spans in Sentry's protocol: https://develop.sentry.dev/sdk/event-payloads/span/.

A service sends the same few statements, commands and calls again and again. Except for ids and times, the payload of
such a span follows from its name, library, kind, status and attributes, and :mod:`brain_otel.sentry.span_cache` keeps
it.
"""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from brain_otel.privacy.spans import MaskedSpan
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.sentry import span_fields
from brain_otel.sentry.event_size import encode, shorten_texts
from brain_otel.sentry.span_threads import THREAD_NAMES, Thread, with_thread
from brain_otel.traces import operations
from brain_otel.traces.repeated import plain_statement
from brain_otel.traces.scope import BREADCRUMB_EVENT

REPEATED = "brain_otel.db.repeated"
"""Data of a span, and of the root: how often the trace has the statement, and the most frequent one."""

MICRO = 1_000_000
"""Microseconds in a second."""

MAX_SPAN = 100_000
"""Bytes of the JSON of a span; the longest texts of a larger one are shortened."""

MIN_SPAN = 1_000
"""The same where the later spans of a transaction need the room."""


class SpanFields:
    """A span's masked payload without its ids and times. Equal spans share one, so do not change it."""

    __slots__ = ("breadcrumbs", "came_again", "comma", "data", "json", "names_thread", "size", "statement", "values")

    def __init__(self, span: MaskedSpan) -> None:
        self.values: dict[str, Any] = {
            "op": operations.operation(span),
            "origin": span_fields.origin(span),
            "description": operations.description(span),
            "status": span_fields.status(span),
        }
        if found := span_fields.links(span):
            self.values["links"] = found
        self.data = span_fields.data(span)
        self.breadcrumbs = list(breadcrumbs_in(span))
        self.statement = plain_statement(self.values["op"], self.values["description"])
        """The statement to count; None for a span of anything else."""
        self.names_thread = not THREAD_NAMES.isdisjoint(self.data)
        self.comma = "," if self.data else ""
        """Separates the JSON from a further member of the data."""
        self.came_again = True
        self._encode()

    def _encode(self) -> None:
        """Make the JSON: the values and then the data, without the opening brace and the closing ones.

        It is None if JSON cannot express a value.
        """
        try:
            self.json: str | None = encode({**self.values, "data": self.data})[1:-2]
        except (TypeError, ValueError, RecursionError):  # sentry-sdk's serializer takes any value
            self.json = None
        self.size = len(self.json or "")

    def shortened(self, limit: int) -> "SpanFields":
        """A copy whose longest texts are cut, so that its JSON is not much longer than ``limit``."""
        made = copy.copy(self)
        made.values, made.data = copy.deepcopy((self.values, self.data))
        shorten_texts({"values": made.values, "data": made.data}, self.size - limit)
        made._encode()
        return made

    def varied(self, values: dict[str, Any], data: dict[str, Any], json: str) -> "SpanFields":
        """A copy with other ``values`` and ``data``, whose JSON is ``json``, and with the same names in both."""
        made = SpanFields.__new__(SpanFields)
        made.values, made.data, made.json, made.size, made.came_again = values, data, json, len(json), True
        made.breadcrumbs, made.comma, made.names_thread = self.breadcrumbs, self.comma, self.names_thread
        made.statement = plain_statement(values["op"], values["description"])
        return made


_SPAN = '{%s%s},"trace_id":"%s","span_id":"%s",%s"start_timestamp":%d.%06d,"timestamp":%d.%06d}'


class SpanPayload(NamedTuple):
    """One span of a transaction."""

    fields: SpanFields
    trace_id: str
    span_id: str
    parent_span_id: str | None
    started: int
    """Microseconds since 1970."""
    ended: int
    thread: Thread | None = None
    repeated: int = 0
    """How often the trace has the span's statement, if it is an ``N+1``; else 0."""

    def to_dict(self) -> dict[str, Any]:
        """The span as a part of an event; the caller may change it."""
        fields, trace_id, span_id, parent, started, ended, thread, repeated = self
        data = with_thread(fields.data, thread) | ({REPEATED: repeated} if repeated else {})
        made = {**fields.values, "data": data, "trace_id": trace_id, "span_id": span_id}
        if parent is not None:
            made["parent_span_id"] = parent
        return {**made, "start_timestamp": started / MICRO, "timestamp": ended / MICRO}

    def to_json(self) -> str:
        """The same as JSON.

        Raises:
            ValueError: JSON cannot express a value.
        """
        fields, trace_id, span_id, parent, started, ended, thread, repeated = self
        if fields.json is None:
            raise ValueError("a value of a span that JSON cannot express")
        comma, members = fields.comma, ""
        if thread is not None and not fields.names_thread:
            members, comma = comma + (thread.json or thread.to_json()), ","
        if repeated:
            members += f'{comma}"{REPEATED}":{repeated}'
        parent_member = f'"parent_span_id":"{parent}",' if parent is not None else ""
        times = (*divmod(started, MICRO), *divmod(ended, MICRO))
        return _SPAN % (fields.json, members, trace_id, span_id, parent_member, *times)


def ids_of(span: ReadableSpan) -> tuple[str, str, str | None]:
    """The ids of the trace, of ``span`` and of its parent, None without one.

    Raises:
        ValueError: the span has no ids.
    """
    context = span.get_span_context()
    if context is None:
        raise ValueError(f"the span {span.name!r} has no ids")
    parent = span.parent
    return hexadecimal_trace_id(context[0]), f"{context[1]:016x}", f"{parent[1]:016x}" if parent is not None else None


@lru_cache(maxsize=64)
def hexadecimal_trace_id(number: int) -> str:
    """The trace id in hexadecimal; all spans of a transaction have the same."""
    return f"{number:032x}"


def breadcrumbs_in(span: ReadableSpan) -> Iterator[dict[str, Any]]:
    """The breadcrumbs that the application added while ``span`` was current."""
    for event in span.events:
        if event.name == BREADCRUMB_EVENT:
            attributes = dict(event.attributes or {})
            crumb = {
                "timestamp": datetime.fromtimestamp(event.timestamp / 1e9, UTC),
                "message": attributes.pop(f"{BREADCRUMB_EVENT}.message", ""),
                "category": attributes.pop(f"{BREADCRUMB_EVENT}.category", "default"),
                "level": attributes.pop(f"{BREADCRUMB_EVENT}.level", "info"),
            }
            yield {**crumb, "data": attributes} if attributes else crumb


def microseconds(nanoseconds: int | None) -> int:
    """OpenTelemetry's nanoseconds in Sentry's precision: a float of seconds holds no more."""
    return ((nanoseconds or 0) + 500) // 1_000


def seconds(micro: int) -> str:
    """Microseconds as the JSON of seconds; to format a float would cost more than the rest of a span."""
    return "%d.%06d" % divmod(micro, MICRO)  # noqa: UP031 - a quarter faster
