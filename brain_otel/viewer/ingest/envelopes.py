"""Sentry's envelopes become rows: https://develop.sentry.dev/sdk/data-model/envelopes/."""

import json
from collections.abc import Iterator

from brain_otel.viewer.ingest.bodies import MAX_BODY
from brain_otel.viewer.ingest.profiles import read_profile
from brain_otel.viewer.ingest.sentry_events import read_event, read_transaction
from brain_otel.viewer.ingest.sentry_reports import (
    read_client_report,
    read_feedback,
    read_logs,
    read_session,
    read_sessions,
)
from brain_otel.viewer.ingest.sentry_spans import read_spans
from brain_otel.viewer.rows import Batch, Json

MAX_EVENT = 1_000_000
"""Bytes of one event or transaction: Sentry's own bound."""

MAX_PROFILE = 10_000_000
"""Bytes of a profile."""

MAX_ITEMS = 1_000

COUNTED = {
    "profile_chunk": "profile",
    "check_in": "check_in",
    "attachment": "attachment",
    "statsd": "metric",
    "metric_buckets": "metric",
    "trace_metric": "metric",
    "replay_event": "replay",
    "replay_recording": "replay",
}
"""Items that are counted and not kept."""


def read_envelope(body: bytes) -> Batch:
    """The rows of an envelope; a damaged item is counted, and the others are kept.

    Raises:
        ValueError: the first line is no JSON object.
    """
    line, _, rest = body.partition(b"\n")
    header = _object(line)
    batch = Batch()
    for number, (kind, payload) in enumerate(_items(rest, batch)):
        if number == MAX_ITEMS:
            batch.drop("other", "too many items")
            break
        try:
            _read_item(kind, payload, header, batch)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError, OverflowError):
            batch.drop(_category(kind), "damaged")
    return batch


def _category(kind: str) -> str:
    names = {"event": "error", "session": "session", "sessions": "session", "user_report": "feedback", **COUNTED}
    return names.get(
        kind, kind if kind in ("transaction", "log", "client_report", "span", "feedback", "profile") else "other"
    )


def _object(data: bytes) -> Json:
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, not {type(value).__name__}")
    return value


def _items(rest: bytes, batch: Batch) -> Iterator[tuple[str, bytes]]:
    place = 0
    while place < len(rest):
        end = _end_of_line(rest, place)
        line, place = rest[place:end], end + 1
        if not line.strip():
            continue
        try:
            header = _object(line)
        except ValueError:  # where the next item begins cannot be known
            batch.drop("other", "damaged")
            return
        length = header.get("length")
        end = place + length if type(length) is int and length >= 0 else _end_of_line(rest, place)
        if end > len(rest):
            batch.drop(_category(str(header.get("type"))), "damaged")
            return
        yield str(header.get("type")), rest[place:end]
        place = end


def _end_of_line(data: bytes, place: int) -> int:
    end = data.find(b"\n", place)
    return len(data) if end < 0 else end


def _read_item(kind: str, payload: bytes, header: Json, batch: Batch) -> None:
    if kind in COUNTED:
        batch.accept(COUNTED[kind])
        return
    if kind not in _READERS:
        batch.drop("other", "not supported")
        return
    if len(payload) > _LARGER.get(kind, MAX_EVENT):
        batch.drop(_category(kind), "too large")
        return
    _READERS[kind](_object(payload), header, batch)


_LARGER = {"log": MAX_BODY, "span": MAX_BODY, "profile": MAX_PROFILE}

_READERS = {
    "event": read_event,
    "transaction": read_transaction,
    "log": read_logs,
    "session": read_session,
    "sessions": read_sessions,
    "client_report": read_client_report,
    "feedback": read_feedback,
    "user_report": read_feedback,
    "profile": read_profile,
    "span": read_spans,
}
