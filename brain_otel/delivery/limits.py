"""What a server has asked not to be sent for a while, by category."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


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
