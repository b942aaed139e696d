"""Deselects the tests that need the OpenTelemetry Collector where there is none."""

import os

import pytest

from tests.support.collector import CollectorMissingError, find_collector


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep them where BRAIN_OTEL_COLLECTOR names a collector: it must be there."""
    if "BRAIN_OTEL_COLLECTOR" in os.environ:
        return
    try:
        find_collector()
    except CollectorMissingError:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("collector")])
        items[:] = [item for item in items if not item.get_closest_marker("collector")]
