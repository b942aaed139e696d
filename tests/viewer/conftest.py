"""One viewer for a module's tests; each test looks only at what it sent.

Without a browser its tests are deselected.
"""

from collections.abc import Iterator

import pytest

from tests.support.browser import find_chromium
from tests.support.viewer import RunningViewer


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningViewer]:
    with RunningViewer(tmp_path_factory.mktemp("viewer")) as running:
        yield running


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of the browser have the marker ``browser``."""
    left = [item for item in items if item.get_closest_marker("browser") and find_chromium() is None]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
