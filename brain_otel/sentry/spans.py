"""A span of a transaction as Sentry's protocol has it, remembered where many spans say the same.

A service sends the same few statements, commands and calls again and again. What such a span says, its ids and times
apart, follows from its name, library, kind, status and attributes: to mask it, describe it and write it as JSON takes
many times as long as to look it up. See https://develop.sentry.dev/sdk/event-payloads/span/.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from brain_otel.privacy import policy
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.sentry import span_fields
from brain_otel.traces import conventions
from brain_otel.traces.conventions import raw_attributes

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from brain_otel.privacy import Policy

MAX_REMEMBERED = 512
"""Spans that are remembered; the oldest goes beyond it."""

MAX_SEEN = 4_096
"""Spans of which it is known that they were there once; what never comes again is not remembered."""

MAX_LENGTH = 2_048
"""Characters of all texts of a span that is remembered."""

MICRO = 1_000_000
"""Microseconds in a second."""

encode = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode
"""Plain data as JSON; what holds itself is a RecursionError."""


class SpanFields:
    """What a span says, its ids and times apart, masked. Shared by all that say the same: not to be changed."""

    __slots__ = ("_json", "breadcrumbs", "fields")

    def __init__(self, span: MaskedSpan) -> None:
        self.fields: dict[str, Any] = {
            "op": conventions.operation(span),
            "origin": span_fields.origin(span),
            "description": conventions.description(span),
            "status": span_fields.status(span),
            "data": span_fields.data(span),
        }
        if found := span_fields.links(span):
            self.fields["links"] = found
        self.breadcrumbs = list(breadcrumbs_in(span))
        self._json: str | None = None

    def to_json(self) -> str:
        """Its fields as JSON, without the braces around them.

        Raises:
            TypeError, ValueError, RecursionError: it holds what JSON has no form for.
        """
        if self._json is None:
            self._json = encode(self.fields)[1:-1]
        return self._json


class SpanPayload(NamedTuple):
    """One span of a transaction."""

    said: SpanFields
    trace_id: str
    span_id: str
    parent_span_id: str | None
    started: int
    """Microseconds since 1970."""
    ended: int

    def to_dict(self) -> dict[str, Any]:
        """The span as it stands in an event, the caller's to change."""
        said, trace_id, span_id, parent, started, ended = self
        made = {**said.fields, "data": dict(said.fields["data"]), "trace_id": trace_id, "span_id": span_id}
        if parent is not None:
            made["parent_span_id"] = parent
        return {**made, "start_timestamp": started / MICRO, "timestamp": ended / MICRO}

    def to_json(self) -> str:
        """The same as JSON.

        Raises:
            TypeError, ValueError, RecursionError: it holds what JSON has no form for.
        """
        said, trace_id, span_id, parent, started, ended = self
        below = f'"parent_span_id":"{parent}",' if parent is not None else ""
        return (
            f'{{{said.to_json()},"trace_id":"{trace_id}","span_id":"{span_id}",{below}'
            f'"start_timestamp":{_seconds(started)},"timestamp":{_seconds(ended)}}}'
        )


def _seconds(micro: int) -> str:
    """Microseconds as JSON has so many seconds; what Python makes of a float costs more than all the rest."""
    digits = f"{micro:07d}"
    return f"{digits[:-6]}.{digits[-6:]}"


def create_payload(span: ReadableSpan) -> SpanPayload:
    """The payload of an ended span, as it may leave the process.

    Raises:
        ValueError: the span has no ids.
    """
    said = _cache.fields_of(span)
    return SpanPayload(said, *ids_of(span), microseconds(span.start_time), microseconds(span.end_time))


class _FieldsCache:
    """What spans have said more than once."""

    def __init__(self) -> None:
        self._policy: Policy | None = None
        self._known: dict[Hashable, SpanFields] = {}
        self._seen: set[int] = set()

    def fields_of(self, span: ReadableSpan) -> SpanFields:
        by = policy()
        if by is not self._policy:
            self._policy, self._known, self._seen = by, {}, set()
        known, key = self._known, self._key(span, by)
        if key is None:
            return SpanFields(MaskedSpan(span, by))
        said = known.get(key)
        if said is None:
            said = SpanFields(MaskedSpan(span, by))
            if self._is_worth_it(key):
                known[key] = said
                if len(known) > MAX_REMEMBERED:
                    known.pop(next(iter(known)), None)
        return said

    @staticmethod
    def _key(span: ReadableSpan, by: Policy) -> Hashable | None:
        """All from which follows what ``span`` says; None if there is more than can be compared.

        ``True``, ``1`` and ``1.0`` are equal, and the application's own mask may answer as it likes.
        """
        status = span.status
        attributes = raw_attributes(span)
        if (
            by.mask is not None
            or span._events
            or span._links
            or status.description is not None
            or span.dropped_attributes
            or not _COMPARABLE.issuperset(map(type, attributes.values()))
        ):
            return None
        scope = span.instrumentation_scope
        name = scope.name if scope is not None else None
        facts = (by, span.name, name, span.kind._value_, status.status_code._value_)
        return (*facts, *attributes, *attributes.values())

    def _is_worth_it(self, key: Any) -> bool:
        """Whether it has been there before, and is short."""
        mark = hash(key)
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return False
        return sum(len(each) for each in key if type(each) is str) <= MAX_LENGTH


_COMPARABLE = frozenset({str, int})

_cache = _FieldsCache()


def ids_of(span: ReadableSpan) -> tuple[str, str, str | None]:
    """The ids of the trace, of ``span`` and of its parent, None without one.

    Raises:
        ValueError: the span has no ids.
    """
    context = span.get_span_context()
    if context is None:
        raise ValueError(f"the span {span.name!r} has no ids")
    parent = span.parent
    return _trace_id(context[0]), f"{context[1]:016x}", f"{parent[1]:016x}" if parent is not None else None


@lru_cache(maxsize=64)
def _trace_id(number: int) -> str:
    """The same for all spans of a transaction."""
    return f"{number:032x}"


def breadcrumbs_in(span: ReadableSpan) -> Iterator[dict[str, Any]]:
    """The breadcrumbs that the application added while ``span`` was current."""
    for event in span.events:
        if event.name == conventions.BREADCRUMB_EVENT:
            attributes = dict(event.attributes or {})
            crumb = {
                "timestamp": datetime.fromtimestamp(event.timestamp / 1e9, UTC),
                "message": attributes.pop("breadcrumb.message", ""),
                "category": attributes.pop("breadcrumb.category", "default"),
                "level": attributes.pop("breadcrumb.level", "info"),
            }
            yield {**crumb, "data": attributes} if attributes else crumb


def microseconds(nanoseconds: int | None) -> int:
    """OpenTelemetry's nanoseconds as Sentry's precision: a float of seconds holds no more."""
    return ((nanoseconds or 0) + 500) // 1_000
