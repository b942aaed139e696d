"""Events of any size are below what Sentry accepts, and `_meta` says what was cut."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from sentry_relay.processing import StoreNormalizer

from brain_otel.runtime.text import shortened
from brain_otel.sentry.event_size import KEPT_FRAMES, MAX_BYTES, MIN_TEXT, fitted
from tests.support.tiers import quick_first, quick_one_in, thorough

Json = dict[str, Any]

ID = "0123456789abcdef"


def encoded(event: Json) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def fit(event: Json) -> Json:
    """Return the event as it is sent; Relay takes it, with the notes of `_meta`."""
    payload = fitted(encoded(event))
    assert len(payload) < MAX_BYTES
    kept: Json = json.loads(payload)
    normalized = StoreNormalizer(project_id=42, enable_trimming=False).normalize_event(copy.deepcopy(kept))
    assert not normalized.get("errors")
    # Relay moves a message, and keeps tags as a list.
    notes = {".logentry.formatted" if each == ".message" else each for each in notes_of(kept)}
    assert {each for each in notes if not each.startswith(".tags.")} <= notes_of(normalized)
    return kept


def notes_of(event: Json) -> set[str]:
    return noted(event["_meta"])


def noted(meta: Json, path: str = "") -> set[str]:
    found = {path} if meta.get("") else set()
    for key, value in meta.items():
        if key:
            found |= noted(value, f"{path}.{key}")
    return found


def error(**parts: Any) -> Json:
    values = [{"type": "ValueError", "value": "no", "stacktrace": {"frames": [{"function": "f", "lineno": 1}]}}]
    return {"event_id": ID * 2, "level": "error", "platform": "python", "exception": {"values": values}, **parts}


def transaction(spans: list[Json]) -> Json:
    trace = {"trace_id": ID * 2, "span_id": ID, "op": "http.server", "status": "ok"}
    times = {"start_timestamp": 1.0, "timestamp": 2.0}
    return {"event_id": ID * 2, "type": "transaction", **times, "contexts": {"trace": trace}, "spans": spans}


def span(**parts: Any) -> Json:
    ids = {"trace_id": ID * 2, "span_id": ID, "parent_span_id": ID}
    return {**ids, "op": "db", "start_timestamp": 1.0, "timestamp": 2.0, **parts}


def crumbs(texts: list[str]) -> Json:
    return {"values": [{"type": "query", "category": "query", "message": text} for text in texts]}


def test_what_was_shortened_before_is_noted() -> None:
    """By the mask or where an attribute was read, in an event of any size."""
    text = shortened("word " * 1_000, 100) + " and " + shortened("a\n" * 500, 100)
    kept = fit(error(extra={"a": text, "b": "no characters left out ..."}))
    note = kept["_meta"]["extra"]["a"][""]
    assert note["len"] == 5_000 + len(" and ") + 1_000
    assert [text[start:end].strip(" .").split()[1:] for _, _, start, end in note["rem"]] == [
        ["characters", "left", "out"]
    ] * 2
    assert kept["_meta"]["extra"].keys() == {"a"}


def test_a_text_may_be_shortened_twice() -> None:
    kept = fit(error(extra={"a": shortened("word " * 1_000_000, 1_500_000)}))
    assert kept["_meta"]["extra"]["a"][""]["len"] == 5_000_000


def test_an_event_of_ordinary_size_is_sent_as_it_is() -> None:
    """Not even parsed."""
    payload = encoded(error(breadcrumbs=crumbs(["x" * 9_000] * 100)))
    assert fitted(payload) is payload


def test_only_the_longest_texts_are_cut() -> None:
    """To the same length, with the original length in `_meta`."""
    texts = [str(number).zfill(3) + "é" * (5_000 if number % 2 else 500) for number in range(100)]
    kept = fit(error(breadcrumbs=crumbs(texts)))
    found = [each["message"] for each in kept["breadcrumbs"]["values"]]
    assert found[::2] == texts[::2]
    assert all(each.endswith("...") and len(each) < 5_000 for each in found[1::2])
    assert max(map(len, found[1::2])) - min(map(len, found[1::2])) <= 3
    meta = kept["_meta"]["breadcrumbs"]["values"]
    assert {int(position) for position in meta} == set(range(1, 100, 2))
    assert meta["1"]["message"][""]["len"] == 5_003
    (remark,) = meta["1"]["message"][""]["rem"]
    assert remark == ["!limit", "s", found[1].index(" ... "), len(found[1])]


def test_the_oldest_breadcrumbs_go_first() -> None:
    """Where their texts are short, and there are too many."""
    data = {"data": {f"k{number}": "x" * 100 for number in range(200)}}
    values = [{"category": "c", "message": str(number), **data} for number in range(100)]
    kept = fit(error(breadcrumbs={"values": values}))
    found = [each["message"] for each in kept["breadcrumbs"]["values"]]
    assert found == [str(number) for number in range(100 - len(found), 100)]
    assert len(found) > 30
    assert kept["_meta"]["breadcrumbs"]["values"][""] == {"len": 100}


def test_the_data_of_the_oldest_spans_goes_first() -> None:
    """No span is removed, so every child keeps its parent."""
    data = {f"k{number}": "x" * 50 for number in range(20)}
    kept = fit(transaction([span(description=str(number), data=data) for number in range(1_000)]))
    has_data = [each["data"] is not None for each in kept["spans"]]
    assert has_data == sorted(has_data)
    assert 300 < sum(has_data) < 1_000
    assert [each["description"] for each in kept["spans"]] == [str(number) for number in range(1_000)]
    assert kept["_meta"]["spans"]["0"]["data"] == {"": {"rem": [["!limit", "x"]]}}


def frames(count: int) -> list[Json]:
    lines = ["x" * 80] * 5
    values = {"vars": {f"v{number}": "y" * 100 for number in range(10)}}
    return [
        {"function": f"f{number}", "lineno": number, "pre_context": lines, "post_context": lines, **values}
        for number in range(count)
    ]


def test_a_recursion_error_keeps_its_frames() -> None:
    """The outermost lose their variables first."""
    values = [{"type": "RecursionError", "value": "x", "stacktrace": {"frames": frames(1_000)}}]
    found = fit(error(exception={"values": values}))["exception"]["values"][0]["stacktrace"]["frames"]
    assert len(found) == 1_000
    has_values = [each["vars"] is not None for each in found]
    assert has_values == sorted(has_values)
    assert 0 < sum(has_values) < 1_000


def test_a_group_of_recursion_errors_keeps_the_innermost_frames() -> None:
    """Of each exception."""
    one = {"type": "RecursionError", "value": "x", "stacktrace": {"frames": frames(1_000)}}
    values = fit(error(exception={"values": [copy.deepcopy(one) for _ in range(10)]}))["exception"]["values"]
    for each in values:
        found = each["stacktrace"]["frames"]
        assert len(found) >= KEPT_FRAMES
        assert found[-1]["function"] == "f999"


LARGEST: dict[str, Callable[[], Any]] = {
    "message": lambda: "x" * 3_000_000,
    "logentry": lambda: {"formatted": "é" * 1_000_000, "params": ["x" * 100] * 20_000},
    "breadcrumbs": lambda: crumbs(["x" * 100_000] * 100),
    "extra": lambda: {f"key{number}": ["x" * 150] * 100 for number in range(200)},
    "contexts": lambda: {"shop": {f"key{number}": number for number in range(200_000)}},
    "request": lambda: {"url": "http://a/", "data": {f"key{number}": "x" * 150 for number in range(10_000)}},
    "user": lambda: {"id": "1", "data": {f"key{number}": "\U0001f600" * 15 for number in range(10_000)}},
    "tags": lambda: {f"key{number}": "x" * 150 for number in range(10_000)},
    "modules": lambda: {f"package{number}": "1.0" for number in range(60_000)},
    "exception": lambda: {"values": [{"type": "E", "value": "x" * 100_000}] * 50},
    "threads": lambda: {"values": [{"id": number, "stacktrace": {"frames": frames(100)}} for number in range(50)]},
}


@pytest.mark.parametrize("part", quick_one_in(4, LARGEST))
def test_each_part_of_an_error_may_be_at_its_largest(part: str) -> None:
    """The exception and the ids stay."""
    kept = fit(error(**{part: LARGEST[part]()}))
    assert kept["event_id"] == ID * 2
    assert kept["exception"]["values"][0]["type"]


@thorough
def test_every_part_of_an_error_may_be_at_its_largest() -> None:
    kept = fit(error(**{part: make() for part, make in LARGEST.items()}))
    assert len(kept["exception"]["values"]) == 50


@pytest.mark.parametrize("text", quick_first(["\U0001f600", "x", "é", "\x00", '"']))
def test_a_transaction_may_be_at_its_largest(text: str) -> None:
    """A character has up to 12 bytes in JSON."""
    data = {f"key{number}": text * 3_000 for number in range(2)}
    links = [{"trace_id": ID * 2, "span_id": ID, "sampled": True}] * 20
    spans = [span(description=text * 3_000, data=data, links=links) for _ in range(1_000)]
    event = transaction(spans)
    event["contexts"]["trace"]["data"] = {f"key{number}": text * 30_000 for number in range(128)}
    kept = fit(event)
    assert len(kept["spans"]) == 1_000
    assert all(len(json.dumps(each["description"])) <= MIN_TEXT + 60 for each in kept["spans"])
    assert kept["contexts"]["trace"]["trace_id"] == ID * 2
