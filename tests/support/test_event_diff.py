"""What the comparison of two SDKs sees, and what it takes out."""

from typing import Any

import pytest

from tests.support.event_diff import ABSENT, Difference, Reports, differences

TRACE, OTHER = "a" * 32, "b" * 32


def transaction(**more: Any) -> tuple[str, dict[str, Any]]:
    made = {"transaction": "/", "timestamp": 2.0, "contexts": {"trace": {"trace_id": TRACE, "span_id": "c" * 16}}}
    return "transaction", {**made, "spans": [], **more}


def span(op: str, start: float, **more: Any) -> dict[str, Any]:
    return {"op": op, "description": op, "start_timestamp": start, "parent_span_id": "c" * 16, **more}


def compared(native: list[Any], ours: list[Any]) -> list[tuple[str, str, str]]:
    return list(differences(Reports(TRACE, native), Reports(TRACE, ours)))


def test_equal_reports_have_no_difference() -> None:
    """Whatever their ids, times, ports and orders are."""
    event = {"message": "at http://a:1234 by 0123456789abcdef", "contexts": {"trace": {"trace_id": TRACE}}}
    other = {"message": "at http://a:4321 by fedcba9876543210", "contexts": {"trace": {"trace_id": TRACE}}}
    native = [transaction(timestamp=1.0), ("event", {**event, "timestamp": "2026-01-01T00:00:00Z", "event_id": "a"})]
    ours = [("event", {**other, "timestamp": 5.0, "event_id": "b"}), transaction(timestamp=7.0)]
    native[1][1]["message"] = ours[0][1]["message"]
    assert compared(native, ours) == []


@pytest.mark.parametrize(
    ("more", "place", "native", "ours"),
    [
        ({"transaction": "GET /"}, "transaction.transaction", "/", "GET /"),
        ({"tags": {"a": "1"}}, "transaction.tags.a", ABSENT, "1"),
        ({"items": [1, {"a": 2}]}, "transaction.items[].a", ABSENT, "2"),
        (
            {"contexts": {"trace": {"trace_id": OTHER, "span_id": "c" * 16}}},
            "transaction.contexts.trace.trace_id",
            "the trace",
            "an id",
        ),
        ({"spans": [span("db", 1.0)]}, "span db", ABSENT, "db: db"),
    ],
)
def test_each_field_that_differs_is_seen(more: Any, place: str, native: str, ours: str) -> None:
    """With its place and both values."""
    assert (place, native, ours) in compared([transaction()], [transaction(**more)])


def test_spans_are_compared_in_pairs_of_one_kind() -> None:
    """By the order of their starts; another kind in between changes nothing."""
    native = [span("db", 1.0), span("db.redis", 2.0), span("db", 3.0, data={"a": "1"})]
    ours = [span("db", 3.0, data={"a": "2", "code.lineno": 7}), span("db", 1.0), span("db.redis", 0.5)]
    assert compared([transaction(spans=native)], [transaction(spans=ours)]) == [("span db.data.a", "1", "2")]


def test_an_event_that_one_side_lacks_is_seen() -> None:
    """Also the second of a kind."""
    event = ("event", {"message": "a", "timestamp": 1.0})
    assert compared([event, event], [event]) == [("message a 2", "sent", ABSENT)]


def test_a_rule_covers_its_pattern_alone() -> None:
    """Brackets are no pattern; a value that is absent is not any value but its own sign."""
    rule = Difference("span*.tags[].*", "*", ABSENT, "")
    assert rule.covers("span db.tags[].a", "1", ABSENT)
    assert not rule.covers("span db.tags.a", "1", ABSENT)
    assert not rule.covers("span db.tags[].a", "1", "2")
