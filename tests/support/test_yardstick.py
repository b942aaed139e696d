"""Tests of the yardstick: the same work measures the same, eight times the work eight times as much."""

from tests.support.yardstick import milliseconds, yardstick_seconds


def test_work_is_measured_by_work() -> None:
    """The bounds leave room for what else the machine does."""
    one = milliseconds(yardstick_seconds, 0.0)
    eight = milliseconds(lambda: [yardstick_seconds() for _ in range(8)], 0.0)
    assert 0.5 < one < 2.0
    assert 4 * one < eight < 16 * one


def test_measuring_ends_where_it_is_little_enough() -> None:
    calls: list[int] = []
    assert milliseconds(lambda: calls.append(1), 20) < 20
    assert len(calls) == 1
