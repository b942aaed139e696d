"""The shipper: sends what lies in a spool's directory, from whichever process it was written by."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from brain_otel.configuration.settings import CONNECTIONS
from brain_otel.delivery.http import HttpClient
from brain_otel.delivery.rate_limits import read_limits, write_limits
from brain_otel.delivery.record import Record
from brain_otel.delivery.retry_loop import RetryLoop, keep_sending
from brain_otel.delivery.spool.directory import (
    SHIPPER_LOCK,
    let_go,
    locked,
    make_private,
    own,
    read_bounds,
    targets,
    try_lock,
)
from brain_otel.delivery.spool.eviction import (
    DiscardedEvents,
    DropLog,
    evict,
    keep_discarded,
    quantities,
    take_discarded,
)
from brain_otel.delivery.spool.reader import SpoolQueue
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.threads import start_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from brain_otel.delivery.target import Target

logger = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between two looks at a directory in which nothing waits."""

LOOK_ROUND = 1.0
"""Seconds between two looks for new targets, or for the lock."""

TIDY = 30.0
"""Seconds between two looks at the directory's bounds."""

LAST_ANSWERS = 2.0
"""Seconds to wait for answers that are under way when the shipper is stopped."""

REPORT = 30.0
"""Seconds between two reports to Sentry of what was lost."""


class TargetWorker:
    """The way from one target's folder to the target, on a thread of its own: one that hangs holds up no other."""

    def __init__(self, folder: Path, target: Target, *, connections: int = CONNECTIONS) -> None:
        self.target = target
        self.queue = SpoolQueue(folder)
        self._folder = folder
        self._http_client = HttpClient(target, connections=connections + 1)  # one for the reports
        self.retry_loop = RetryLoop(
            target.address,
            self.queue,
            self._http_client,
            lost=self._lose,
            limited=self._tell_limits,
            connections=connections,
        )
        self.retry_loop.limits.update(read_limits(folder))  # what the shipper before was asked for
        self._lost: DiscardedEvents = Counter()
        self._reported = time.monotonic()

    def run(self, stop: threading.Event, wake: threading.Event) -> None:
        """Send until ``stop`` is set; look again soon when ``wake`` is."""
        keep_sending(self.retry_loop, stop, wake, POLL)
        self.queue.close()

    def report_lost(self, *, now: bool = False) -> None:
        """Tell Sentry what was lost: https://develop.sentry.dev/sdk/telemetry/client-reports/."""
        if self.target.kind != "sentry" or not (now or time.monotonic() - self._reported > REPORT):
            return
        self._reported = time.monotonic()
        if self.retry_loop.failure:
            return  # it would not arrive
        lost, self._lost = self._lost, Counter()  # another thread may be counting
        lost.update(take_discarded(self._folder))
        if lost and self._http_client.send(Record("internal", client_report(lost))).result != "sent":
            for what, quantity in lost.items():
                self._lost[what] += quantity

    def leave_lost(self) -> None:
        """Leave what Sentry has not been told of to the next shipper."""
        if self.target.kind == "sentry" and self._lost:
            lost, self._lost = self._lost, Counter()
            for _ in range(10):
                if keep_discarded(self._folder, lost):
                    return
                time.sleep(0.01)

    def _lose(self, record: Record, reason: str) -> None:
        for category, quantity in quantities(record).items():
            self._lost[category, reason] += quantity

    def _tell_limits(self, resting: dict[str, float]) -> None:
        write_limits(self._folder, resting)


