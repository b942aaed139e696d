"""Memory does not grow with the number of recorded spans."""

import pytest

from tests.benchmarks.figures import growth
from tests.benchmarks.memory import grow

FLAT = 5 * 2**20


@pytest.mark.thorough
def test_resident_memory_is_flat_once_it_is_warm() -> None:
    """Another 50,000 spans, with a full spool that nobody ships, take at most 5 MiB."""
    points = grow(50_000, warm_up=20_000)
    assert [spans for spans, _ in points][-1] == 50_000
    assert growth(points) <= FLAT


@pytest.mark.thorough
def test_a_leak_is_found() -> None:
    """The memory of a process that keeps its spans grows."""
    assert growth(grow(5_000, warm_up=2_000, env={"LEAK": "yes"})) > FLAT
