"""The flame graph of a trace's page, its JSON and its Markdown."""

import random

import pytest

from brain_otel.viewer.store.queries.profiles import MAX_SHOWN
from tests.support.viewer import RunningViewer, profile, transaction

STACKS = [("main", "query")] * 6 + [("main", "<b>render</b>")] * 3 + [("main",)]


def test_a_trace_shows_where_its_time_went(viewer: RunningViewer) -> None:
    """Each call as wide as its time, below its caller; a call can be looked at by itself."""
    root = transaction("GET /flame", seconds=0.1)
    viewer.send(("transaction", root), ("profile", profile(root, STACKS)))
    path = f"/traces/{root['contexts']['trace']['trace_id']}"
    flame = viewer.json(path)["flame"]
    assert [(each["function"], each["row"], each["x"], each["width"]) for each in flame["nodes"]] == [
        ("main", 0, 0, 1),
        ("query", 1, 0, pytest.approx(0.6)),
        ("<b>render</b>", 1, pytest.approx(0.6), pytest.approx(0.3)),
    ]
    assert [(each["function"], each["own"]) for each in flame["hottest"]] == [
        ("query", 60_000),
        ("<b>render</b>", 30_000),
        ("main", 10_000),
    ]
    (number,) = [each["number"] for each in flame["nodes"] if each["function"] == "query"]
    alone = viewer.json(path, frame=number)["flame"]
    assert [each["function"] for each in alone["callers"]] == ["main", "query"]
    assert [(each["function"], each["row"], each["width"]) for each in alone["nodes"]] == [("query", 0, 1)]
    page = viewer.get(path).text
    assert "&lt;b&gt;render" in page
    assert "<b>render" not in page
    assert "- query in app/work.py (60 ms)" in viewer.get(f"{path}.md").text
    assert viewer.json(path, frame=999)["flame"]["root"] == 0
    assert viewer.get(path, params={"frame": "x"}).status_code == 400


def test_a_flame_graph_is_bounded(viewer: RunningViewer) -> None:
    """It says how many calls it leaves out; the transactions of a trace have their own."""
    root = transaction("GET /wide", seconds=9)
    chance = random.Random(5)
    functions = [f"f{number}" for number in range(40)]
    wide = profile(root, [chance.choices(functions, k=20) for _ in range(900)])
    small = profile(root, ["a"], thread="7")
    viewer.send(("transaction", root), ("profile", wide), ("profile", small))
    path = f"/traces/{root['contexts']['trace']['trace_id']}"
    found = viewer.json(path)
    assert len(found["flame"]["nodes"]) <= MAX_SHOWN
    assert found["flame"]["omitted"] > 0
    assert len(found["profiles"]) == 2
    other = viewer.json(path, profile=found["profiles"][1]["id"])["flame"]
    assert [each["id"] for each in other["threads"]] == ["7"]
