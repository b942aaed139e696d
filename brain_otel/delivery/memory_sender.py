"""Sends what waits in memory, on a thread that may have a process make the requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from brain_otel.configuration.sections.delivery import CONNECTIONS
from brain_otel.delivery.memory_queue import MemoryQueue, MemoryRecord
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.threads import start_daemon

if TYPE_CHECKING:
    from brain_otel.delivery.http_process import HttpProcess
    from brain_otel.delivery.retry_loop import Client, RetryLoop

GATHER = 0.05
"""Seconds for which traces gather before the process gets them: each exchange with it wakes a thread."""


class MemorySender:
    """Sends the records of ``queue`` to ``target``; belongs to one process.

    Args:
        on_discard: Called with each record that is given up, and the reason in Sentry's words.
        uses_process: Whether a process makes the requests when there are many.
    """

    def __init__(
        self, target: Target, queue: MemoryQueue, *, on_discard: Callable[[Record, str], None], uses_process: bool
    ) -> None:
        self.loop: RetryLoop[MemoryRecord] | None = None
        """Exists from the first record on."""
        self._target, self._queue = target, queue
        self._on_discard = on_discard
        self._uses_process = uses_process
        self._process: HttpProcess | None = None
        self._thread: threading.Thread | None = None
        self._starting, self._sending = threading.Lock(), threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._is_closed = False

    def wake(self) -> None:
        """Look for a new record."""
        if not self._wake.is_set():
            self._wake.set()

    def start(self) -> bool:
        """Start the thread that sends, once; false if the interpreter starts no more threads."""
        if self._thread is None:
            with guarded("starting the thread that sends"):
                loop = self.created_loop()
                with self._starting:
                    self._start_once(loop)
        return self._thread is not None

    def stop(self, timeout: float) -> None:
        """Send nothing more until :meth:`start`; wait up to ``timeout`` seconds for answers to requests in flight."""
        with self._starting:
            thread, self._thread = self._thread, None
            self._stop.set()
            self._wake.set()
        self._queue.hurry()
        if thread is None:
            return
        if self._process is not None:
            self._process.stop(thread, timeout)
        else:
            thread.join(timeout)

    def end(self) -> None:
        """Have a process send nothing more, and learn what it has sent: the rest is about to be counted as lost."""
        if self._process is not None:
            self.stop(0.0)

    def close(self) -> None:
        """Send nothing more."""
        self._is_closed = True
        self._stop.set()
        self._wake.set()
        self.end()

    def send_here(self, deadline: float) -> None:
        """Send on the calling thread, because the interpreter starts no more threads."""
        with guarded("sending without a thread"), self._sending:
            while self.loop is not None and self._queue and (left := deadline - time.monotonic()) > 0:
                pause = self.loop.step(timeout=left)
                time.sleep(max(0.0, min(left if pause is None else pause, deadline - time.monotonic())))

    def is_limited_for(self, seconds: float) -> bool:
        """Whether rate limits keep every record in memory back for ``seconds``."""
        loop = self.loop
        if loop is None or not loop.limits.active():
            return False
        return not self._queue.has(lambda category: loop.wait_for(category) < seconds)

    def created_loop(self) -> RetryLoop[MemoryRecord]:
        """The loop, which is created with the first record: a service with a spool may never need it."""
        from brain_otel.delivery.retry_loop import RetryLoop

        with self._starting:
            if self.loop is None:
                self.loop = RetryLoop(
                    self._target.address,
                    self._queue,
                    self._created_client(),
                    on_discard=self._on_discard,
                    on_wake=self._gather,
                )
            return self.loop

    def _created_client(self) -> Client:
        if self._uses_process:
            from brain_otel.delivery.http_process import HttpProcess

            self._process = HttpProcess(self._target, connections=CONNECTIONS)
            return self._process
        from brain_otel.delivery.http import HttpClient

        return HttpClient(self._target, connections=CONNECTIONS)

    def _gather(self) -> None:
        if self._process is not None and self._process.in_turn > 1:
            self._queue.gather(self._process.in_turn, GATHER)

    def _start_once(self, loop: RetryLoop[MemoryRecord]) -> None:
        if self._thread is None and not self._is_closed:
            self._stop = threading.Event()
            self._thread = start_daemon(partial(self._run, loop, self._stop), "brain_otel.delivery")

    def _run(self, loop: RetryLoop[MemoryRecord], stop: threading.Event) -> None:
        with self._sending:  # a thread that was told to stop may still wait for an answer
            loop.run(stop, self._wake, None)
