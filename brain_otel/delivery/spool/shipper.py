"""The shipper: sends the records in a spool's directory, whichever process wrote them."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from brain_otel.configuration.error import reason
from brain_otel.configuration.sections.delivery import CONNECTIONS, LOCK_TIMEOUT
from brain_otel.delivery.http import HttpClient
from brain_otel.delivery.rate_limits import MAX_WAIT
from brain_otel.delivery.record import Record
from brain_otel.delivery.retry_loop import RetryLoop
from brain_otel.delivery.spool.directory import SHIPPER_LOCK, read_bounds, targets
from brain_otel.delivery.spool.discarded import (
    DiscardedEvents,
    ReportedCounts,
    client_report,
    keep_discarded,
    quantities,
    take_discarded,
)
from brain_otel.delivery.spool.eviction import DropLog, evict
from brain_otel.delivery.spool.files import is_shortage
from brain_otel.delivery.spool.locks import close_own, locked, open_own, try_lock
from brain_otel.delivery.spool.reader import SpoolQueue
from brain_otel.delivery.spool.stored_limits import read_limits, write_limits
from brain_otel.delivery.target import Target
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.limited_log import log_counts
from brain_otel.runtime.threads import start_daemon

logger = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between two looks at an empty queue, which other processes write to."""

SCAN_INTERVAL = 1.0
"""Seconds between two looks for new targets, or for the lock."""

EVICTION_INTERVAL = 30.0
"""Seconds between two checks of the directory's bounds."""

REPORT_INTERVAL = 30.0
"""Seconds between two reports of discarded events to Sentry."""

STOP_TIMEOUT = 2.0
"""Seconds to wait for requests in flight when the shipper stops."""


