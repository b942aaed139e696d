"""Local traces worked off away from the request's path, on a thread of the destination's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from brain_otel.runtime.work_queue import WorkQueue
from brain_otel.traces import collector as collection
from brain_otel.traces.collector import LocalTraceCollector

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAX_QUEUED_SPANS = 10_000
"""Spans of complete local traces that wait to be worked off, some 3 kB each; beyond it the oldest are dropped."""

GATHER = 0.1
"""Seconds for which local traces gather before they are worked off together."""


class QueuedCollector(LocalTraceCollector, Generic[T]):
    """A collector whose local traces are worked off on a thread of its own."""

    def __init__(
        self, name: str, work: Callable[[T], None], *, drop: Callable[[T], None], weigh: Callable[[T], int]
    ) -> None:
        super().__init__()
        self._queue: WorkQueue[T] = WorkQueue(
            name, work, drop=drop, idle=self._tick, weigh=weigh, max_weight=MAX_QUEUED_SPANS, gather=GATHER
        )

    def _reset(self) -> None:
        super()._reset()
        self._ticks = self._has_lingered = False

    def lingering(self) -> None:
        """See to it that the deadline is kept: while there is use, the queue's thread looks from time to time."""
        self._has_lingered = True
        if not self._ticks:
            self._ticks = True
            self._queue.wake()

    def _tick(self) -> float | None:
        """Hand over what is due; the seconds until the next look, None if nothing has lingered since the last."""
        lingered, self._has_lingered = self._has_lingered, False
        due = self.sweep()
        self._ticks = due is not None or lingered
        if self._has_lingered:  # meanwhile, and `lingering` may have found `_ticks` still set
            self._ticks = True
        return collection.LINGER if due is None and self._ticks else due

    def flush_within(self, timeout: float) -> bool:
        """Work off what waits within ``timeout`` seconds; whether all was."""
        self.sweep(everything=True)
        return self._queue.flush(timeout)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """OpenTelemetry's form of :meth:`flush_within`."""
        return self.flush_within(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Take nothing more; what still waits is dropped."""
        self.sweep(everything=True)
        self._queue.stop()
        self._stopped = True
