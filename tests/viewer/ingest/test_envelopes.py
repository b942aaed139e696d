"""Envelopes become rows; a damaged item is counted, and the others are kept."""

import json
import time
from typing import Any

import pytest

from brain_otel.viewer.ingest.envelopes import MAX_EVENT, MAX_ITEMS, read_envelope
from brain_otel.viewer.rows import Batch, Category
from tests.support.viewer import envelope, error, new_id, span, transaction

NOW = time.time()
GOOD = ("event", error())


def dropped(batch: Batch) -> dict[tuple[str, str], int]:
    return {(key.category, key.reason): count for key, count in batch.counts.items() if key.outcome == "dropped"}


def accepted(batch: Batch) -> dict[str, int]:
    return {key.category: count for key, count in batch.counts.items() if key.outcome == "accepted"}


@pytest.mark.parametrize(
    ("item", "category", "reason"),
    [
        (("event", b"{"), "error", "damaged"),
        (("event", b"[]"), "error", "damaged"),
        (("event", {"timestamp": "yesterday"}), "error", "damaged"),
        (("event", {"timestamp": 1e300}), "error", "damaged"),
        (("event", b"[" * 100_000), "error", "damaged"),
        (("event", {"message": "x" * MAX_EVENT, "timestamp": 1}), "error", "too large"),
        (("transaction", {"contexts": {}}), "transaction", "damaged"),
        (("transaction", transaction(trace="<b>")), "transaction", "damaged"),
        (("sessions", {"aggregates": 3}), "session", "damaged"),
        (("sessions", {"aggregates": [{"started": 1, "exited": -1}]}), "session", "damaged"),
        (("client_report", {"discarded_events": [{"quantity": "many"}]}), "client_report", "damaged"),
        (("log", {"items": [{"timestamp": None}]}), "log", "damaged"),
        (("unheard_of", {}), "other", "not supported"),
    ],
)
def test_a_damaged_item_is_counted_and_the_next_is_kept(item: tuple[str, Any], category: str, reason: str) -> None:
    batch = read_envelope(envelope([item, GOOD]))
    assert dropped(batch) == {(category, reason): 1}
    assert len(batch.errors) == 1


@pytest.mark.parametrize(
    "rest", [b'{"type":"event","length":9999}\n{}', b"not json\n{}", b'{"type":"event","length":-5}\n{"timestamp":1']
)
def test_what_cannot_be_divided_is_counted_once(rest: bytes) -> None:
    """Where the next item begins is not known."""
    batch = read_envelope(envelope([GOOD]) + rest)
    assert len(batch.errors) == 1
    assert sum(dropped(batch).values()) == 1


@pytest.mark.parametrize("body", [b"", b"\n", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_body_without_a_header_is_rejected(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_envelope(body)


def test_items_are_counted_by_category() -> None:
    """Those that are not kept too; a client's report says what it has dropped."""
    report = {"discarded_events": [{"reason": "sample_rate", "category": "transaction", "quantity": 9}]}
    items = [
        GOOD,
        ("attachment", {}),
        ("check_in", {}),
        ("user_report", {"comments": "slow"}),
        ("client_report", report),
    ]
    batch = read_envelope(envelope(items))
    assert accepted(batch) == {"error": 1, "attachment": 1, "check_in": 1, "feedback": 1, "client_report": 1}
    assert batch.counts[Category("transaction", "dropped", "client", "sample_rate")] == 9


def test_the_items_of_an_envelope_are_bounded() -> None:
    batch = read_envelope(envelope([("attachment", {})] * (MAX_ITEMS + 1)))
    assert accepted(batch) == {"attachment": MAX_ITEMS}
    assert dropped(batch) == {("other", "too many items"): 1}


def test_a_damaged_span_leaves_the_others() -> None:
    root = transaction()
    root["spans"] = [span(root, "SELECT 1"), {"span_id": None}, 3, span(root, "SELECT 2")]
    batch = read_envelope(envelope([("transaction", root)]))
    assert [each.name for each in batch.spans] == ["GET /", "SELECT 1", "SELECT 2"]
    assert dropped(batch) == {("span", "damaged"): 2}


def test_spans_that_come_by_themselves_are_read() -> None:
    """As newer SDKs send them, and as older ones did; what is damaged leaves the others."""
    times = {"trace_id": new_id(), "start_timestamp": NOW, "parent_span_id": new_id(16)}
    given = {"sentry.op": "http.server", "sentry.sdk.name": "sentry.javascript.node", "user.id": "ada"}
    typed = {key: {"value": value, "type": "string"} for key, value in given.items()}
    new = {**times, "span_id": new_id(16), "end_timestamp": NOW + 1, "name": "GET /n", "is_segment": True}
    old = {**times, "span_id": new_id(16), "timestamp": NOW + 2, "description": "SELECT 1", "op": "db"}
    items = [{**new, "status": "error", "attributes": typed}, {"span_id": "x"}, 7]
    batch = read_envelope(envelope([("span", {"items": items}), ("span", old)], {"trace": {"sample_rate": "0.5"}}))
    assert [(each.name, each.op, each.duration, each.failed, each.root, each.user) for each in batch.spans] == [
        ("GET /n", "http.server", 1_000_000, 1, 1, "ada"),
        ("SELECT 1", "db", 2_000_000, 0, 0, ""),
    ]
    assert batch.spans[0].service == "node"
    assert accepted(batch) == {"span": 2, "transaction": 1}
    assert dropped(batch) == {("span", "damaged"): 2}
    assert batch.represented == 2


def test_a_transaction_stands_for_what_sampling_left_out() -> None:
    batch = read_envelope(envelope([("transaction", transaction())], {"trace": {"sample_rate": "0.25"}}))
    assert batch.represented == 4


@pytest.mark.parametrize(
    ("payload", "counts"),
    [
        ({"status": "ok"}, None),
        ({"status": "exited"}, (1, 0, 0, 0)),
        ({"status": "exited", "errors": 2}, (0, 1, 0, 0)),
        ({"status": "crashed"}, (0, 0, 1, 0)),
        ({"status": "abnormal"}, (0, 0, 0, 1)),
    ],
)
def test_a_session_counts_when_it_ends(payload: dict[str, Any], counts: tuple[int, ...] | None) -> None:
    batch = read_envelope(envelope([("session", {"started": "2026-01-01T00:00:00Z", **payload})]))
    assert [each[3:] for each in batch.sessions] == ([counts] if counts else [])


@pytest.mark.parametrize(
    "text", ["\ud800", "\x00", "a" * 5_000_000, "<script>"], ids=["surrogate", "null", "long", "markup"]
)
def test_any_text_becomes_a_bounded_one(text: str) -> None:
    event = {**error("E", "v"), "transaction": text, "user": {"id": text}, "release": text, "level": text}
    body = json.dumps(event).encode()
    batch = read_envelope(envelope([("event", body)]))
    for each in batch.errors:
        assert all(len(value.encode()) <= 4_000 for value in each if isinstance(value, str))
    assert len(batch.errors) == (len(body) <= MAX_EVENT)
