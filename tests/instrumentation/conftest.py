"""Fixtures of the instrumentations' tests."""

from collections.abc import Iterator

import pytest

from tests.instrumentation.target import HttpTarget, start_target


@pytest.fixture(scope="module")
def target() -> Iterator[HttpTarget]:
    """Give an HTTP server to call."""
    with start_target() as running:
        yield running
