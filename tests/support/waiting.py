"""Waits for what another thread or process does."""

import threading
import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds until a wait fails; no test measures time by it. A busy machine may be ten times as slow as an idle one."""


def until(condition: Callable[[], object], timeout: float = PATIENCE, what: str = "it") -> None:
    """Return once `condition` holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {timeout:g} s"
        threading.Event().wait(0.01)
