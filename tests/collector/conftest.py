"""What all tests with a real collector share."""

import pytest

from tests.support.collector import CollectorMissingError, find_collector


@pytest.fixture(scope="session", autouse=True)
def _collector_is_there() -> None:
    try:
        find_collector()
    except CollectorMissingError as missing:
        pytest.skip(str(missing))
