"""Spans that Sentry's SDKs send by themselves: https://develop.sentry.dev/sdk/telemetry/spans/span-protocol/."""

from __future__ import annotations

from typing import Any

from brain_otel.viewer.ingest.sentry_events import MAX_SPANS, sample_rate_of, span_of
from brain_otel.viewer.ingest.sentry_fields import origin_of_attributes, plain_attributes, user_of
from brain_otel.viewer.rows import Batch, Span

Json = dict[str, Any]

_USER = ("id", "email", "username", "ip_address")


def read_spans(payload: Json, header: Json, batch: Batch) -> None:
    """Add spans, of version 2 in ``items``, or one of version 1; a segment stands for a transaction."""
    items = payload.get("items")
    items = items if isinstance(items, list) else [payload]
    for item in items[:MAX_SPANS]:
        try:
            span = _span(item)
        except (ValueError, TypeError, AttributeError):
            batch.drop("span", "damaged")
            continue
        batch.spans.append(span)
        batch.accept("span")
        if span.root:
            batch.accept("transaction")
            batch.represented += 1 / sample_rate_of(header)
    if len(items) > MAX_SPANS:
        batch.drop("span", "too many", count=len(items) - MAX_SPANS)


def _span(item: Json) -> Span:
    attributes = {**plain_attributes(item.get("data")), **plain_attributes(item.get("attributes"))}
    user = user_of({"user": {key: attributes.get(f"user.{key}") for key in _USER}})
    span = {
        **item,
        "op": attributes.get("sentry.op") or item.get("op"),
        "timestamp": item.get("end_timestamp", item.get("timestamp")),
        "description": item.get("name") or item.get("description"),
        "data": attributes,
    }
    return span_of(span, {}, origin_of_attributes(attributes), user, root=int(item.get("is_segment") is True))
