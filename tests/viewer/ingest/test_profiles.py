"""Profiles become call trees: their times, what is wrong with them, and how large they may be."""

import random
from collections import Counter
from typing import Any

import pytest

from brain_otel.viewer.ingest.envelopes import read_envelope
from brain_otel.viewer.ingest.profiles import MAX_DEPTH, MAX_NODES, MAX_THREADS
from brain_otel.viewer.rows import Batch
from tests.support.viewer import envelope, profile, transaction

GAP = 0.01
ROOT = transaction("GET /a", seconds=2)


def read(item: dict[str, Any]) -> Batch:
    return read_envelope(envelope([("profile", item), ("attachment", {})]))


def paths_of(batch: Batch, thread: int = 0) -> dict[tuple[str, ...], tuple[int, int]]:
    """The microseconds with and without callees of each stack of functions."""
    body = batch.profiles[0].body
    found, path = {}, list[str]()
    for depth, frame, total, own in body["threads"][thread]["nodes"]:
        del path[max(0, depth - 1) :]
        path += [body["frames"][frame][0]] if depth else []
        found[tuple(path)] = (total, own)
    return found


def test_each_call_has_the_time_of_its_samples() -> None:
    """With its callees, and without; computed here from the stacks themselves."""
    chance = random.Random(3)
    stacks = [tuple(chance.choice("abc") for _ in range(chance.randint(1, 6))) for _ in range(500)]
    total: Counter[tuple[str, ...]] = Counter()
    for stack in stacks:
        for length in range(len(stack) + 1):
            total[stack[:length]] += 10_000
    own = Counter(stacks)
    batch = read(profile(ROOT, stacks, gap=GAP))
    assert paths_of(batch) == {path: (time, own[path] * 10_000) for path, time in total.items()}
    (found,) = batch.profiles
    assert (found.trace, found.name) == (ROOT["contexts"]["trace"]["trace_id"], "GET /a")
    assert found.duration == 500 * 10_000
    assert batch.counts.total() == 2


def test_a_sample_lasts_until_the_next_of_its_thread() -> None:
    """Whatever their order; the transaction's thread comes first, and JavaScript's form is read too."""
    item = profile(ROOT, ["a", "b"])
    item["transaction"] = {**item.pop("transactions")[0], "active_thread_id": 2}
    item["profile"]["samples"] = [
        {"elapsed_since_start_ns": at, "stack_id": stack, "thread_id": thread}
        for at, stack, thread in ((7_000, 1, 1), (0, 0, 1), (3_000, 1, 2), (9_000, 0, 1), (10_000, 0, 1))
    ]
    batch = read(item)
    assert [each["id"] for each in batch.profiles[0].body["threads"]] == ["2", "1"]
    assert paths_of(batch, 1) == {(): (11, 0), ("a",): (9, 9), ("b",): (2, 2)}


@pytest.mark.parametrize(
    "change",
    [
        {"samples": []},
        {"samples": None},
        {"samples": [{"elapsed_since_start_ns": -1, "stack_id": 0}]},
        {"samples": [{"elapsed_since_start_ns": "9" * 30, "stack_id": 0}]},
        {"samples": [{"elapsed_since_start_ns": 0, "stack_id": 1}]},
        {"samples": [{"elapsed_since_start_ns": 0, "stack_id": True}]},
        {"samples": [{"elapsed_since_start_ns": 0, "stack_id": -1}]},
        {"stacks": [[7]]},
        {"stacks": [[-1]]},
        {"stacks": ["a"]},
        {"frames": [3]},
        {"frames": None},
        {"thread_metadata": {"1": 7}},
    ],
    ids=str,
)
def test_a_damaged_profile_is_counted(change: dict[str, Any]) -> None:
    """And the item after it is kept."""
    batch = read(profile(ROOT, ["a"], **change))
    assert batch.profiles == []
    assert {(key.category, key.outcome, key.reason) for key in batch.counts} == {
        ("profile", "dropped", "damaged"),
        ("attachment", "accepted", ""),
    }


def test_a_tree_is_bounded() -> None:
    """Its depth, nodes and threads; the times are still those of all samples."""
    deep = profile(ROOT, ["a"], stacks=[[0] * 100_000])
    assert max(depth for depth, *_ in read(deep).profiles[0].body["threads"][0]["nodes"]) == MAX_DEPTH
    chance = random.Random(4)
    functions = [f"f{number}" for number in range(60)]
    wide = read(profile(ROOT, [chance.choices(functions, k=50) for _ in range(400)], gap=GAP)).profiles[0]
    nodes = wide.body["threads"][0]["nodes"]
    assert len(nodes) == MAX_NODES + 1
    assert sum(own for *_, own in nodes) == nodes[0][2] == 400 * 10_000
    many = profile(ROOT, ["a"])
    many["profile"]["samples"] = [
        {"elapsed_since_start_ns": 0, "stack_id": 0, "thread_id": number} for number in range(MAX_THREADS + 5)
    ]
    assert len(read(many).profiles[0].body["threads"]) == MAX_THREADS
    large = profile(ROOT, ["a"], more="x" * 10_000_001)
    assert [key.reason for key in read(large).counts if key.category == "profile"] == ["too large"]
