"""Collects local traces, and processes them on a thread of the destination's own."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from brain_otel.runtime.work_queue import WorkQueue
from brain_otel.traces import collector as collection
from brain_otel.traces.collector import LocalTraceCollector

T = TypeVar("T")

MAX_QUEUED_SPANS = 10_000
"""Spans of complete local traces that wait, some 3 kB each; beyond it the oldest are dropped."""

GATHER = 0.1
"""Seconds for which local traces gather before the thread processes them together."""


class QueuedCollector(LocalTraceCollector, Generic[T]):
    """A collector with a work queue: a thread of its own calls ``work`` with each item, and ``settle`` after some."""

    def __init__(
        self,
        name: str,
        work: Callable[[T], None],
        *,
        drop: Callable[[T], None],
        weigh: Callable[[T], int],
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        bounds: dict[str, Any] = {"weigh": weigh, "max_weight": MAX_QUEUED_SPANS, "gather": GATHER}
        self._queue: WorkQueue[T] = WorkQueue(name, work, drop=drop, idle=self._tick, settle=settle, **bounds)

    def _reset(self) -> None:
        super()._reset()
        self._ticks = self._has_lingered = False

    def schedule_sweep(self) -> None:
        """Have the queue's thread sweep from time to time while local traces wait for their spans."""
        self._has_lingered = True
        if not self._ticks:
            self._ticks = True
            self._queue.wake()

    def _tick(self) -> float | None:
        """Hand over what is due; the seconds until the next call, None if no local trace waited since the last."""
        lingered, self._has_lingered = self._has_lingered, False
        due = self.sweep()
        self._ticks = due is not None or lingered
        if self._has_lingered:  # since the line above, and `schedule_sweep` may have seen `_ticks` still set
            self._ticks = True
        return collection.LINGER if due is None and self._ticks else due

    def flush_within(self, timeout: float) -> bool:
        """Process what waits within ``timeout`` seconds; whether everything was."""
        self.sweep(everything=True)
        return self._queue.flush(timeout)

    def hold(self, timeout: float) -> dict[str, int]:
        """Process nothing more until :meth:`resume` or the next local trace, since the process may end.

        Waits up to ``timeout`` seconds for the one in work. Returns the number of local traces that are left, and
        that of their spans, by Sentry's categories.
        """
        self._queue.hold(timeout)
        traces, spans = self._queue.waiting()
        return {"transaction": traces, "span": spans}

    def resume(self) -> None:
        """Process what is held: the process goes on."""
        self._queue.resume()

    def end(self, timeout: float) -> None:
        """Process what waits and is not held within ``timeout`` seconds, and drop the rest: the process ends."""
        self._queue.flush(timeout)
        self._queue.discard()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """OpenTelemetry's form of :meth:`flush_within`."""
        return self.flush_within(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Drop what waits, and take nothing more."""
        self.sweep(everything=True)
        self._queue.stop()
        self._stopped = True
