"""Tests of the queue that keeps work off the request path."""

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from brain_otel.runtime.guard import forget_logged_places
from brain_otel.runtime.work_queue import WorkQueue
from tests.support.process import SLACK
from tests.support.threads import no_new_threads
from tests.support.waiting import until


class Turnstile:
    """Work that waits until the gate is open, and records its items."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.dropped: list[int] = []
        self.begun = threading.Event()
        self.open = threading.Event()
        self.threads: set[int] = set()

    def work(self, item: int) -> None:
        self.begun.set()
        assert self.open.wait(30)
        self.threads.add(threading.get_ident())
        self.done.append(item)

    def drop(self, item: int) -> None:
        self.dropped.append(item)


@contextmanager
def queue_of(
    gate: Turnstile, max_items: int = 1_000, idle: Callable[[], float | None] = lambda: None
) -> Iterator[WorkQueue[int]]:
    queue = WorkQueue("test", gate.work, drop=gate.drop, idle=idle, max_items=max_items)
    try:
        yield queue
    finally:
        gate.open.set()
        queue.stop()


def test_one_other_thread_works_on_the_items_in_order() -> None:
    """The calling thread does none of the work."""
    gate = Turnstile()
    gate.open.set()
    with queue_of(gate) as queue:
        for item in range(200):
            queue.put(item)
        assert queue.flush(5.0)
        assert gate.done == list(range(200))
        assert len(gate.threads) == 1
        assert threading.get_ident() not in gate.threads
        assert gate.dropped == []


def test_a_full_queue_drops_the_oldest() -> None:
    """It keeps the newest, and calls `drop` with each dropped item."""
    gate = Turnstile()
    with queue_of(gate, max_items=3) as queue:
        queue.put(0)
        assert gate.begun.wait(5)
        for item in range(1, 7):
            queue.put(item)
        assert gate.dropped == [1, 2, 3]
        gate.open.set()
        assert queue.flush(5.0)
        assert gate.done == [0, 4, 5, 6]


def test_the_weight_of_all_items_is_bounded() -> None:
    """The oldest are dropped until there is room; an item above the bound is taken alone."""
    gate = Turnstile()
    queue = WorkQueue("weighing", gate.work, drop=gate.drop, weigh=lambda item: item, max_weight=10)
    try:
        queue.put(1)
        assert gate.begun.wait(5)  # the thread works on it, so it does not count
        for item in (2, 3, 5):
            queue.put(item)
        assert gate.dropped == []
        queue.put(4)
        assert gate.dropped == [2, 3]
        queue.put(70)
        assert gate.dropped == [2, 3, 5, 4]
        queue.put(6)
        assert gate.dropped == [2, 3, 5, 4, 70]
        gate.open.set()
        assert queue.flush(5)
        queue.put(10)
        assert queue.flush(5)
        assert gate.done == [1, 6, 10]
    finally:
        gate.open.set()
        queue.stop()


def test_put_never_waits_for_the_work() -> None:
    """A hanging worker costs the caller next to nothing."""
    gate = Turnstile()
    with queue_of(gate, max_items=10) as queue:
        started = time.monotonic()
        for item in range(5_000):
            queue.put(item)
        assert time.monotonic() - started < 2.0 + SLACK
        assert not gate.done


def test_flush_is_bounded_and_returns_whether_it_succeeded() -> None:
    """It returns False at its timeout if items are left, or one is being worked on."""
    gate = Turnstile()
    with queue_of(gate) as queue:
        queue.put(1)
        assert gate.begun.wait(5)
        started = time.monotonic()
        assert queue.flush(0.2) is False
        assert 0.15 < time.monotonic() - started < 2.0 + SLACK
        assert queue.flush(0.0) is False
        gate.open.set()
        assert queue.flush(5.0) is True
        assert gate.done == [1]


def test_flushing_an_unused_queue_starts_no_thread() -> None:
    """It returns at once."""
    gate = Turnstile()
    threads = threading.active_count()
    with queue_of(gate) as queue:
        assert queue.flush(0.0) is True
        assert threading.active_count() == threads


def test_stop_drops_all_items() -> None:
    """`drop` is called with each, and with each later one."""
    gate = Turnstile()
    with queue_of(gate) as queue:
        queue.put(0)
        assert gate.begun.wait(5)
        queue.put(1)
        queue.put(2)
        queue.stop()
        assert gate.dropped == [1, 2]
        queue.put(3)
        assert gate.dropped == [1, 2, 3]
        queue.wake()
        thread = queue._thread
        assert thread is not None
        gate.open.set()
        until(lambda: not thread.is_alive())
        assert gate.done == [0]


def test_failing_work_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    """It goes on with the next item; the failure is logged once."""
    forget_logged_places()
    done: list[int] = []

    def work(item: int) -> None:
        if item % 2:
            raise ValueError(item)
        done.append(item)

    queue = WorkQueue("failing", work, drop=done.append)
    for item in range(6):
        queue.put(item)
    assert queue.flush(5.0)
    queue.stop()
    assert done == [0, 2, 4]
    assert [record.getMessage()[:49] for record in caplog.records] == [
        "brain_otel failed while working in failing; the a"
    ]


def test_idle_is_called_again_after_the_pause_it_returns() -> None:
    """`wake` ends the pause."""
    gate = Turnstile()
    pauses = iter([0.02, 0.02, 0.02])
    asked: list[float] = []

    def idle() -> float | None:
        asked.append(time.monotonic())
        return next(pauses, None)

    with queue_of(gate, idle=idle) as queue:
        queue.wake()
        until(lambda: len(asked) >= 4)
        settled = len(asked)
        queue.wake()
        until(lambda: len(asked) > settled)
        assert asked[1] - asked[0] >= 0.015


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_with_an_empty_queue() -> None:
    """The items stay with the parent, and the child has a thread of its own."""
    gate = Turnstile()
    with queue_of(gate) as queue:
        queue.put(1)
        assert gate.begun.wait(5)
        queue.put(2)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:  # no assertion may leave this branch
            answer = b"failed"
            try:
                gate.done.clear()
                gate.open.set()
                clean = queue.flush(0.0)
                queue.put(3)
                if clean and queue.flush(5.0) and gate.done == [3] and not gate.dropped:
                    answer = b"clean"
            finally:
                os.write(writing, answer)
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answers:
            assert answers.read() == b"clean"
        os.waitpid(child, 0)
        gate.open.set()
        assert queue.flush(5.0)
        assert gate.done == [1, 2]
        assert gate.dropped == []


def test_an_unused_queue_is_garbage_collected() -> None:
    """Its fork hook does not keep it alive."""
    gate = Turnstile()
    queue = WorkQueue("short", gate.work, drop=gate.drop)
    reference = weakref.ref(queue)
    del queue
    gc.collect()
    assert reference() is None


def test_without_threads_flush_works_on_the_calling_thread() -> None:
    """As at the exit of Python 3.12 and later; until its timeout."""
    done: list[tuple[int, int]] = []

    def work(item: int) -> None:
        done.append((item, threading.get_ident()))
        time.sleep(0.1)

    queue = WorkQueue("test", work, drop=lambda _: None)
    with no_new_threads():
        assert not queue.start()
        for item in range(3):
            queue.put(item)
        assert done == []
        assert not queue.flush(0.05)
        assert done == [(0, threading.get_ident())]
        assert queue.flush(5.0)
    assert done == [(item, threading.get_ident()) for item in range(3)]
    queue.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exit_in_the_work_does_not_block_later_flushes() -> None:
    """`SystemExit` ends the thread; the next item starts another."""
    done: list[int] = []
    threads: list[threading.Thread] = []

    def work(item: int) -> None:
        threads.append(threading.current_thread())
        if item == 0:
            raise SystemExit
        done.append(item)

    queue = WorkQueue("test", work, drop=lambda _: None)
    queue.put(0)
    queue.flush(5.0)
    threads[0].join(5.0)  # pytest warns of the exit before the thread has ended
    queue.put(1)
    assert queue.flush(5.0)
    assert done == [1]
    queue.stop()


def test_what_waits_is_counted_with_what_is_being_worked_on() -> None:
    """By number and weight; the weight of an item in work is not known any more and counts as one."""
    begun, release = threading.Event(), threading.Event()

    def work(_: int) -> None:
        begun.set()
        release.wait(10)

    queue: WorkQueue[int] = WorkQueue("test", work, drop=lambda _: None, weigh=lambda item: item, max_weight=100)
    assert queue.waiting() == (0, 0)
    for item in (5, 7, 9):
        queue.put(item)
    assert begun.wait(10)
    assert queue.waiting() == (3, 17)
    release.set()
    assert queue.flush(10)
    assert queue.waiting() == (0, 0)


def test_what_is_held_waits_for_the_next_item() -> None:
    """A hold waits for the item in work. Neither a flush nor a wake-up works on what is held, and discarding may."""
    begun, release = threading.Event(), threading.Event()
    done: list[int] = []
    dropped: list[int] = []

    def work(item: int) -> None:
        begun.set()
        release.wait(10)
        done.append(item)

    queue: WorkQueue[int] = WorkQueue("test", work, drop=dropped.append, gather=0.01)
    for item in range(3):
        queue.put(item)
    assert begun.wait(10)
    queue.hold(0.01)
    assert queue.waiting() == (3, 1)  # the first is in work still
    release.set()
    queue.hold(10)
    assert (done, queue.waiting()) == ([0], (2, 0))
    queue.wake()
    assert not queue.flush(10)
    assert done == [0]
    queue.put(3)
    assert queue.flush(10)
    assert done == [0, 1, 2, 3]
    queue.hold(10)
    assert queue.flush(0)  # nothing is left
    queue.put(4)
    queue.hold(10)
    queue.resume()
    assert queue.flush(10)
    queue.hold(10)
    queue.discard()
    assert dropped == []
    assert done == [0, 1, 2, 3, 4]


def test_a_part_of_the_work_is_settled_before_it_is_done() -> None:
    """A flush and a hold wait for it; parts are many items, and a failure to settle one stops nothing."""
    parts: list[int] = []
    done: list[int] = []
    release = threading.Event()

    def settle() -> None:
        release.wait(10)
        parts.append(len(done))
        raise ValueError("not settled")

    queue: WorkQueue[int] = WorkQueue("settling", done.append, drop=lambda _: None, settle=settle)
    for item in range(50):
        queue.put(item)
    until(lambda: len(done) > 0)
    assert not queue.flush(0.05)
    queue.hold(0.01)
    assert queue.waiting()[0] > 0
    release.set()
    queue.resume()
    assert queue.flush(10)
    assert queue.waiting() == (0, 0)
    assert parts[-1] == len(done) == 50
    assert len(parts) < 10
    queue.stop()


def test_without_threads_a_flush_settles_its_work() -> None:
    """Each item, as the time of the flush may be over at any of them."""
    done: list[int] = []
    settled: list[int] = []
    queue: WorkQueue[int] = WorkQueue(
        "test", done.append, drop=lambda _: None, settle=lambda: settled.append(len(done))
    )
    with no_new_threads():
        for item in range(3):
            queue.put(item)
        assert queue.flush(5.0)
    assert settled == [1, 2, 3]
    queue.stop()
