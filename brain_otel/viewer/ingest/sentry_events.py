"""Sentry's events and transactions become rows."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from brain_otel.viewer.grouping import exceptions_of, group_of, title_of
from brain_otel.viewer.ingest.conventions import is_failed_status, kind_of
from brain_otel.viewer.ingest.sentry_fields import origin_of, read_id, required_id, trace_context, user_of
from brain_otel.viewer.rows import (
    SENTRY,
    Batch,
    Error,
    Json,
    Span,
    as_json,
    clip,
    microseconds,
    object_at,
    objects_in,
)

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
            user=user_of(object_at(event, "user")),
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
    user = user_of(object_at(event, "user"))
    root = {
        **context,
        "start_timestamp": event.get("start_timestamp"),
        "timestamp": event.get("timestamp"),
        "description": event.get("transaction"),
    }
    spans = event.get("spans")
    batch.spans.append(span_of(root, context, origin, user, root=1, events=_breadcrumbs(event)))
    batch.accept("transaction")
    batch.accept("span")
    batch.represented += 1 / sample_rate_of(header)
    if isinstance(spans, list):
        batch.spans += read_some(spans, lambda each: span_of(each, context, origin, user, root=0), batch)


def read_some(items: list[Any], read_one: Callable[[Any], Span], batch: Batch) -> list[Span]:
    """The first :data:`MAX_SPANS` spans, counted; more are dropped."""
    if len(items) > MAX_SPANS:
        batch.drop("span", "too many", count=len(items) - MAX_SPANS)
    return batch.read("span", items[:MAX_SPANS], read_one)


def sample_rate_of(header: Json) -> float:
    """The rate at which an envelope's trace was sampled; 1 if it does not say."""
    try:
        rate = float(object_at(header, "trace").get("sample_rate", 1))
    except (TypeError, ValueError):
        return 1.0
    return rate if 1e-6 < rate <= 1 else 1.0


def span_of(span: Json, context: Json, origin: dict[str, str], user: str, *, root: int, events: str = "[]") -> Span:
    """A row for one span; ``context`` may name its trace.

    Raises:
        ValueError: it has no ids or no times.
    """
    start, end = microseconds(span.get("start_timestamp")), microseconds(span.get("timestamp"))
    data = {**object_at(span, "data"), **object_at(span, "tags")}
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
    kept = [
        {
            "name": each.get("message") or each.get("category"),
            "at": _moment(each.get("timestamp")),
            "data": each.get("data"),
        }
        for each in objects_in(event.get("breadcrumbs"))[-100:]
    ]
    return as_json(kept)


def _moment(value: Any) -> int | None:
    try:
        return microseconds(value)
    except ValueError:
        return None


def _digest(event: Json) -> str:
    return hashlib.blake2b(json.dumps(event, default=str).encode(), digest_size=16).hexdigest()