class Shipper:
    """Sends what lies in ``directory`` while it holds the directory's lock; of several, one does, the others wait."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stop = threading.Event()
        self._look = threading.Event()
        """Set to look for new targets at once."""
        self._wakes: dict[str, threading.Event] = {}
        """By the target's id."""
        self._workers: dict[Path, TargetWorker] = {}
        self._threads: list[threading.Thread] = []
        self._unthreaded: list[TargetWorker] = []
        """Workers for which the interpreter, at its exit, started no thread."""
        self._drop_log = DropLog(directory)
        self.holds_lock = False

    def run(self) -> None:
        """Send until :meth:`stop` is called, whenever the lock can be had."""
        while not self._stop.is_set():
            with guarded("looking after the spool"):
                self._run_with_lock()
            self._stop.wait(LOOK_ROUND)

    def stop(self) -> None:
        """Let :meth:`run` return soon."""
        self._stop.set()
        self._look.set()
        for wake in list(self._wakes.values()):
            wake.set()

    def wake(self, target_id: str) -> None:
        """Send soon: a record was written for this target."""
        event = self._wakes.get(target_id, self._look)
        if not event.is_set():
            event.set()

    def _run_with_lock(self) -> None:
        if not self._directory.is_dir():
            return
        descriptor = own(os.open(self._directory / SHIPPER_LOCK, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            if not try_lock(descriptor):
                return
            os.pwrite(descriptor, f"{os.getpid():<10d}\n".encode(), 0)
            self.holds_lock = True
            self._ship(descriptor)
        finally:
            self.holds_lock = False
            let_go(descriptor)

    def _ship(self, lock: int) -> None:
        """Keep a thread for each target until told to stop, or until the directory is no longer the one we locked."""
        lost = threading.Event()
        tidied = time.monotonic()
        try:
            while not self._stop.is_set() and os.fstat(lock).st_nlink:
                self._look_for_targets(lost)
                for worker in self._workers.values():
                    worker.report_lost()
                if time.monotonic() - tidied > TIDY:
                    tidied = time.monotonic()
                    self._tidy()
                self._look.wait(self._send_here())
                self._look.clear()
        finally:
            lost.set()
            for wake in self._wakes.values():
                wake.set()
            self._await_answers()
            for worker in self._workers.values():
                worker.leave_lost()
            self._threads.clear()
            self._unthreaded.clear()
            self._workers.clear()

    def _await_answers(self) -> None:
        """Keep the lock for the answers that are under way, else another would send their records as well.

        Who stops us waits only :data:`LAST_ANSWERS` seconds for that; if the process then ends, so does the lock.
        """
        patience = max((worker.target.timeout for worker in self._workers.values()), default=0.0) + 1.0
        deadline = time.monotonic() + (patience if self._stop.is_set() else LAST_ANSWERS)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _look_for_targets(self, lost: threading.Event) -> None:
        for folder, target in targets(self._directory).items():
            if folder not in self._workers:
                worker = self._workers[folder] = TargetWorker(folder, target)
                wake = self._wakes.setdefault(folder.name, threading.Event())
                thread = start_daemon(partial(worker.run, lost, wake), "brain_otel.shipper.target")
                if thread is not None:
                    self._threads.append(thread)
                else:
                    self._unthreaded.append(worker)

    def _send_here(self) -> float:
        """Send on this thread what has no thread; returns the seconds until the next round."""
        pauses = [LOOK_ROUND]
        for worker in self._unthreaded:
            while (pause := worker.retry_loop.step()) == 0.0 and not self._stop.is_set():
                pass
            pauses.append(POLL if pause is None else pause)
        return min(pauses)

    def _tidy(self) -> None:
        self._drop_log.tell(evict(self._directory, read_bounds(self._directory)))


@contextmanager
def ship_until_stopped(directory: Path) -> Iterator[tuple[Shipper, threading.Event]]:
    """Send what lies in ``directory`` during the block; the event is set by SIGTERM and SIGINT."""
    shipper = Shipper(directory)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    thread = start_daemon(shipper.run, "brain_otel.shipper")
    yield shipper, ended
    shipper.stop()
    if thread is not None:
        thread.join(LAST_ANSWERS + 1.0)


def drain(directory: Path, timeout: float) -> dict[str, str] | None:
    """Send what waits in ``directory`` now, for up to ``timeout`` seconds.

    Returns by address why something was left, empty if nothing was, or None if another process sends already.
    """
    left: dict[str, str] = {}
    with locked(directory / SHIPPER_LOCK) as is_ours:
        if not is_ours:
            return None
        deadline = time.monotonic() + timeout
        for folder, target in targets(directory).items():
            worker = TargetWorker(folder, target)
            pause: float | None = 0.0
            while pause is not None and time.monotonic() + pause < deadline:
                time.sleep(pause)
                pause = worker.retry_loop.step()
            worker.report_lost(now=True)
            worker.leave_lost()
            worker.queue.close()
            if pause is not None:
                left[target.address] = (
                    worker.retry_loop.failure or "it has asked for a rest, or there was no time left"
                )
    return left


def prepare(directory: Path) -> None:
    """Make the directory, for a shipper that is started before the first application.

    Raises:
        OSError: it cannot be made.
    """
    make_private(directory)


def client_report(lost: DiscardedEvents) -> bytes:
    """An envelope that tells Sentry of what was lost."""
    discarded = [
        {"reason": reason, "category": category, "quantity": quantity}
        for (category, reason), quantity in lost.items()
    ]
    payload = json.dumps({"timestamp": time.time(), "discarded_events": discarded}).encode()
    return b'{}\n{"type":"client_report","length":%d}\n%s\n' % (len(payload), payload)
