"""Builds the events of transactions.

Follows https://develop.sentry.dev/sdk/event-payloads/transaction/. The event is plain, masked data. User, tags and
contexts of the request are added from its scope when the event is captured.
"""

from functools import lru_cache
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from brain_otel.privacy import Policy, policy
from brain_otel.privacy.attributes import unsent_attributes
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.sentry import span_fields
from brain_otel.sentry.breadcrumbs import merged
from brain_otel.sentry.event_size import MAX_BYTES
from brain_otel.sentry.events import Facts, route_of
from brain_otel.sentry.flat_spans import IDS_AND_TIMES, flat
from brain_otel.sentry.span_cache import SpanCache
from brain_otel.sentry.span_threads import thread_of, threads_of, with_thread
from brain_otel.sentry.spans import (
    MAX_SPAN,
    MICRO,
    MIN_SPAN,
    REPEATED,
    SpanPayload,
    breadcrumbs_in,
    ids_of,
    microseconds,
)
from brain_otel.traces import conventions, operations
from brain_otel.traces.collector import CollectedTrace
from brain_otel.traces.local_trace import MEASUREMENTS, LocalTrace
from brain_otel.traces.repeated import REPEATED as REPEATED_STATEMENTS
from brain_otel.traces.repeated import repeated

_FACTS_OF_SPAN = 4
"""Name, library, kind and status come before the attributes of a flat span without ids and times."""

_FACTS_IN_KEY = 6
"""Number of facts before the root in a key; the first is the length of the flat root."""

_TEXTS = frozenset({str, type(None)})
"""Types of a request's facts in a key: others may be equal although they differ."""


class Transaction(NamedTuple):
    """A local trace whose root has ended, and the payloads of its spans, which the fast path never needs as dicts."""

    collected: CollectedTrace
    root: ReadableSpan
    spans: list[SpanPayload]
    most_repeated: int
    """How often its most frequent statement comes, if that is an ``N+1``; else 0."""

    def to_event(self) -> dict[str, Any]:
        """The complete event in Sentry's protocol."""
        return {**self.create_event(), "spans": [span.to_dict() for span in self.spans]}

    def create_event(self) -> dict[str, Any]:
        """The event without its spans."""
        collected, trace, root = self.collected, self.collected.trace, MaskedSpan(self.root)
        code = span_fields.http_status(root)
        name = conventions.transaction_name(root.name, root.attributes)
        event: dict[str, Any] = {
            "type": "transaction",
            "transaction": name.text,
            "transaction_info": {"source": name.source},
            "start_timestamp": microseconds(root.start_time) / MICRO,
            "timestamp": microseconds(root.end_time) / MICRO,
            "contexts": {
                "trace": _trace_context(root, trace, self.most_repeated),
                "otel": {"resource": dict(root.resource.attributes)},
            },
            "tags": policy().value(trace.tags) if trace.tags else {},
        }
        if code is not None:
            event["contexts"]["response"] = {"status_code": code}
            event["tags"] = {"http.status_code": str(code), **event["tags"]}
        if measured := trace.extras.get(MEASUREMENTS):
            event["measurements"] = {
                policy().text(name): {"value": value, "unit": unit} for name, (value, unit) in measured.items()
            }
        crumbs = list(breadcrumbs_in(root))
        for span in self.spans:
            crumbs += span.fields.breadcrumbs
        if crumbs:
            event["breadcrumbs"] = {"values": merged([], crumbs)}
        if collected.dropped:
            event["_meta"] = {"spans": {"": {"len": len(self.spans) + collected.dropped}}}
        return event

    def key(self, by: Policy) -> tuple[tuple[Any, ...] | None, Facts | None]:
        """Return what decides the event but for resource, ids and times, or None; and the facts of the request.

        The event is masked by the policy ``by``.
        """
        trace, root = self.collected.trace, flat(self.root)
        if (
            not isinstance(root, tuple)
            or self.collected.dropped
            or trace.tags
            or trace.extras.get(MEASUREMENTS)
            or [span for span in self.spans if span.fields.breadcrumbs]
        ):
            return None, None
        thread = thread_of(trace, root[1])
        key: tuple[Any, ...] = (
            *(len(root), trace.is_failed, trace.is_cancelled, self.most_repeated),
            *((thread.number, thread.name) if thread is not None else (None, None)),
            *_sent_parts(root[IDS_AND_TIMES:], by),
        )
        if trace.describe_request is None:
            return key, None
        facts = trace.describe_request(), route_of(trace)
        (method, url, query, headers, client, body), route = facts
        sender = client if by.send_default_pii else None
        texts = (route, method, url, query, sender, *headers, *headers.values())
        return (*key, *texts) if body is None and _TEXTS.issuperset(map(type, texts)) else None, facts


