"""Sentry's log lines, sessions and client reports become rows."""

import time
from typing import Any

from brain_otel.viewer.ingest.conventions import severity_of
from brain_otel.viewer.ingest.sentry_fields import (
    origin_of,
    origin_of_attributes,
    plain_attributes,
    read_id,
    trace_context,
)
from brain_otel.viewer.rows import FEEDBACK_EVENT, Batch, Json, Log, Sessions, as_json, clip, microseconds

_ENDS = ("exited", "errored", "crashed", "abnormal")
"""How a session may end, in the order of the fields of :class:`~brain_otel.viewer.rows.Sessions`."""


def read_logs(payload: Json, _: Json, batch: Batch) -> None:
    """Add log lines."""
    items = payload.get("items")
    batch.logs += batch.read("log", items if isinstance(items, list) else [payload], _log)


def _log(item: Json) -> Log:
    data = plain_attributes(item.get("attributes"))
    level = clip(item.get("level") or "info", 20)
    return Log(
        at=microseconds(item.get("timestamp")),
        trace=read_id(item.get("trace_id")),
        span=read_id(item.get("span_id") or data.get("sentry.trace.parent_span_id")),
        **origin_of_attributes(data),
        level=level,
        severity=severity_of(level, item.get("severity_number")),
        message=clip(item.get("body"), 8_192),
        data=as_json(data),
    )


def read_feedback(payload: Json, header: Json, batch: Batch) -> None:
    """Add what a user says as a log line: https://develop.sentry.dev/sdk/telemetry/feedbacks/.

    An older item, a user's report, names the event that it is about and has no id of its own.
    """
    contexts = payload.get("contexts")
    said = payload if contexts is None else contexts["feedback"]
    message = clip(said.get("message") or said.get("comments"), 8_192)
    if not message:
        raise ValueError("no words")
    about = said.get("associated_event_id") if contexts else said.get("event_id")
    given = {"user.full_name": said.get("name"), "user.email": said.get("contact_email") or said.get("email")}
    given[f"{FEEDBACK_EVENT}.event_id"] = about
    name = read_id(payload.get("event_id") or header.get("event_id")) if contexts else ""
    trace = trace_context(payload)
    batch.logs.append(
        Log(
            at=microseconds(payload.get("timestamp") or header.get("sent_at") or time.time()),
            trace=read_id(trace.get("trace_id")),
            span=read_id(trace.get("span_id")),
            **origin_of(payload),
            level="info",
            severity=severity_of("info"),
            message=message,
            data=as_json({FEEDBACK_EVENT: name, **{key: each for key, each in given.items() if each}}),
        )
    )
    batch.accept("feedback")


def read_sessions(payload: Json, _: Json, batch: Batch) -> None:
    """Sums of requests: https://develop.sentry.dev/sdk/telemetry/sessions/#session-aggregates-payload."""
    for each in payload["aggregates"]:
        counts = [_count(each.get(name, 0)) for name in _ENDS]
        _add_sessions(payload, microseconds(each.get("started")), counts, batch)


def read_session(payload: Json, _: Json, batch: Batch) -> None:
    """One session. Only its last update counts; one that goes on is not yet known."""
    status = payload.get("status")
    if status not in _ENDS:
        return
    if status == "exited" and payload.get("errors"):
        status = "errored"
    at = microseconds(payload.get("started") or payload.get("timestamp"))
    _add_sessions(payload, at, [int(status == name) for name in _ENDS], batch)


def _add_sessions(payload: Json, at: int, counts: list[int], batch: Batch) -> None:
    attributes = payload.get("attrs") or {}
    names = clip(attributes.get("release"), 200), clip(attributes.get("environment"), 200)
    batch.sessions.append(Sessions(at, *names, *counts))
    batch.accept("session", sum(counts))


def read_client_report(payload: Json, _: Json, batch: Batch) -> None:
    """Count what the SDK says it has discarded."""
    for each in payload.get("discarded_events") or []:
        category = clip(each.get("category") or "other", 40)
        batch.drop(category, clip(each.get("reason"), 100), "client", _count(each.get("quantity")))
    batch.accept("client_report")


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1e12:
        raise ValueError(f"{value!r:.100} is not a count")
    return value
