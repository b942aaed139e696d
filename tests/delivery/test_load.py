"""A test of a service at full load, with each delivery."""

import pytest

from tests.delivery import load


@pytest.mark.parametrize(("delivery", "workers"), [("process", 2), ("thread", 1), ("thread", 2), ("memory", 2)])
@pytest.mark.thorough
def test_nothing_is_lost_without_a_line_and_nothing_arrives_twice(delivery: str, workers: int) -> None:
    """For a few seconds; `python -m tests.delivery.load` runs the whole matrix for a minute each."""
    result = load.run(delivery, workers, 8.0)
    print(result)
    assert result.requests.total() > 200
    assert result.faults() == [], f"{result}\n{result.output}"
