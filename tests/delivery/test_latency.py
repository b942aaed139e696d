"""A test of a service while the server or the disk fails."""

import pytest

from tests.delivery import latency


@pytest.mark.parametrize(
    ("delivery", "faults"),
    [("memory", ("healthy", "hangs")), ("thread", ("healthy", "disk full"))],
)
@pytest.mark.thorough
def test_requests_are_answered_whatever_fails(delivery: str, faults: tuple[str, ...]) -> None:
    """Nothing raises, and the times are printed. `python -m tests.delivery.latency` measures for longer."""
    cases = latency.measure((delivery,), faults, rounds=1, count=40, rate=100.0)
    print(latency.table(cases))
    assert [each.wrong for each in cases] == [0] * len(cases)
    assert [each.answered for each in cases] == [40] * len(cases)
