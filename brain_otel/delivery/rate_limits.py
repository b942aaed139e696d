"""Rate limits: the categories that a server does not want for a while."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from brain_otel.delivery.spool.directory import LIMITS, boot_id, uptime, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class RateLimits:
    """The end of each category's limit, by the monotonic clock; the category "" stands for all."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def update(self, seconds: Mapping[str, float]) -> None:
        """Limit each category for its number of seconds."""
        now = time.monotonic()
        for category, length in seconds.items():
            self._until[category] = now + length

    def remaining(self, category: str) -> float:
        """Seconds until ``category`` may be sent."""
        now = time.monotonic()
        return max(0.0, self._until.get(category, 0.0) - now, self._until.get("", 0.0) - now)

    def active(self) -> dict[str, float]:
        """Seconds left of each limit."""
        now = time.monotonic()
        return {category: until - now for category, until in self._until.items() if until > now}


def write_limits(folder: Path, active: Mapping[str, float]) -> None:
    """Tell other processes the seconds left of each limit of a target."""
    now = uptime()
    until = {category: now + seconds for category, seconds in active.items()}
    with suppress(OSError):
        write_atomically(folder / LIMITS, json.dumps({"boot": boot_id(), "until": until}))


def read_limits(folder: Path) -> dict[str, float]:
    """Seconds left of each limit of a target, by a clock that nobody sets."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        given = json.loads((folder / LIMITS).read_text())
        now = uptime()
        if given["boot"] == boot_id():
            return {str(name): until - now for name, until in given["until"].items() if until > now}
    return {}
