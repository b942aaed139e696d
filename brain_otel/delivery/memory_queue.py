"""The queue in memory."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

from brain_otel.delivery.record import PRIORITIES, Record


class MemoryRecord:
    """A record in the queue."""

    __slots__ = ("record", "since")

    def __init__(self, record: Record, since: float) -> None:
        self.record = record
        self.since = since


class MemoryQueue:
    """Records in memory. Beyond its bounds the oldest traces are dropped, then the oldest errors.

    ``on_discard`` is called with each record that is dropped unsent, and the reason in Sentry's words.
    """

    def __init__(
        self, *, max_items: int, max_bytes: int, max_age: float, on_discard: Callable[[Record, str], None]
    ) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._on_discard = on_discard
        self._lock = threading.RLock()
        self._is_changing = False
        """Whether the thread that holds the lock is changing the queue."""
        self._arrived: deque[MemoryRecord] = deque()
        """Records to put in order: a finalizer or a signal's handler may add one while its thread is at work here."""
        self._enough = threading.Condition(self._lock)
        self._gathered = 0
        """Records for which :meth:`gather` waits."""
        self._by_priority: dict[str, dict[MemoryRecord, None]] = {priority: {} for priority in PRIORITIES}
        self._bytes = 0
        self._in_flight: frozenset[MemoryRecord] = frozenset()
        """The latest that were taken: they may have arrived, so they are dropped last."""

    def put(self, record: Record) -> None:
        """Add ``record``; never blocks."""
        if len(record.body) > self._max_bytes:  # it would displace all others, then itself
            self._on_discard(record, "queue_overflow")
            return
        self._arrived.append(MemoryRecord(record, time.monotonic()))
        self._put_in_order()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A block that changes the queue, or walks it: what arrives meanwhile waits."""
        with self._lock:
            before, self._is_changing = self._is_changing, True
            try:
                yield
            finally:
                self._is_changing = before

    def _put_in_order(self) -> None:
        """Move what has arrived into the queue, and drop what exceeds its bounds."""
        dropped: list[Record] = []
        with self._lock:
            if self._is_changing:
                return  # the change was interrupted on this thread; the next call moves the rest
            with self._changing():
                while self._arrived:
                    dropped += self._add(self._arrived.popleft())
        for each in dropped:
            self._on_discard(each, "queue_overflow")

    def _add(self, queued: MemoryRecord) -> list[Record]:
        """Put ``queued`` in its place; returns the records that are dropped for it."""
        dropped: list[Record] = []
        self._by_priority[queued.record.priority][queued] = None
        self._bytes += len(queued.record.body)
        while self._bytes > self._max_bytes or self._count() > self._max_items:
            dropped.append(self._drop_oldest())
        if self._gathered and not self._may_gather():
            self._enough.notify()
        return dropped

    def gather(self, count: int, seconds: float) -> None:
        """Wait up to ``seconds`` for more traces while it holds fewer than ``count``, and no errors."""
        with self._enough:
            self._gathered = count
            if len(self) and self._may_gather():
                self._enough.wait(seconds)
            self._gathered = 0

    def hurry(self) -> None:
        """End :meth:`gather`."""
        with self._enough:
            self._enough.notify()

    def _may_gather(self) -> bool:
        return len(self) < self._gathered and not self._by_priority["errors"]

    def __len__(self) -> int:
        return self._count() + len(self._arrived)

    def _count(self) -> int:
        return sum(map(len, self._by_priority.values()))

    def has(self, is_wanted: Callable[[str], bool]) -> bool:
        """Whether it holds a record whose category ``is_wanted``."""
        self._put_in_order()
        with self._changing():
            return any(is_wanted(each.record.category) for each in chain.from_iterable(self._by_priority.values()))

    @property
    def is_full(self) -> bool:
        """Whether another record would displace one."""
        return len(self) >= self._max_items or self._bytes >= self._max_bytes

    def take(self, count: int, may_send: Callable[[MemoryRecord], bool]) -> list[MemoryRecord]:
        """The first ``count`` records that may be sent; they stay in the queue. Drops expired records."""
        oldest = time.monotonic() - self._max_age
        expired: list[MemoryRecord] = []
        taken: list[MemoryRecord] = []
        self._put_in_order()
        with self._changing():
            for each in chain.from_iterable(self._by_priority.values()):
                if each.since < oldest:
                    expired.append(each)
                elif may_send(each):
                    taken.append(each)
                    if len(taken) == count:
                        break
            self._in_flight = frozenset(taken)
            for each in expired:
                self._remove(each)
        for each in expired:
            self._on_discard(each.record, "queue_overflow")
        return taken

    def done(self, queued: MemoryRecord) -> None:
        """Remove a record."""
        with self._changing():
            self._remove(queued)

    def reject(self, queued: MemoryRecord, reason: str) -> None:  # noqa: ARG002 - the reason has been logged
        """Remove a record that the server rejects."""
        self.done(queued)

    def records(self) -> list[Record]:
        """All records, which stay in the queue."""
        self._put_in_order()
        with self._changing():
            return self._records()

    def clear(self) -> list[Record]:
        """Remove and return all records."""
        self._put_in_order()
        with self._changing():
            removed = self._records()
            self._by_priority = {priority: {} for priority in PRIORITIES}
            self._bytes = 0
        return removed

    def withdraw(self, category: str) -> list[Record]:
        """Remove and return the records of ``category``."""
        self._put_in_order()
        with self._changing():
            queued = chain.from_iterable(self._by_priority.values())
            withdrawn = [each for each in queued if each.record.category == category]
            for each in withdrawn:
                self._remove(each)
        return [each.record for each in withdrawn]

    def _records(self) -> list[Record]:
        return [each.record for each in chain.from_iterable(self._by_priority.values())]

    def _remove(self, queued: MemoryRecord) -> None:
        records = self._by_priority[queued.record.priority]
        if queued in records:
            del records[queued]
            self._bytes -= len(queued.record.body)

    def _drop_oldest(self) -> Record:
        queued = chain.from_iterable(self._by_priority[priority] for priority in reversed(PRIORITIES))
        oldest = next((each for each in queued if each not in self._in_flight), None)
        if oldest is None:
            oldest = next(iter(self._in_flight))
        self._remove(oldest)
        return oldest.record
