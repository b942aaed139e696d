"""Rate limits: the categories that a server does not want for a while."""

import time
from collections.abc import Mapping

MAX_LIMIT = 24 * 3600.0
"""Seconds of the longest limit."""

MAX_CATEGORIES = 256
"""Categories that are limited at a time; Sentry has about 20."""


class RateLimits:
    """The end of each category's limit, by the monotonic clock; the category "" stands for all."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def update(self, seconds: Mapping[str, float]) -> None:
        """Limit each category for its number of seconds."""
        now = time.monotonic()
        self._until = {category: until for category, until in self._until.items() if until > now}
        for category, length in seconds.items():
            if category in self._until or len(self._until) < MAX_CATEGORIES:
                self._until[category] = now + min(length, MAX_LIMIT)

    def remaining(self, category: str) -> float:
        """Seconds until ``category`` may be sent."""
        now = time.monotonic()
        return max(0.0, self._until.get(category, 0.0) - now, self._until.get("", 0.0) - now)

    def active(self) -> dict[str, float]:
        """Seconds left of each limit."""
        now = time.monotonic()
        return {category: until - now for category, until in self._until.items() if until > now}
