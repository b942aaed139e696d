"""Compares CPU time with that of known work at the same moment, so that no test asserts seconds."""

import gc
import time
from collections.abc import Callable
from typing import Any


def milliseconds(work: Callable[[], Any], limit: float, tries: int = 12) -> float:
    """Return the CPU time of `work`, in units of the yardstick, which takes a millisecond on an idle machine.

    Both are measured in turns, and the least of each is taken, because others use the machine too. It ends at once
    where `work` takes less than `limit`, and after `tries` turns where it takes more.
    """
    least = unit = float("inf")
    for _ in range(tries):
        unit = min(unit, yardstick_seconds())
        least = min(least, _seconds(work))
        if least / unit < limit:
            break
    return least / unit


def yardstick_seconds() -> float:
    """Return the CPU time in seconds of the known work."""
    return _seconds(_yardstick)


def _yardstick() -> None:
    for _ in range(3):
        ",".join(map(repr, range(3_000))).replace("9", "-").split(",")


def _seconds(work: Callable[[], Any]) -> float:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        started = time.thread_time()
        work()
        return time.thread_time() - started
    finally:
        if was_enabled:
            gc.enable()
