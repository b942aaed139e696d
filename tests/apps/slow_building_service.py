"""The spooling service, whose transactions take long to build: most are in a queue, or dropped, when it ends."""

import time
from typing import Any

from brain_otel.sentry import transaction_sender
from tests.apps.spooling_service import app

__all__ = ["app"]

_create = vars(transaction_sender)["create_transaction"]


def _create_slowly(*args: Any) -> Any:
    time.sleep(0.03)
    return _create(*args)


vars(transaction_sender)["create_transaction"] = _create_slowly
