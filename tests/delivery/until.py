"""Waiting for what another thread or process does."""

import threading
import time
from collections.abc import Callable


def until(condition: Callable[[], object], timeout: float = 10.0, what: str = "it") -> None:
    """Return once ``condition`` holds; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {timeout:g} s"
        threading.Event().wait(0.01)
