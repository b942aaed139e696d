"""Deselects the tests of receivers that are not on this machine; the header of a run says which."""

import pytest

from tests.support.receivers import missing


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test names its receivers in the marker ``receivers``."""
    absent = missing()
    left = [item for item in items if not absent.keys().isdisjoint(_receivers_of(item))]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def _receivers_of(item: pytest.Item) -> tuple[str, ...]:
    marker = item.get_closest_marker("receivers")
    return marker.args if marker is not None else ()