class TargetWorker:
    """Sends the records in one target's folder, on a thread of its own: a target that hangs delays no other."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.target = target
        self.queue = SpoolQueue(folder)
        self._folder = folder
        self._http_client = HttpClient(target, connections=CONNECTIONS + 1)  # one for the reports
        self.retry_loop = RetryLoop(
            target.address,
            self.queue,
            self._http_client,
            on_discard=self._discard,
            on_limits=partial(write_limits, folder),
            on_round=self.report_discarded,
            max_wait=min(MAX_WAIT, read_bounds(folder.parent).max_age),
        )
        self.retry_loop.limits.update(read_limits(folder))  # those that an earlier shipper was given
        self._discarded: DiscardedEvents = Counter()
        self._reported_counts = ReportedCounts(folder)
        self._reported = time.monotonic()

    def run(self, stop: threading.Event, wake: threading.Event) -> None:
        """Send until ``stop`` is set; look for records soon after ``wake`` is set."""
        self.retry_loop.run(stop, wake, POLL)
        self.queue.close()

    def report_discarded(self, *, now: bool = False) -> None:
        """Report discarded events to Sentry, and keep the counts of any target for ``brain-otel spool``.

        See https://develop.sentry.dev/sdk/telemetry/client-reports/.
        """
        if not (now or time.monotonic() - self._reported > REPORT_INTERVAL):
            return
        self._reported = time.monotonic()
        is_sentry = self.target.kind == "sentry"
        if is_sentry and (self.retry_loop.failure or self.retry_loop.limits.remaining("internal")):
            return  # the report would not arrive
        discarded, self._discarded = self._discarded, Counter()  # another thread may be counting
        discarded.update(take_discarded(self._folder))
        if not discarded:
            return
        report = Record("internal", client_report(discarded))
        if not is_sentry or self._http_client.send(report).result == "sent":
            self._reported_counts.add(discarded, LOCK_TIMEOUT)
        else:
            for key, quantity in discarded.items():
                self._discarded[key] += quantity

    def drain(self, deadline: float) -> str:
        """Send until the queue is empty or the time is over; returns why records are left, or nothing."""
        pause: float | None = 0.0
        while pause is not None and (left := deadline - time.monotonic()) > pause:
            if pause:
                time.sleep(pause)
            pause = self.retry_loop.step(timeout=left)
        self.report_discarded(now=True)
        self.save_discarded()
        self.queue.close()
        if pause is None:
            return ""
        return self.retry_loop.failure or "it has set a rate limit, or the time was over"

    def save_discarded(self) -> None:
        """Leave unreported counts to the next shipper."""
        if self._discarded:
            discarded, self._discarded = self._discarded, Counter()
            if not keep_discarded(self._folder, discarded, LOCK_TIMEOUT):
                self._discarded.update(discarded)

    def _discard(self, record: Record, reason: str) -> None:
        for category, quantity in quantities(record).items():
            self._discarded[category, reason] += quantity


class Shipper:
    """Sends the records in ``directory`` while it holds the directory's lock; other shippers wait for the lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stop = threading.Event()
        self._scan = threading.Event()
        """Set to look for new targets at once."""
        self._wakes: dict[str, threading.Event] = {}
        """By the target's id."""
        self._workers: dict[Path, TargetWorker] = {}
        self._threads: list[threading.Thread] = []
        self._unthreaded: list[TargetWorker] = []
        """Workers for which the interpreter, at its exit, started no thread."""
        self._unusable: set[Path] = set()
        """Targets without a worker, because it cannot be made."""
        self._drop_log = DropLog(directory)
        self.holds_lock = False

    def run(self) -> None:
        """Send until :meth:`stop` is called, while the lock can be had."""
        while not self._stop.is_set():
            with guarded("shipping a spool"):
                self._run_with_lock()
            self._stop.wait(SCAN_INTERVAL)

    def stop(self) -> None:
        """Make :meth:`run` return soon."""
        self._stop.set()
        self._scan.set()
        for wake in list(self._wakes.values()):
            wake.set()

    def wake(self, target_id: str) -> None:
        """Send soon: a record was written for this target."""
        event = self._wakes.get(target_id, self._scan)
        if not event.is_set():
            event.set()

    def _run_with_lock(self) -> None:
        if not self._directory.is_dir():
            return
        descriptor = open_own(self._directory / SHIPPER_LOCK, os.O_RDWR | os.O_CREAT)
        try:
            if not try_lock(descriptor):
                return
            if os.fstat(descriptor).st_nlink == 1:
                with suppress(OSError):  # the lock works on a full disk, too
                    os.pwrite(descriptor, f"{os.getpid():<10d}\n".encode(), 0)
            self.holds_lock = True
            self._ship(descriptor)
        finally:
            self.holds_lock = False
            close_own(descriptor)

    def _ship(self, lock: int) -> None:
        """Run a worker for each target until :meth:`stop`, or until somebody removes the directory."""
        stop_workers = threading.Event()
        evicted_at = time.monotonic()
        try:
            while not self._stop.is_set() and os.fstat(lock).st_nlink:
                with suppress(OSError):  # there is no descriptor to look with
                    self._start_workers(stop_workers)
                    if time.monotonic() - evicted_at > EVICTION_INTERVAL:
                        evicted_at = time.monotonic()
                        self._drop_log.add(evict(self._directory, read_bounds(self._directory)))
                self._scan.wait(self._send_here())
                self._scan.clear()
        finally:
            stop_workers.set()
            for wake in self._wakes.values():
                wake.set()
            self._await_answers()
            for worker in self._workers.values():
                worker.save_discarded()
            self._unusable.clear()
            self._workers.clear()
            self._threads, self._unthreaded = [], []

    def _start_workers(self, stop: threading.Event) -> None:
        for folder, target in targets(self._directory).items():
            if folder in self._workers or folder in self._unusable:
                continue
            try:
                worker = TargetWorker(folder, target)
            except Exception as error:  # its proxy or its certificates, for example
                if is_shortage(error):
                    raise
                self._unusable.add(folder)
                logger.error("Nothing can be sent to %s (%s)", target.address, reason(error))
                continue
            self._workers[folder] = worker
            wake = self._wakes.setdefault(folder.name, threading.Event())
            thread = start_daemon(partial(worker.run, stop, wake), "brain_otel.shipper.target")
            if thread is not None:
                self._threads.append(thread)
            else:
                self._unthreaded.append(worker)

    def _send_here(self) -> float:
        """Send on this thread for workers without one; returns the seconds until the next round."""
        pauses = [SCAN_INTERVAL]
        for worker in self._unthreaded:
            worker.report_discarded()
            while (pause := worker.retry_loop.step()) == 0.0 and not self._stop.is_set():
                pass
            pauses.append(POLL if pause is None else pause)
        return min(pauses)

    def _await_answers(self) -> None:
        """Keep the lock during requests in flight: another shipper would send their records again.

        The caller of :meth:`stop` waits only :data:`STOP_TIMEOUT` seconds. The lock ends with the process.
        """
        longest = max((worker.target.timeout for worker in self._workers.values()), default=0.0) + 1.0
        deadline = time.monotonic() + (longest if self._stop.is_set() else STOP_TIMEOUT)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


@contextmanager
def ship_until_stopped(directory: Path) -> Iterator[tuple[Shipper, threading.Event]]:
    """Send the records in ``directory`` during the block; SIGTERM and SIGINT set the event."""
    shipper = Shipper(directory)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    thread = start_daemon(shipper.run, "brain_otel.shipper")
    yield shipper, stopped
    shipper.stop()
    if thread is not None:
        thread.join(STOP_TIMEOUT + 1.0)
    log_counts()


def drain(directory: Path, timeout: float) -> dict[str, str] | None:
    """Send the records in ``directory`` now, for up to ``timeout`` seconds.

    Returns, by address, the reason why records are left; None if another process sends already.
    """
    found = targets(directory)
    left = dict.fromkeys(found, "it did not answer in time")
    deadline = time.monotonic() + timeout

    def drain_target(folder: Path, target: Target) -> None:
        try:
            left[folder] = TargetWorker(folder, target).drain(deadline)
        except Exception as error:  # its proxy or its certificates, for example
            left[folder] = reason(error)

    with locked(directory / SHIPPER_LOCK) as is_ours:
        if not is_ours:
            return None
        threads = [threading.Thread(target=drain_target, args=each, daemon=True) for each in found.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline + STOP_TIMEOUT - time.monotonic()))
    return {found[folder].address: why for folder, why in left.items() if why}
