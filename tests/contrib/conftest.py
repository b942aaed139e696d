"""Deselects contrib's own tests where `tests/contrib/fetch` has not fetched them."""

import pytest

from tests.contrib.suites import MissingSuitesError, find_suites


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Look for the folder only if there is a test that needs it."""
    if not any(item.get_closest_marker("contrib") for item in items):
        return
    try:
        find_suites()
    except MissingSuitesError:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("contrib")])
        items[:] = [item for item in items if not item.get_closest_marker("contrib")]
