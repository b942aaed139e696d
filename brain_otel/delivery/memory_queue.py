"""What waits to be sent in memory."""

from __future__ import annotations

import threading
import time
from itertools import chain
from typing import TYPE_CHECKING

from brain_otel.delivery.spool.directory import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.delivery.record import Record


class MemoryRecord:
    """A record in memory."""

    __slots__ = ("record", "since")

    def __init__(self, record: Record, since: float) -> None:
        self.record = record
        self.since = since


class MemoryQueue:
    """Records in memory, bounded in number and bytes: beyond it the oldest traces go, then the oldest errors.

    ``lost`` is told of each record that goes without having been sent, and why, in Sentry's words.
    """

    def __init__(
        self, *, max_items: int, max_bytes: int, max_age: float, lost: Callable[[Record, str], None]
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._lost = lost
        self._lock = threading.Lock()
        self._priorities: dict[str, dict[MemoryRecord, None]] = {priority: {} for priority in PRIORITIES}
        self._bytes = 0
        self._under_way: frozenset[MemoryRecord] = frozenset()
        """What was last taken: it may have arrived already, so it is the last to be dropped."""

    def put(self, record: Record) -> None:
        """Add ``record``; never blocks."""
        if len(record.body) > self._max_bytes:  # it would push all the others out, and then itself
            self._lost(record, "queue_overflow")
            return
        gone: list[Record] = []
        with self._lock:
            self._priorities[record.priority][MemoryRecord(record, time.monotonic())] = None
            self._bytes += len(record.body)
            while self._bytes > self._max_bytes or len(self) > self._max_items:
                gone.append(self._drop_oldest())
        for each in gone:
            self._lost(each, "queue_overflow")

    def __len__(self) -> int:
        return sum(map(len, self._priorities.values()))

    @property
    def is_full(self) -> bool:
        """Whether the next record would push another out."""
        return len(self) >= self._max_items or self._bytes >= self._max_bytes

    def take(self, count: int, may_send: Callable[[MemoryRecord], bool]) -> list[MemoryRecord]:
        """Up to ``count`` records that may be sent; what is too old goes."""
        oldest = time.monotonic() - self._max_age
        expired: list[MemoryRecord] = []
        taken: list[MemoryRecord] = []
        with self._lock:
            for each in chain.from_iterable(self._priorities.values()):
                if each.since < oldest:
                    expired.append(each)
                elif may_send(each):
                    taken.append(each)
                    if len(taken) == count:
                        break
            self._under_way = frozenset(taken)
            for each in expired:
                self._remove(each)
        for each in expired:
            self._lost(each.record, "queue_overflow")
        return taken

    def done(self, waiting: MemoryRecord) -> None:
        """Take a record out for good."""
        with self._lock:
            self._remove(waiting)

    def refuse(self, waiting: MemoryRecord, reason: str) -> None:  # noqa: ARG002 - the reason has been logged
        """Take a record out that will never be taken."""
        self.done(waiting)

    def clear(self) -> list[Record]:
        """Take everything out; what that was."""
        with self._lock:
            left = [each.record for priority in PRIORITIES for each in self._priorities[priority]]
            self._priorities = {priority: {} for priority in PRIORITIES}
            self._bytes = 0
        return left

    def _remove(self, waiting: MemoryRecord) -> None:
        priority = self._priorities[waiting.record.priority]
        if waiting in priority:
            del priority[waiting]
            self._bytes -= len(waiting.record.body)

    def _drop_oldest(self) -> Record:
        waiting = chain.from_iterable(self._priorities[priority] for priority in reversed(PRIORITIES))
        oldest = next((each for each in waiting if each not in self._under_way), None)
        if oldest is None:
            oldest = next(iter(self._under_way))
        self._remove(oldest)
        return oldest.record
