"""Spans that Sentry's SDKs send by themselves: https://develop.sentry.dev/sdk/telemetry/spans/span-protocol/."""

from brain_otel.viewer.ingest.sentry_events import read_some, sample_rate_of, span_of
from brain_otel.viewer.ingest.sentry_fields import USER_FIELDS, origin_of_attributes, plain_attributes, user_of
from brain_otel.viewer.rows import Batch, Json, Span


def read_spans(payload: Json, header: Json, batch: Batch) -> None:
    """Add spans, of version 2 in ``items``, or one of version 1; a segment stands for a transaction."""
    items = payload.get("items")
    spans = read_some(items if isinstance(items, list) else [payload], _span, batch)
    batch.spans += spans
    if segments := sum(span.root for span in spans):
        batch.accept("transaction", segments)
        batch.represented += segments / sample_rate_of(header)


def _span(item: Json) -> Span:
    attributes = {**plain_attributes(item.get("data")), **plain_attributes(item.get("attributes"))}
    user = user_of({key: attributes.get(f"user.{key}") for key in USER_FIELDS})
    span = {
        **item,
        "op": attributes.get("sentry.op") or item.get("op"),
        "timestamp": item.get("end_timestamp", item.get("timestamp")),
        "description": item.get("name") or item.get("description"),
        "data": attributes,
    }
    return span_of(span, {}, origin_of_attributes(attributes), user, root=int(item.get("is_segment") is True))
