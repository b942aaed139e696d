"""Delivery as a destination of the application uses it: what is put is sent, or kept until it can be."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from brain_otel.configuration.settings import CONNECTIONS, SPOOL_AGE
from brain_otel.delivery.memory_queue import MemoryQueue, MemoryRecord
from brain_otel.delivery.rate_limits import read_limits
from brain_otel.runtime.exit import flush_if_late
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.threads import start_daemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.delivery.record import Record
    from brain_otel.delivery.retry_loop import RetryLoop
    from brain_otel.delivery.spool.shipper_process import ShipperSupervisor
    from brain_otel.delivery.spool.writer import Spool
    from brain_otel.delivery.target import Target

logger = logging.getLogger(__name__)

MAX_ITEMS = 1_000
"""Records that may wait in memory."""

MAX_BYTES = 32 * 2**20
"""Bytes of records that may wait in memory."""

DISK_PAUSE = 1.0
"""Seconds for which a disk that has failed is left alone."""


class Delivery:
    """Takes finished records for one target.

    With a ``spool`` they are on disk when :meth:`put` returns, and sent from there; without one, or while the disk
    fails, they wait in memory for a thread that sends them. ``lost`` is told of every record that is given up here;
    what the spool had to drop is told to the target by who sends.
    """

    def __init__(
        self,
        target: Target,
        *,
        lost: Callable[[Record, str], None],
        spool: tuple[Spool, ShipperSupervisor] | None = None,
        max_items: int = MAX_ITEMS,
        connections: int = CONNECTIONS,
    ) -> None:
        self._target, self._target_id = target, target.id
        self._lost = lost
        self._max_items = max_items
        self._connections = connections
        self._disk_rests_until = 0.0
        self._spool = spool[0] if spool is not None else None
        self._supervisor = spool[1] if spool is not None else None
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Begin with an empty memory; in a forked child what waits is the parent's."""
        self._memory = MemoryQueue(max_items=self._max_items, max_bytes=MAX_BYTES, max_age=SPOOL_AGE, lost=self._lost)
        self._retry_loop: RetryLoop[MemoryRecord] | None = None
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()

    def put(self, record: Record) -> None:
        """Take ``record``; never raises and never waits for the network."""
        if self._spool is not None and len(record.body) > self._spool.largest:
            self._lost(record, "cache_overflow")
            return
        if self._spool is not None and time.monotonic() >= self._disk_rests_until:
            try:
                self._spool.append(record)
            except OSError as error:
                self._disk_failed(self._spool, error)
            else:
                if self._disk_rests_until:
                    self._disk_rests_until = 0.0
                    logger.warning("The spool %s can be written to again", self._spool.directory)
                if self._supervisor is not None:
                    self._supervisor.wake(self._target_id)
                return
        if self._stop.is_set():
            self._lost(record, "queue_overflow")
            return
        self._memory.put(record)
        self._start()
        if not self._wake.is_set():
            self._wake.set()
        flush_if_late()

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until all is sent; whether it was, or is on disk."""
        deadline = time.monotonic() + timeout
        if self._spool is not None and self._supervisor is not None and self._supervisor.mode == "thread":
            self._supervisor.wait(self._spool.folder, timeout)
        if self._memory and not self._start():
            self._send_here(deadline)
        while self._memory and time.monotonic() < deadline:
            time.sleep(0.005)
        return not self._memory

    def _send_here(self, deadline: float) -> None:
        """Send on this thread, because the interpreter starts no more threads."""
        with guarded("sending without a thread"), self._sending:
            while self._retry_loop is not None and self._memory and (left := deadline - time.monotonic()) > 0:
                pause = self._retry_loop.step(timeout=left)
                time.sleep(max(0.0, min(left if pause is None else pause, deadline - time.monotonic())))

    def close(self) -> None:
        """Take nothing more. What waits in memory goes to the disk if there is one, else it is lost."""
        self._stop.set()
        self._wake.set()
        self._leave_memory()
        if self._spool is not None:
            self._spool.close()

    def end(self) -> None:
        """The process ends: begin to send nothing more, and leave on disk, or count, what waits in memory."""
        self._leave_memory()
        if self._supervisor is not None:
            self._supervisor.stop()

    def _leave_memory(self) -> None:
        left = self._memory.clear()
        if self._spool is not None and left:
            with guarded("saving what was not sent"):
                while left:
                    self._spool.append(left[0])
                    del left[0]
        for record in left:
            self._lost(record, "queue_overflow")
        if left:
            logger.warning("%d records for %s were not sent in time", len(left), self._target.address)

    def is_healthy(self) -> bool:
        """Whether the target takes what it gets, and not too much waits."""
        if self._memory.is_full or (self._retry_loop is not None and self._retry_loop.limits.resting()):
            return False
        return self._spool is None or not read_limits(self._spool.folder)

    def takes_reports(self) -> bool:
        """Whether a report of losses would not be lost itself: it is put on disk, or the target is there."""
        if self._spool is not None and not self._disk_rests_until:
            return True
        return self._retry_loop is None or not self._retry_loop.failure

    def _start(self) -> bool:
        """Start the thread that sends, once; false if the interpreter starts no more threads."""
        if self._thread is None:
            with self._lock, guarded("starting the thread that sends"):
                self._start_once()
        return self._thread is not None

    def _start_once(self) -> None:
        if self._thread is not None:
            return
        # Imported here: a service with a spool and a process that ships it never sends by itself.
        from brain_otel.delivery.http import HttpClient
        from brain_otel.delivery.retry_loop import RetryLoop, keep_sending

        if self._retry_loop is None:
            http_client = HttpClient(self._target, connections=self._connections)
            self._retry_loop = RetryLoop(
                self._target.address, self._memory, http_client, lost=self._lost, connections=self._connections
            )
        send = partial(keep_sending, self._retry_loop, self._stop, self._wake, None)
        self._thread = start_daemon(send, "brain_otel.delivery")

    def _disk_failed(self, spool: Spool, error: OSError) -> None:
        was_well = not self._disk_rests_until
        self._disk_rests_until = time.monotonic() + DISK_PAUSE
        if was_well:
            logger.error(
                "The spool %s cannot be written to (%s); what is to be sent waits in memory until it can",
                spool.directory,
                error.strerror or error,
            )
