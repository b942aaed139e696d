"""Delivery for one target: takes finished records, and sends them or keeps them until it can."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from brain_otel.configuration.sections.delivery import SPOOL_AGE
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target
from brain_otel.runtime.exit import flush_if_late
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.limited_log import CountLog, OutageLog

if TYPE_CHECKING:
    from brain_otel.delivery import memory_queue, memory_sender
    from brain_otel.delivery.spool import discarded as discarded_events
    from brain_otel.delivery.spool import stored_limits
    from brain_otel.delivery.spool.shipper_process import ShipperSupervisor
    from brain_otel.delivery.spool.writer import Spool
else:
    # A record that does not go to disk needs the first two, a report of discarded events the third, and a look at
    # the target's health the last.
    memory_queue = late_module("brain_otel.delivery.memory_queue")
    memory_sender = late_module("brain_otel.delivery.memory_sender")
    discarded_events = late_module("brain_otel.delivery.spool.discarded")
    stored_limits = late_module("brain_otel.delivery.spool.stored_limits")

logger = logging.getLogger(__name__)

MAX_ITEMS = 1_000
"""Records in memory."""

MAX_BYTES = 32 * 2**20
"""Bytes of all records in memory."""

DISK_PAUSE = 1.0
"""Seconds between attempts to write to a disk that fails."""


class Delivery:
    """Takes finished records for one target.

    With a ``spool``, :meth:`put` writes a record to disk, from where a shipper sends it. Without one, or while the
    disk fails, the record waits in memory for a :class:`MemorySender`.

    Args:
        on_discard: Called with each record that is given up here, and the reason in Sentry's words. The shipper
            reports what the spool drops.
        spool: The spool and the supervisor of its shipper.
        max_items: Records in memory.
        uses_process: Without a spool, whether a process makes the requests when there are many.
    """

    def __init__(
        self,
        target: Target,
        *,
        on_discard: Callable[[Record, str], None],
        spool: tuple[Spool, ShipperSupervisor] | None = None,
        max_items: int = MAX_ITEMS,
        uses_process: bool = False,
    ) -> None:
        self._target, self._target_id = target, target.id
        self._on_discard = on_discard
        self._max_items, self._uses_process = max_items, uses_process and spool is None
        self._retry_disk_at = 0.0
        """When to try a disk that has failed; 0 while it works."""
        self._spool = spool[0] if spool is not None else None
        self._supervisor = spool[1] if spool is not None else None
        self._overflow_log = CountLog(logger, "Records for %s are dropped for lack of room: %s", target.address)
        self._disk_log = OutageLog(
            logger,
            self._spool.directory if self._spool is not None else "",
            failed="The spool %s cannot be written to (%s); records wait in memory until it can",
            recovered="The spool %s can be written to again",
            repeated="The spool %s could not be written to %d more times within a minute",
            level=logging.ERROR,
        )
        self._reported_counts: discarded_events.ReportedCounts | None = None
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Start with an empty memory: in a forked child the queued records belong to the parent."""
        self._creating = threading.RLock()
        """Not held while anything is imported: the import may wait for another thread that puts a record."""
        self._memory: memory_queue.MemoryQueue | None = None
        """Exists from the first record on that does not go to disk."""
        self._sender: memory_sender.MemorySender | None = None
        self._is_closed = False
        self._is_held = False
        """Whether records stay in memory, because the process may end."""

    def put(self, *records: Record) -> None:
        """Take ``records`` of one priority; never raises, and waits for the network only after the flush at exit."""
        for record in records if (spool := self._spool) is None else self._without_written(spool, records):
            if spool is not None and len(record.body) > spool.share:
                self._overflowed(record, "cache_overflow")
            else:
                self._put_in_memory(record)

    def _without_written(self, spool: Spool, records: Sequence[Record]) -> list[Record]:
        """Write ``records`` to disk at once; returns those that are not, all or the largest."""
        fitting = [each for each in records if len(each.body) <= spool.largest]
        is_written = bool(fitting) and self._put_on_disk(fitting, spool)
        return [each for each in records if not is_written or len(each.body) > spool.largest]

    def _overflowed(self, record: Record, reason: str) -> None:
        self._overflow_log.add(f"{record.category} ({reason})")
        self._on_discard(record, reason)

    def _put_on_disk(self, records: Sequence[Record], spool: Spool) -> bool:
        if time.monotonic() < self._retry_disk_at:
            return False
        try:
            spool.append(*records)
        except OSError as error:
            self._retry_disk_at = time.monotonic() + DISK_PAUSE
            self._disk_log.failed(error.strerror or error)
            return False
        if self._retry_disk_at:
            self._retry_disk_at = 0.0
            self._disk_log.works()
        if self._supervisor is not None:
            self._supervisor.wake(self._target_id)
        return True

    def _put_in_memory(self, record: Record) -> None:
        if self._is_closed:
            self._overflowed(record, "queue_overflow")
            return
        try:
            memory, sender = self._created_memory()
        except Exception as error:  # imports fail where no descriptor is left
            caught("creating a queue in memory", error)
            self._on_discard(record, "queue_overflow")
            return
        memory.put(record)
        self.resume()
        sender.wake()
        flush_if_late()

    def _created_memory(self) -> tuple[memory_queue.MemoryQueue, memory_sender.MemorySender]:
        """The queue in memory, and what sends from it; several threads may create them, and the first pair stays."""
        memory, sender = self._memory, self._sender
        if memory is None or sender is None:  # an empty queue is false
            queue = memory_queue.MemoryQueue(
                max_items=self._max_items, max_bytes=MAX_BYTES, max_age=SPOOL_AGE, on_discard=self._overflowed
            )
            created = (
                queue,
                memory_sender.MemorySender(
                    self._target, queue, on_discard=self._on_discard, uses_process=self._uses_process
                ),
            )
            with self._creating:
                if self._memory is None or self._sender is None:
                    self._memory, self._sender = created
                memory, sender = self._memory, self._sender
        return memory, sender

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until every record is sent; returns whether each is sent or on disk.

        It does not wait for records that are rate-limited for longer.
        """
        deadline = time.monotonic() + timeout
        if self._spool is not None and self._supervisor is not None and self._supervisor.mode == "thread":
            self._supervisor.wait(self._spool.folder, timeout)
        memory, sender = self._memory, self._sender
        if self._is_held or memory is None or sender is None:
            return not memory
        if memory and not sender.start():
            sender.send_here(deadline)
        while memory and (left := deadline - time.monotonic()) > 0 and not sender.is_limited_for(left):
            memory.hurry()
            time.sleep(0.005)
        return not memory

    def close(self) -> None:
        """Take no more records. Those in memory go to disk, or are lost without a spool."""
        self._is_closed = True
        if self._sender is not None:
            self._sender.close()
        self._empty_memory()
        if self._spool is not None:
            self._spool.close()

    def hold(self, timeout: float) -> None:
        """Send nothing from memory until :meth:`resume` or the next record, since the process may end.

        Waits up to ``timeout`` seconds for the answers to requests in flight.
        """
        self._is_held = True
        if self._sender is not None:
            self._sender.stop(timeout)

    def resume(self) -> None:
        """Send what is in memory."""
        self._is_held = False
        if self._memory and self._sender is not None:
            self._sender.start()

    def save(self) -> Counter[str]:
        """Write what is in memory to disk, if there is a spool; returns what stays in memory, by category."""
        memory = self._memory
        if memory is None:
            return Counter()
        if self._spool is not None:
            for record in self._written(memory.clear()):
                memory.put(record)
        return sum(map(discarded_events.quantities, memory.records()), Counter())

    def withdraw(self, category: str) -> list[Record]:
        """Remove and return the records of ``category`` in memory."""
        return self._memory.withdraw(category) if self._memory is not None else []

    def send_at_once(self, record: Record, timeout: float) -> None:
        """Send ``record`` on this thread, if the target accepts records, or write it to disk."""
        if self._spool is not None:
            self.put(record)
        else:
            self._created_memory()[1].created_loop().send_at_once(record, timeout)

    def pause(self, timeout: float) -> None:
        """Stop the shipper's thread, with no request in flight: the process may end; the next record goes on."""
        if self._supervisor is not None:
            self._supervisor.pause(timeout)

    def end(self) -> None:
        """Prepare for the end of the process: start sending nothing more, and save or count the records in memory."""
        if self._sender is not None:
            self._sender.end()
        self._empty_memory()
        if self._supervisor is not None:
            self._supervisor.stop()

    def is_healthy(self) -> bool:
        """Whether the target accepts records, and memory has room for more.

        A refused category is no reason to send less: the target accepts what it accepts at any rate.
        """
        memory, loop = self._memory, self._sender.loop if self._sender is not None else None
        if (memory is not None and memory.is_full) or (loop is not None and loop.limits.pauses()):
            return False
        return self._spool is None or not stored_limits.makes_wait(self._spool.folder)

    def keep_reported(self, discarded: discarded_events.DiscardedEvents, timeout: float) -> None:
        """Keep the counts of discarded events in the spool, for ``brain-otel spool``."""
        if self._spool is None or (self._reported_counts is None and not discarded):
            return
        if self._reported_counts is None:
            self._reported_counts = discarded_events.ReportedCounts(self._spool.folder)
        self._reported_counts.add(discarded, timeout)

    def takes_reports(self) -> bool:
        """Whether a report of discarded events would survive: it goes to disk, or the target can be reached."""
        if self._spool is not None and not self._retry_disk_at:
            return True
        loop = self._sender.loop if self._sender is not None else None
        return loop is None or not (loop.failure or loop.limits.remaining("internal"))

    def _empty_memory(self) -> None:
        if self._memory is None:
            return
        records = self._written(self._memory.clear())
        for record in records:
            self._on_discard(record, "queue_overflow")
        if records and not self._is_held:  # else a line has told their number
            logger.warning("%d records for %s were not sent in time", len(records), self._target.address)

    def _written(self, records: list[Record]) -> list[Record]:
        """Write ``records`` to disk; returns those that are not."""
        if self._spool is None:
            return records
        largest = self._spool.largest
        left = [each for each in records if len(each.body) <= largest]
        with guarded("saving unsent records"), suppress(OSError):  # a full disk, which has been logged
            while left:
                self._spool.append(left[0])
                del left[0]
        return [*left, *(each for each in records if len(each.body) > largest)]
