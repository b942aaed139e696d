"""A collected local trace as a Sentry transaction event.

Follows https://develop.sentry.dev/sdk/event-payloads/transaction/. The event is plain data; what belongs to the
request (user, tags, breadcrumbs) is added from its scope when it is captured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from brain_otel.privacy import policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.sentry import span_fields
from brain_otel.sentry.breadcrumbs import merged
from brain_otel.sentry.spans import MICRO, SpanPayload, breadcrumbs_in, create_payload, ids_of, microseconds
from brain_otel.traces import conventions

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from brain_otel.privacy import Policy
    from brain_otel.traces.collector import CollectedTrace


class Transaction(NamedTuple):
    """A transaction event and its spans, which whoever writes JSON does not need as dicts."""

    event: dict[str, Any]
    spans: list[SpanPayload]

    def to_event(self) -> dict[str, Any]:
        """The whole event as Sentry's protocol has it."""
        return {**self.event, "spans": [span.to_dict() for span in self.spans]}


def create_transaction(collected: CollectedTrace) -> Transaction:
    """The transaction of a local trace whose root has ended, as it may leave the process.

    Raises:
        ValueError: the root has not ended, or has no ids.
    """
    if collected.root is None or collected.root.get_span_context() is None:
        raise ValueError("a local trace without an ended root is no transaction")
    root = MaskedSpan(collected.root)
    spans = [create_payload(span) for span in collected.spans]
    name = conventions.transaction_name(root.name, root.attributes or {})
    event: dict[str, Any] = {
        "type": "transaction",
        "transaction": name.text,
        "transaction_info": {"source": name.source},
        "start_timestamp": microseconds(root.start_time) / MICRO,
        "timestamp": microseconds(root.end_time) / MICRO,
        "contexts": {"trace": _trace_context(root), "otel": _resource(root)},
        "tags": policy().value(collected.trace.tags),
    }
    crumbs = list(breadcrumbs_in(root))
    for span in spans:
        crumbs += span.said.breadcrumbs
    if crumbs:
        event["breadcrumbs"] = {"values": merged([], crumbs)}
    if collected.dropped:
        event["_dropped_spans"] = collected.dropped
    return Transaction(event, spans)


def _trace_context(root: ReadableSpan) -> dict[str, Any]:
    trace_id, span_id, parent_span_id = ids_of(root)
    context: dict[str, Any] = {
        "trace_id": trace_id,
        "span_id": span_id,
        "op": conventions.operation(root),
        "origin": span_fields.origin(root),
        "status": span_fields.status(root),
        "data": span_fields.data(root),
    }
    if parent_span_id is not None:
        context["parent_span_id"] = parent_span_id
    if found := span_fields.links(root):
        context["links"] = found
    return context


def _resource(root: ReadableSpan) -> dict[str, Any]:
    return {"resource": _resources.masked(root.resource)}


class _Resources:
    """The masked resource, the same for all transactions; to hash one would cost more than to mask it."""

    def __init__(self) -> None:
        self._known: tuple[Resource, Policy, dict[str, Any]] | None = None

    def masked(self, resource: Resource) -> dict[str, Any]:
        """The attributes of ``resource`` as they may leave."""
        known, by = self._known, policy()
        if known is None or known[0] is not resource or known[1] is not by:
            known = self._known = (resource, by, masked_attributes(by, resource.attributes))
        return dict(known[2])


_resources = _Resources()
