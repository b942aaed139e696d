"""What a server has asked not to be sent for a while, by category."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from brain_otel.delivery.spool.directory import boot, uptime, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LIMITS = "limits.json"


class Limits:
    """The categories that rest, each until a time of the monotonic clock, which nobody sets."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def update(self, seconds: Mapping[str, float]) -> None:
        """Let each category rest for as many seconds."""
        now = time.monotonic()
        for category, length in seconds.items():
            self._until[category] = now + length

    def rest(self, category: str) -> float:
        """Seconds for which nothing of ``category`` is to be sent."""
        now = time.monotonic()
        return max(0.0, self._until.get(category, 0.0) - now, self._until.get("", 0.0) - now)

    def resting(self) -> dict[str, float]:
        """Seconds left for each category that rests."""
        now = time.monotonic()
        return {category: until - now for category, until in self._until.items() if until > now}


def write_limits(folder: Path, resting: Mapping[str, float]) -> None:
    """Let the other processes know for how many seconds each category of a target rests."""
    now = uptime()
    until = {category: now + seconds for category, seconds in resting.items()}
    with suppress(OSError):
        write_whole(folder / LIMITS, json.dumps({"boot": boot(), "until": until}))


def read_limits(folder: Path) -> dict[str, float]:
    """Seconds for which each category of a target still rests; by the clock that nobody sets."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        given = json.loads((folder / LIMITS).read_text())
        now = uptime()
        if given["boot"] == boot():
            return {str(name): until - now for name, until in given["until"].items() if until > now}
    return {}
