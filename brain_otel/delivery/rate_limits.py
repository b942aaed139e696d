"""Rate limits: the categories that a server does not want for a while."""

import time
from collections.abc import Mapping

MAX_LIMIT = 24 * 3600.0
"""Seconds of the longest limit."""

MAX_WAIT = 3600.0
"""Seconds of the longest limit for which records wait; under a longer one they are dropped.

Some servers never accept a category and limit it for a day, again and again (Bugsink does so with transactions). Its
records would fill the queue and delay each flush, for nothing.
"""

MAX_CATEGORIES = 256
"""Categories that are limited at a time; Sentry has about 20."""


class RateLimits:
    """The end of each category's limit, by the monotonic clock; the category "" stands for all.

    A category with a limit longer than ``max_wait`` seconds is refused from the limit's beginning to its end.
    """

    def __init__(self, max_wait: float = MAX_WAIT) -> None:
        self._max_wait = max_wait
        self._until: dict[str, float] = {}
        self._refused: set[str] = set()

    def update(self, seconds: Mapping[str, float]) -> None:
        """Limit each category for its number of seconds."""
        now = time.monotonic()
        self._until = {category: until for category, until in self._until.items() if until > now}
        for category, length in seconds.items():
            if category in self._until or len(self._until) < MAX_CATEGORIES:
                self._until[category] = now + min(length, MAX_LIMIT)
                (self._refused.add if length > self._max_wait else self._refused.discard)(category)

    def remaining(self, category: str) -> float:
        """Seconds until ``category`` may be sent."""
        if not self._until:
            return 0.0
        now = time.monotonic()
        return max(0.0, self._until.get(category, 0.0) - now, self._until.get("", 0.0) - now)

    def is_refused(self, category: str) -> bool:
        """Whether ``category`` is limited for so long that its records do not wait."""
        refused = self._refused
        return bool(refused) and any(self.remaining(each) > 0.0 for each in refused.intersection((category, "")))

    def active(self) -> dict[str, float]:
        """Seconds left of each limit."""
        now = time.monotonic()
        return {category: until - now for category, until in self._until.items() if until > now}

    def pauses(self) -> bool:
        """Whether records wait for the end of a limit; those of a refused category do not."""
        return any(category not in self._refused for category in self.active())
