"""Calls that may hang, each on a thread of its own, with a time bound for the caller."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.work_queue import WorkQueue

Job = Callable[[], object]
TimedCall = tuple[str, Callable[[float], object]]

STARTS_THREADS_AT_EXIT = sys.version_info < (3, 12)
"""Whether the interpreter starts threads until its very end."""


class ThreadPool:
    """Starts each job at once, on an idle thread or a new one. A job that hangs keeps only its own thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: list[WorkQueue[Job]] = []
        self._prepared = 0
        reset_in_child(self)

    def _reset(self) -> None:
        """Start the prepared threads again: a forked child has none of its parent's."""
        self._idle.clear()
        self.prepare(self._prepared)

    def prepare(self, number: int) -> None:
        """Keep ``number`` idle threads for the time when the interpreter starts no more."""
        if not STARTS_THREADS_AT_EXIT:
            self._prepared = number
            self._idle += [queue for _ in range(number - len(self._idle)) if (queue := self._new()) is not None]

    def start(self, job: Job) -> bool:
        """Run ``job`` on a thread; false if there is none."""
        queue = self._take()
        if queue is None:
            return False
        queue.add(partial(self._run, queue, job))
        return True

    def _take(self) -> WorkQueue[Job] | None:
        try:
            return self._idle.pop()
        except IndexError:
            return self._new()

    def _new(self) -> WorkQueue[Job] | None:
        queue: WorkQueue[Job] = WorkQueue(self._name, lambda job: job(), drop=lambda _: None)
        return queue if queue.start() else None

    def _run(self, queue: WorkQueue[Job], job: Job) -> None:
        try:
            contextvars.Context().run(job)
        finally:
            self._idle.append(queue)


_pool = ThreadPool("brain_otel.flush")


def prepare_exit(number: int) -> None:
    """Prepare to make ``number`` calls side by side while the interpreter exits."""
    _pool.prepare(number)


def side_by_side(calls: Sequence[TimedCall], timeout: float, *, grace: float = 0.0) -> bool:
    """Make ``calls`` at once, and wait for them.

    Without a thread for a call, it runs on the calling thread and gets its share of the time that is left.

    Args:
        calls: For each a description for the log, and a function of the seconds that it may take.
        timeout: Seconds for each call.
        grace: Seconds beyond ``timeout`` to wait for a call to return.

    Returns:
        Whether each call returned in time and did not return False.
    """
    # Imported here: `import brain_otel` stays cheap.
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    deadline = time.monotonic() + timeout
    succeeded = [False] * len(calls)
    done = [threading.Event() for _ in calls]

    def call(index: int, seconds: float) -> None:
        place, function = calls[index]
        try:
            with guarded(place), suppress_instrumentation():
                succeeded[index] = function(seconds) is not False
        finally:
            done[index].set()

    here = [index for index in range(len(calls)) if not _pool.start(partial(call, index, timeout))]
    for position, index in enumerate(here):
        call(index, max(0.0, deadline - time.monotonic()) / (len(here) - position))
    for each in done:
        each.wait(max(0.0, deadline + grace - time.monotonic()))
    return all(succeeded)
