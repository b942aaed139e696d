"""Tests of the check with Relay."""

import time
from typing import Any

import pytest

from tests.support.relay import assert_accepted


def minimal_event(**fields: Any) -> dict[str, Any]:
    return {"event_id": "c" * 32, "timestamp": time.time(), "platform": "python", "level": "error", **fields}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        pytest.param({"event_id": "nope"}, "event_id", id="identifier"),
        pytest.param({"spans": "x"}, "expected an array", id="spans"),
        pytest.param({"tags": {"a!": "x"}}, "invalid character", id="tag"),
        pytest.param({"nonsense": 1}, "invalid_attribute", id="unknown field"),
        pytest.param({"sdk": {"name": "x", "version": "1", "colour": "red"}}, "removed: sdk.colour", id="silent"),
        pytest.param({"type": "transaction"}, "start_timestamp hard-required", id="rejected"),
        pytest.param({"extra": {"long": "x " * 200_000}}, "_meta", id="shortened"),
        pytest.param({"tags": {"a b": "x"}}, "removed: tags.a b", id="renamed tag"),
    ],
)
def test_a_bad_field_is_not_accepted(fields: dict[str, Any], complaint: str) -> None:
    """Relay's complaints, rejections and silent removals all fail the assertion."""
    assert_accepted(minimal_event())
    with pytest.raises(AssertionError, match=complaint):
        assert_accepted(minimal_event(**fields))
