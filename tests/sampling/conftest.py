"""All of the tracing in one process, as a file says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brain_otel.runtime import guard
from tests.sampling.wired import Wire, Wired, write_file
from tests.support.ingest import SentryIngest


@pytest.fixture
def wire(ingest: SentryIngest, tmp_path: Path) -> Iterator[Wire]:
    """Set up with a file of the test's own, once."""
    made: list[Wired] = []

    def wired(**file: Any) -> Wired:
        made.append(Wired(ingest, write_file(tmp_path, ingest.dsn, **file)))
        return made[-1]

    guard.reraise_failures(True)
    yield wired
    guard.reraise_failures(False)
    for each in made:
        each.close()
