"""One viewer for a module's tests; each test looks only at what it sent."""

from collections.abc import Iterator

import pytest

from tests.support.viewer import RunningViewer


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningViewer]:
    with RunningViewer(tmp_path_factory.mktemp("viewer")) as running:
        yield running
