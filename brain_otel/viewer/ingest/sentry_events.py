"""Sentry's events and transactions become rows."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from brain_otel.viewer.grouping import exceptions_of, group_of, title_of
from brain_otel.viewer.ingest.conventions import is_failed_status, kind_of
from brain_otel.viewer.ingest.sentry_fields import origin_of, read_id, required_id, trace_context, user_of
from brain_otel.viewer.rows import MAX_DATA, SENTRY, Batch, Error, Span, as_json, clip, microseconds

Json = dict[str, Any]

MAX_SPANS = 5_000


def read_event(event: Json, header: Json, batch: Batch) -> None:
    """Add the rows of an error or message, or of a transaction that older SDKs send as an event."""
    if event.get("type") == "transaction":
        read_transaction(event, header, batch)
        return
    context = trace_context(event)
    trace = read_id(context.get("trace_id"))
    batch.errors.append(
        Error(
            event_id=clip(event.get("event_id") or header.get("event_id") or _digest(event), 64),
            at=microseconds(event.get("timestamp") or header.get("sent_at")),
            trace=trace,
            span=read_id(context.get("span_id")),
            **origin_of(event),
            level=clip(event.get("level") or "error", 20),
            user=user_of(event),
            title=clip(title_of(event)),
            culprit=clip(event.get("transaction") or event.get("culprit") or ""),
            group=group_of(event),
            twin=twin_of(trace, event),
            source=SENTRY,
            body=event,
        )
    )
    batch.accept("error")


def twin_of(trace: str, event: Json) -> str:
    """The key by which Sentry's event and OpenTelemetry's exception are the same failure; empty without a trace."""
    exceptions = exceptions_of(event)
    if not trace or not exceptions:
        return ""
    last = exceptions[-1]
    name = str(last.get("type") or "").rpartition(".")[2]
    return hashlib.blake2b(
        f"{trace}\0{name}\0{last.get('value') or ''}".encode("utf-8", "replace"), digest_size=12
    ).hexdigest()


def read_transaction(event: Json, header: Json, batch: Batch) -> None:
    """Add the spans of a transaction; a damaged one is counted, and the others are kept."""
    context = trace_context(event)
    origin = origin_of(event)
    user = user_of(event)
    root = {
        **context,
        "start_timestamp": event.get("start_timestamp"),
        "timestamp": event.get("timestamp"),
        "description": event.get("transaction"),
    }
    spans = event.get("spans")
    spans = spans if isinstance(spans, list) else []
    parsed = [span_of(root, context, origin, user, root=1, events=_breadcrumbs(event))]
    for each in spans[:MAX_SPANS]:
        try:
            parsed.append(span_of(each, context, origin, user, root=0))
        except (ValueError, TypeError, AttributeError):
            batch.drop("span", "damaged")
    if len(spans) > MAX_SPANS:
        batch.drop("span", "too many", count=len(spans) - MAX_SPANS)
    batch.spans += parsed
    batch.accept("transaction")
    batch.accept("span", len(parsed))
    batch.represented += 1 / sample_rate_of(header)


def sample_rate_of(header: Json) -> float:
    """The rate at which an envelope's trace was sampled; 1 if it does not say."""
    trace = header.get("trace")
    try:
        rate = float(trace.get("sample_rate", 1)) if isinstance(trace, dict) else 1.0
    except (TypeError, ValueError):
        return 1.0
    return rate if 1e-6 < rate <= 1 else 1.0


def span_of(span: Json, context: Json, origin: dict[str, str], user: str, *, root: int, events: str = "[]") -> Span:
    """A row for one span; ``context`` may name its trace.

    Raises:
        ValueError: it has no ids or no times.
    """
    start, end = microseconds(span.get("start_timestamp")), microseconds(span.get("timestamp"))
    data = span.get("data")
    data = {**data} if isinstance(data, dict) else {}
    tags = span.get("tags")
    data.update(tags if isinstance(tags, dict) else {})
    op = clip(span.get("op") or "default", 100)
    status = span.get("status")
    return Span(
        trace=required_id(span.get("trace_id") or context.get("trace_id")),
        span=required_id(span.get("span_id")),
        parent=read_id(span.get("parent_span_id")),
        **origin,
        name=clip(span.get("description") or span.get("name") or op),
        op=op,
        kind=kind_of(op, data),
        start=start,
        duration=max(0, end - start),
        failed=int(is_failed_status(status)),
        root=root,
        user=user,
        source=SENTRY,
        data=as_json({**data, **({"sentry.status": status} if status else {})}),
        events=events,
    )


def _breadcrumbs(event: Json) -> str:
    crumbs = event.get("breadcrumbs")
    values = crumbs.get("values") if isinstance(crumbs, dict) else crumbs
    kept = [
        {
            "name": each.get("message") or each.get("category"),
            "at": _moment(each.get("timestamp")),
            "data": each.get("data"),
        }
        for each in (values if isinstance(values, list) else [])
        if isinstance(each, dict)
    ]
    return as_json(kept[-100:], MAX_DATA)


def _moment(value: Any) -> int | None:
    try:
        return microseconds(value)
    except ValueError:
        return None


def _digest(event: Json) -> str:
    return hashlib.blake2b(json.dumps(event, default=str).encode(), digest_size=16).hexdigest()
