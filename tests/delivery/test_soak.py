"""A test of many workers on one spool."""

import pytest

from tests.delivery import soak


@pytest.mark.thorough
def test_eight_workers_at_full_load_lose_nothing_and_send_nothing_twice() -> None:
    """For a few seconds; `python -m tests.delivery.soak` runs for a minute."""
    result = soak.run(3.0, 8, 60.0)
    print(result)
    assert len(result.captured) > 80
    assert result.is_right(), str(result)
    assert result.said == ""
