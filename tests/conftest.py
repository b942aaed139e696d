"""Fixtures for all tests. What is slow to import or to start is left until a test asks for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.ingest import SentryIngest

if TYPE_CHECKING:
    from tests.support.services import Postgres, Valkey


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    """Give a Sentry server that keeps what it is sent."""
    with SentryIngest() as running:
        yield running


@pytest.fixture(scope="session")
def valkey() -> Iterator["Valkey"]:
    """Give the one Valkey of the session; a test uses keys of its own."""
    from tests.support.services import start_valkey

    with start_valkey() as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    """Give the one PostgreSQL of the session; a test uses tables of its own."""
    from tests.support.services import start_postgres

    with start_postgres() as running:
        yield running