def create_transaction(collected: CollectedTrace, cache: SpanCache) -> Transaction:
    """The transaction of a local trace whose root has ended; ``cache`` creates its spans, masked.

    Raises:
        ValueError: The root has not ended, or has no ids.
    """
    if collected.root is None or collected.root.get_span_context() is None:
        raise ValueError("a local trace without an ended root is no transaction")
    return Transaction(collected, collected.root, *_marked(_spans_of(collected, cache)))


def _spans_of(collected: CollectedTrace, cache: SpanCache) -> list[SpanPayload]:
    """The payloads of the spans. Those that are built after the limit of an event is reached, the oldest, are cut."""
    spans: list[SpanPayload] = []
    left = MAX_BYTES
    threads, create = threads_of(collected.trace), cache.create_payload
    others, usual = (threads.others, threads.root) if threads is not None else ({}, None)
    for span in reversed(collected.spans):
        thread = others.get(span[1] if type(span) is tuple else _span_id(span), usual) if others else usual
        payload = create(span, thread, MAX_SPAN if left > 0 else MIN_SPAN)
        left -= payload.fields.size
        spans.append(payload)
    return spans[::-1]


def _marked(spans: list[SpanPayload]) -> tuple[list[SpanPayload], int]:
    """``spans``, each with how often the trace repeats its statement, and the highest of these numbers."""
    statements = [statement for span in spans if (statement := span.fields.statement) is not None]
    found = repeated(statements) if len(statements) >= REPEATED_STATEMENTS else None
    if not found:
        return spans, 0
    marked = [span._replace(repeated=found.get(span.fields.statement or "", 0)) for span in spans]
    return marked, max(found.values())


def _sent_parts(root: tuple[Any, ...], by: Policy) -> tuple[Any, ...]:
    """``root``, a flat span without ids and times, without the values of attributes that never leave.

    Each connection of a client has another port.
    """
    half = (len(root) + _FACTS_OF_SPAN) // 2
    places = _unsent_places(unsent_attributes(by), root[_FACTS_OF_SPAN:half])
    if not places:
        return root
    parts = list(root)
    for place in places:
        parts[half + place] = None
    return tuple(parts)


@lru_cache(maxsize=256)
def _unsent_places(unsent: frozenset[str], keys: tuple[str, ...]) -> list[int]:
    return [place for place, key in enumerate(keys) if key in unsent]


def parts_of_key(key: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any], str | None]:
    """What is in the :meth:`Transaction.key` of a request: what tells of the root, its attributes, and the route."""
    first = _FACTS_IN_KEY + _FACTS_OF_SPAN
    count = (key[0] - IDS_AND_TIMES - _FACTS_OF_SPAN) // 2
    end = first + 2 * count
    attributes = dict(zip(key[first : first + count], key[first + count : end], strict=True))
    return key[:first], attributes, key[end]


def _span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return context[1] if context is not None else 0


def _trace_context(root: ReadableSpan, trace: LocalTrace, most_repeated: int) -> dict[str, Any]:
    trace_id, span_id, parent_span_id = ids_of(root)
    context: dict[str, Any] = {
        "trace_id": trace_id,
        "span_id": span_id,
        "op": operations.operation(root),
        "origin": span_fields.origin(root),
        "status": span_fields.root_status(root, trace),
        "data": with_thread(span_fields.data(root), thread_of(trace, _span_id(root))),
    }
    if most_repeated:
        context["data"][REPEATED] = most_repeated
    if parent_span_id is not None:
        context["parent_span_id"] = parent_span_id
    if found := span_fields.links(root):
        context["links"] = found
    return context
