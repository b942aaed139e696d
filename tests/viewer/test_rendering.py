"""How figures are drawn."""

import pytest

from brain_otel.viewer.rendering import bars


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([], ""),
        ([0, 0], ""),
        ([1], "M0 20v-20.00h3v20.00z"),
        ([0, 2, 4], "M4 20v-10.00h3v10.00zM8 20v-20.00h3v20.00z"),
        ([1_000, 1], "M0 20v-20.00h3v20.00zM4 20v-1.50h3v1.50z"),
    ],
)
def test_a_bar_is_as_high_as_its_value(values: list[int], path: str) -> None:
    """The highest fills the height; the lowest can still be seen."""
    assert bars(values) == path
