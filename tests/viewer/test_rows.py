"""Fields of foreign JSON, and items that are counted when they are read."""

from typing import Any

import pytest

from brain_otel.viewer.rows import Batch, Category, object_at, objects_in


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"contexts": {"trace": {"op": "db"}}}, {"op": "db"}),
        ({"contexts": {"trace": ["op"]}}, {}),
        ({"contexts": "trace"}, {}),
        ({}, {}),
        (None, {}),
    ],
)
def test_an_object_is_found_or_empty(value: Any, found: dict[str, Any]) -> None:
    """No part of the path needs to be what it should be."""
    assert object_at(value, "contexts", "trace") == found


@pytest.mark.parametrize("value", [[{"a": 1}, "b", None], {"values": [{"a": 1}, 2]}])
def test_the_objects_of_both_of_sentrys_lists_are_found(value: Any) -> None:
    """What is no object is left out."""
    assert objects_in(value) == [{"a": 1}]
    assert objects_in({"values": "a"}) == objects_in(None) == objects_in("a") == []


def test_a_damaged_item_is_counted_and_the_others_are_kept() -> None:
    """An error that bad data cannot cause is raised."""
    batch = Batch()
    assert batch.read("log", [1, "2", None, "x"], lambda item: item + 1 if item == 1 else int(item)) == [2, 2]
    assert batch.counts == {
        Category("log", "accepted", "", ""): 2,
        Category("log", "dropped", "viewer", "damaged"): 2,
    }
    with pytest.raises(ZeroDivisionError):
        batch.read("log", [0], lambda item: 1 / item)
    assert not Batch().read("log", [], int)
    assert Category("log", "accepted", "", "") not in Batch().counts
