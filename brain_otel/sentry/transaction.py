"""A collected local trace as a Sentry transaction event.

Follows https://develop.sentry.dev/sdk/event-payloads/transaction/. The event is plain data; what belongs to the
request (user, tags, breadcrumbs) is added from its scope when it is captured.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from brain_otel import conventions
from brain_otel.privacy import policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.spans import PrivateSpan
from brain_otel.sentry import semantics
from brain_otel.sentry.breadcrumbs import merged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from brain_otel.collection import CollectedTrace
    from brain_otel.privacy import Policy


def create_transaction(collected: CollectedTrace) -> dict[str, Any]:
    """The transaction event of a local trace whose root has ended, as it may leave the process.

    Raises:
        ValueError: the root has not ended, or has no ids.
    """
    if collected.root is None or collected.root.get_span_context() is None:
        raise ValueError("a local trace without an ended root is no transaction")
    root = PrivateSpan(collected.root)
    spans = [PrivateSpan(span) for span in collected.spans]
    name = conventions.transaction_name(root.name, root.attributes or {})
    event: dict[str, Any] = {
        "type": "transaction",
        "transaction": name.text,
        "transaction_info": {"source": name.source},
        "start_timestamp": _seconds(root.start_time),
        "timestamp": _seconds(root.end_time),
        "contexts": {"trace": _trace_context(root), "otel": _resource(root)},
        "spans": [_span(span) for span in spans],
        "tags": policy().value(collected.trace.tags),
    }
    if crumbs := [crumb for span in (root, *spans) for crumb in _breadcrumbs(span)]:
        event["breadcrumbs"] = {"values": merged([], crumbs)}
    if collected.dropped:
        event["_dropped_spans"] = collected.dropped
    return event


def _breadcrumbs(span: ReadableSpan) -> Iterator[dict[str, Any]]:
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


def _trace_context(root: ReadableSpan) -> dict[str, Any]:
    context = {
        **_identity(root),
        "status": semantics.status(root),
        "data": semantics.data(root),
    }
    if found := semantics.links(root):
        context["links"] = found
    return context


def _span(span: ReadableSpan) -> dict[str, Any]:
    result = {
        **_identity(span),
        "description": conventions.description(span),
        "status": semantics.status(span),
        "start_timestamp": _seconds(span.start_time),
        "timestamp": _seconds(span.end_time),
        "data": semantics.data(span),
    }
    if found := semantics.links(span):
        result["links"] = found
    return result


def _identity(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    if context is None:
        raise ValueError(f"the span {span.name!r} has no ids")
    identity = {
        "trace_id": _trace_id(context.trace_id),
        "span_id": f"{context.span_id:016x}",
        "op": conventions.operation(span),
        "origin": semantics.origin(span),
    }
    if span.parent is not None:
        identity["parent_span_id"] = f"{span.parent.span_id:016x}"
    return identity


@lru_cache(maxsize=64)
def _trace_id(number: int) -> str:
    """The same for all spans of a transaction."""
    return f"{number:032x}"


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


def _seconds(nanoseconds: int | None) -> float:
    """OpenTelemetry's nanoseconds as Sentry's seconds, to the microsecond."""
    return round((nanoseconds or 0) / 1e9, 6)
