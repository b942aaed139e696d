"""At most so many traces a second: steady under a burst, and honest about the share that was kept."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from brain_otel.runtime.fork import reset_in_child

if TYPE_CHECKING:
    from collections.abc import Callable


class RateLimit:
    """Lowers a rate so that ``per_second`` traces pass, and never more than that in any second.

    The rate follows from how many come: it is known before the dice are thrown, so each that is kept stands for one
    over it. What chance lets through beyond the bound is refused, and the next one that is kept stands for it too: so
    what was kept, extrapolated, is what came. Like OpenTelemetry's consistent rate limiting, with a hard bound added.

    Args:
        per_second: The bound, above 0; below 1 it is one in so many seconds.
        clock: Seconds, monotonic.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = max(1, int(per_second))
        self._window = self._most / per_second
        self._clock = clock
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._began = self._clock()
        self._before = self._arrived = 0
        self._kept: deque[float] = deque(maxlen=self._most)
        self._owed = 0.0

    def ask(self, rand: float, rate: float) -> tuple[float, float, bool]:
        """The rate for one more trace, with its random number, where without the limit it would be ``rate``.

        Returns the rate to compare with, the share of it that the bound lets pass, and whether it lets this one.
        """
        with self._lock:
            now = self._clock()
            threshold = min(rate, self._most / self._arrivals(now))
            granted = 1.0 / (1.0 + threshold * self._owed)
            if rand >= threshold:
                return threshold, granted, True
            if len(self._kept) == self._most and now - self._kept[0] < self._window:
                self._owed += 1.0 / threshold
                return threshold, granted, False
            self._kept.append(now)
            self._owed = 0.0
            return threshold, granted, True

    def _arrivals(self, now: float) -> float:
        """How many came in the last window, this one too: what is left of the one before, and this one's."""
        gone = (now - self._began) / self._window
        if gone >= 1.0:
            self._before = self._arrived if gone < 2.0 else 0
            self._arrived = 0
            self._began += int(gone) * self._window
            gone -= int(gone)
        self._arrived += 1
        return self._before * (1.0 - gone) + self._arrived
