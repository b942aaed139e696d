"""A transaction's spans in Sentry's protocol; equal spans are masked, described and encoded once.

A service sends the same few statements, commands and calls again and again. Except for ids and times, the payload of
such a span follows from its name, library, kind, status and attributes, and a cache lookup is many times cheaper than
building it. See https://develop.sentry.dev/sdk/event-payloads/span/.
"""

import copy
from collections.abc import Hashable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from opentelemetry.sdk.trace import ReadableSpan

from brain_otel.privacy import Policy, policy
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.sentry import span_fields
from brain_otel.sentry.event_size import encode, shorten_texts
from brain_otel.sentry.flat_spans import IDS_AND_TIMES, FlatSpan, flat, restored
from brain_otel.sentry.span_threads import THREAD_NAMES, Thread, with_thread
from brain_otel.traces import operations
from brain_otel.traces.repeated import plain_statement
from brain_otel.traces.scope import BREADCRUMB_EVENT

REPEATED = "brain_otel.db.repeated"
"""Data of a span, and of the root: how often the trace has the statement, and the most frequent one."""

MAX_CACHED = 512
"""Cached entries; beyond it a new one takes the place of one that has not come again."""

MAX_SEEN = 4_096
"""Hashes of keys seen once; what is made of a key is cached when it is seen a second time."""

MAX_LENGTH = 2_048
"""Characters of all texts of a key."""

MICRO = 1_000_000
"""Microseconds in a second."""

MAX_SPAN = 100_000
"""Bytes of the JSON of a span; the longest texts of a larger one are shortened."""

MIN_SPAN = 1_000
"""The same where the later spans of a transaction need the room."""


class _Kept(Protocol):
    came_again: bool
    """Whether it has been found since there was last a look for room. A new entry gets one turn."""


Kept = TypeVar("Kept", bound=_Kept)


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
        return (
            f'{{{fields.json}{members}}},"trace_id":"{trace_id}","span_id":"{span_id}",{parent_member}'
            f'"start_timestamp":{seconds(started)},"timestamp":{seconds(ended)}}}'
        )


class Repeats(Generic[Kept]):
    """Keeps what was made of keys that came again, as masked by one policy: a fast path."""

    def __init__(self, by: Policy) -> None:
        self.by = by
        self.is_used = fast_paths_enabled() and by.mask is None  # the application's mask may vary in its answers
        self._known: dict[Hashable, Kept] = {}
        self._seen: set[int] = set()

    def find(self, key: Hashable) -> Kept | None:
        """What was made of ``key`` before; None if it is not kept."""
        found = self._known.get(key)
        if found is not None:
            found.came_again = True
        return found

    def keep(self, key: tuple[Any, ...], made: Kept) -> None:
        """Keep what was made of ``key`` if it comes a second time, is short and there is room."""
        if self._should_keep(key) and (len(self._known) < MAX_CACHED or self._make_room()):
            self._known[key] = made

    def _make_room(self) -> bool:
        """Evict one of the two oldest entries, unless both were used since the last look.

        If the oldest always went, a service with more distinct spans than there is room for would find none again.
        """
        for key in list(islice(self._known, 2)):
            found = self._known.pop(key, None)  # a flush may run on another thread
            if found is None or not found.came_again:
                return True
            found.came_again = False
            self._known[key] = found
        return False

    def _should_keep(self, key: tuple[Any, ...]) -> bool:
        mark = hash(key)
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return False
        return sum(len(each) for each in key if type(each) is str) <= MAX_LENGTH


class SpanCache:
    """Makes span payloads, and keeps the fields of those that come again.

    With fast paths off, every span is masked and described anew.
    """

    def __init__(self) -> None:
        self._known: Repeats[SpanFields] = Repeats(policy())

    def create_payload(
        self, span: ReadableSpan | FlatSpan, thread: Thread | None = None, limit: int = MAX_SPAN
    ) -> SpanPayload:
        """The payload of an ended span, masked, and shortened to ``limit`` bytes.

        Raises:
            ValueError: the span has no ids.
        """
        fields = self._fields_of(span)
        if fields.size > limit:
            fields = fields.shortened(limit)
        if not isinstance(span, tuple):
            times = microseconds(span.start_time), microseconds(span.end_time)
            return SpanPayload(fields, *ids_of(span), *times, thread)
        trace_id, span_id, parent_id, started, ended = span[:IDS_AND_TIMES]
        parent = None if parent_id is None else f"{parent_id:016x}"
        times = ((started or 0) + 500) // 1_000, ((ended or 0) + 500) // 1_000
        return SpanPayload(fields, _trace_id(trace_id), f"{span_id:016x}", parent, *times, thread)

    def _fields_of(self, span: ReadableSpan | FlatSpan) -> SpanFields:
        by, known = policy(), self._known
        if known.by is not by:
            known = self._known = Repeats(by)
        kept = span if isinstance(span, tuple) or not known.is_used else flat(span)
        if not known.is_used or not isinstance(kept, tuple):
            return SpanFields(MaskedSpan(restored(span), by))
        key = kept[IDS_AND_TIMES:]
        fields = known.find(key)
        if fields is None:
            fields = SpanFields(MaskedSpan(restored(span), by))
            known.keep(key, fields)
        return fields


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
