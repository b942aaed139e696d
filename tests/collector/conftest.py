"""Which tests need a real collector, and whether there is one."""

import os

import pytest

from tests.support.collector import CollectorMissingError, find_collector


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a collector where none was built; one that is named has to be there."""
    try:
        find_collector()
    except CollectorMissingError as missing:
        left_out = [item for item in items if item.get_closest_marker("collector")]
        if left_out and "BRAIN_OTEL_COLLECTOR" not in os.environ:
            config.hook.pytest_deselected(items=left_out)
            config.get_terminal_writer().line(f"{len(left_out)} tests are left out: {missing}")
            items[:] = [item for item in items if not item.get_closest_marker("collector")]
