"""A bound on traces a second that stays steady under a burst and reports the share of traces that it keeps."""

import threading
import time
from collections import deque
from collections.abc import Callable

from brain_otel.runtime.fork import reset_in_child
from brain_otel.sampling.decision import Grant


class RateLimit:
    """Lowers a rate so that ``per_second`` traces pass, and never more than that in any second.

    The rate follows from the number of arrivals and is known before the trace is decided on, so each trace that is
    kept represents one over the rate. Traces that chance selects beyond the bound are rejected; the next trace that
    is kept represents them too. The traces that are kept, extrapolated, give the number that arrived.
    OpenTelemetry's consistent rate limiting works alike, without the hard bound.

    Args:
        per_second: The bound, above 0; below 1 it is one trace in several seconds.
        clock: Returns monotonic seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._bound = max(1, int(per_second))
        self._window = self._bound / per_second
        self._clock = clock
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._window_start = self._clock()
        self._previous_arrivals = self._arrivals = 0
        self._kept: deque[float] = deque(maxlen=self._bound)
        self._rejected = 0.0
        """Arrivals that the rejected traces since the last kept one represent."""

    def ask(self, rand: float, rate: float) -> Grant:
        """The rate for one more trace with the random number ``rand``; without the limit it would be ``rate``."""
        with self._lock:
            now = self._clock()
            threshold = min(rate, self._bound / self._count_arrival(now))
            share = 1.0 / (1.0 + threshold * self._rejected)
            if rand >= threshold:
                return Grant(threshold, share)
            if len(self._kept) == self._bound and now - self._kept[0] < self._window:
                self._rejected += 1.0 / threshold
                return Grant(threshold, share, allowed=False)
            self._kept.append(now)
            self._rejected = 0.0
            return Grant(threshold, share)

    def _count_arrival(self, now: float) -> float:
        """The arrivals of the last window, with this one: this window's, and the rest of the previous window's."""
        elapsed = (now - self._window_start) / self._window
        if elapsed >= 1.0:
            self._previous_arrivals = self._arrivals if elapsed < 2.0 else 0
            self._arrivals = 0
            self._window_start += int(elapsed) * self._window
            elapsed -= int(elapsed)
        self._arrivals += 1
        return self._previous_arrivals * (1.0 - elapsed) + self._arrivals
