"""Fixtures of the tests of delivery."""

from collections.abc import Iterator

import pytest

from tests.delivery.application import end_all
from tests.support.ingest import SentryIngest


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """Kill processes that outlive their test."""
    yield
    end_all()


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    """Give a Sentry server that fails the test if a request arrived incomplete."""
    with SentryIngest() as server:
        yield server
        assert server.rejected == []
