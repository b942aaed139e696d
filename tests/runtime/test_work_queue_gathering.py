"""Tests of gathering: items arrive before the thread works on all of them, and none waits longer than it must."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider

from brain_otel.runtime import guard, work_queue
from brain_otel.runtime.work_queue import WorkQueue
from brain_otel.traces import collector as collection
from brain_otel.traces.collector import CollectedTrace, span_count
from brain_otel.traces.queued_collector import QueuedCollector
from tests.support.process import SLACK
from tests.support.waiting import until

LONG = 60.0
"""Seconds; no test waits that long."""


class Work:
    """Records items and times; `idle` returns the given pauses."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.moments: list[float] = []
        self.idled = 0

    def __call__(self, item: int) -> None:
        self.done.append(item)
        self.moments.append(time.monotonic())

    def idle(self) -> float | None:
        self.idled += 1
        return None


@contextmanager
def queue_of(work: Work, gather: float, idle: Callable[[], float | None] | None = None) -> Iterator[WorkQueue[int]]:
    queue = WorkQueue[int]("gathering", work, drop=lambda _: None, idle=idle or work.idle, gather=gather)
    try:
        yield queue
    finally:
        queue.stop()


def is_resting(queue: WorkQueue[int]) -> bool:
    return queue._is_resting


def test_items_gather_and_are_worked_on_together() -> None:
    """In order, after the time to gather, without another wake-up."""
    work = Work()
    with queue_of(work, 0.2) as queue:
        queue.wake()
        until(lambda: is_resting(queue))
        began, idled = time.monotonic(), work.idled
        for item in range(50):
            queue.put(item)
            if item == 0:
                threading.Event().wait(0.05)  # until the thread waits for more
            assert not is_resting(queue)  # so it hears of the first alone
        until(lambda: len(work.done) == 50)
        assert work.done == list(range(50))
        assert 0.19 <= work.moments[0] - began < 2.0
        assert work.moments[-1] - work.moments[0] < 0.15
        until(lambda: is_resting(queue))
        assert work.idled == idled + 1


@pytest.mark.parametrize(("bounds", "count"), [({"max_items": 8}, 5), ({"weigh": lambda _: 3, "max_weight": 24}, 5)])
def test_gathering_ends_when_the_queue_is_half_full(bounds: dict[str, Any], count: int) -> None:
    """The thread starts on a burst while there is room for the rest of it."""
    work = Work()
    queue = WorkQueue[int]("bursting", work, drop=lambda _: None, gather=LONG, **bounds)
    try:
        for item in range(count - 1):
            queue.put(item)
        threading.Event().wait(0.05)
        assert work.done == []
        queue.put(count - 1)
        until(lambda: work.done == list(range(count)))
    finally:
        queue.stop()


def test_flush_ends_the_gathering() -> None:
    """Whether the thread gathers or still sleeps; later items gather again."""
    work = Work()
    with queue_of(work, LONG) as queue:
        queue.put(1)
        assert queue.flush(5.0)
        until(lambda: is_resting(queue))
        queue.put(2)
        until(lambda: not is_resting(queue))
        threading.Event().wait(0.05)
        assert work.done == [1]
        assert queue.flush(5.0)
        assert work.done == [1, 2]
        until(lambda: is_resting(queue))
        queue.put(3)
        threading.Event().wait(0.05)
        assert work.done == [1, 2]


def test_items_after_the_flush_of_an_empty_queue_gather() -> None:
    """The flush applies only to items before it."""
    work = Work()
    with queue_of(work, 0.2) as queue:
        queue.wake()
        until(lambda: is_resting(queue))
        idled = work.idled
        assert queue.flush(1.0)
        until(lambda: work.idled > idled and is_resting(queue))
        began = time.monotonic()
        queue.put(1)
        until(lambda: work.done == [1])
        assert work.moments[0] - began >= 0.19


def test_a_wake_during_idle_is_not_lost() -> None:
    """It comes after `idle` has chosen a pause and before the thread waits: `idle` is called again."""
    work = Work()
    asked: list[int] = []
    queue: WorkQueue[int]

    def idle() -> float | None:
        asked.append(len(asked))
        if len(asked) == 2:
            queue.wake()  # as another thread may just now
        return None

    with queue_of(work, 0.0, idle) as queue:
        queue.wake()
        until(lambda: len(asked) == 1 and is_resting(queue))
        queue.wake()
        until(lambda: len(asked) == 3 and is_resting(queue))
        threading.Event().wait(0.02)
        assert len(asked) == 3


def test_stop_ends_the_gathering() -> None:
    """The thread ends at once, and the items are dropped."""
    work, dropped = Work(), list[int]()
    queue = WorkQueue[int]("stopped while gathering", work, drop=dropped.append, gather=LONG)
    queue.put(1)
    until(lambda: queue._thread is not None and queue._thread.is_alive())
    queue.stop()
    until(lambda: not [each for each in threading.enumerate() if each.name == "stopped while gathering"])
    assert (work.done, dropped) == ([], [1])


class Collector(QueuedCollector[CollectedTrace]):
    """A collector that counts the wake-ups of its thread."""

    def __init__(self) -> None:
        self.names: list[str] = []
        super().__init__("collecting", self._work, drop=lambda _: None, weigh=span_count)
        self.wakes = 0
        self._wake = self._queue.wake
        vars(self._queue)["wake"] = self._counted

    def _counted(self) -> None:
        self.wakes += 1
        self._wake()

    def _work(self, collected: CollectedTrace) -> None:
        assert collected.root is not None
        self.names.append(collected.root.name)

    def hand_over(self, collected: CollectedTrace) -> None:
        self._queue.put(collected)


@pytest.fixture
def collector() -> Iterator[Collector]:
    guard.reraise_failures(True)
    made = Collector()
    yield made
    made.shutdown()
    guard.reraise_failures(False)


def tracer_of(collector: Collector) -> otel_trace.Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(collector)
    return provider.get_tracer("test")


def lingering(tracer: otel_trace.Tracer, name: str) -> otel_trace.Span:
    """End a root while one of its spans is open; return that span."""
    root = tracer.start_span(name, context=Context())
    child = tracer.start_span("late", context=otel_trace.set_span_in_context(root))
    root.end()
    return child


def test_many_lingering_traces_wake_the_thread_once(collector: Collector) -> None:
    """Two hundred traces wait for a late span, as many requests do for a moment; the first wakes it."""
    tracer = tracer_of(collector)
    for number in range(200):
        lingering(tracer, str(number)).end()
    assert collector.wakes == 1
    assert collector._queue.flush(5.0)
    assert collector.names == [str(number) for number in range(200)]
    assert collector.wakes == 1


def test_the_thread_sleeps_when_no_trace_lingers(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks once more after the last trace, then sleeps until the next one lingers."""
    monkeypatch.setattr(collection, "LINGER", 0.05)
    tracer = tracer_of(collector)
    lingering(tracer, "first").end()
    until(lambda: not collector._ticks)
    until(lambda: is_resting(collector._queue))  # type: ignore[arg-type]  # whatever it holds
    lingering(tracer, "second").end()
    assert collector.wakes == 2


def test_each_deadline_is_kept(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lingering trace is handed over when it is due, also if it began to linger during a look."""
    monkeypatch.setattr(collection, "LINGER", 0.1)
    tracer = tracer_of(collector)
    for number in range(3):
        began = time.monotonic()
        lingering(tracer, str(number))
        until(lambda number=number: len(collector.names) == number + 1)  # type: ignore[misc]
        assert 0.09 <= time.monotonic() - began < 1.0 + SLACK


@pytest.mark.parametrize("moment", ["before the sweep", "after the sweep"])
def test_a_trace_that_begins_to_linger_during_a_look_is_swept(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """It does not wake the thread, which is looking already, so the thread must find it."""
    monkeypatch.setattr(collection, "LINGER", 0.1)
    tracer = tracer_of(collector)
    collector._ticks = True  # it looks
    sweep = collector.sweep

    def swept(*, everything: bool = False) -> float | None:
        if moment == "before the sweep":
            lingering(tracer, "meanwhile").end()
        due = sweep(everything=everything)
        if moment == "after the sweep":
            lingering(tracer, "meanwhile")
        return due

    monkeypatch.setattr(collector, "sweep", swept)
    assert collector._tick() is not None
    assert collector._ticks
    assert collector.wakes == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_keeps_its_own_deadlines(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the parent's thread, which the child does not have, was looking regularly."""
    monkeypatch.setattr(collection, "LINGER", 0.1)
    tracer = tracer_of(collector)
    lingering(tracer, "parent's")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no assertion may leave this branch
        answer = b"failed"
        try:
            lingering(tracer, "child's")
            until(lambda: collector.names == ["child's"])
            answer = b"kept"
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        assert answers.read() == b"kept"
    os.waitpid(child, 0)


def test_items_of_many_threads_are_worked_on_once_in_their_order() -> None:
    """However they gather."""
    done: list[tuple[int, int]] = []
    queue = WorkQueue[Any]("many", done.append, drop=lambda _: None, gather=0.005)

    def put(thread: int) -> None:
        for number in range(100):
            queue.put((thread, number))
            if number % 10 == 0:
                threading.Event().wait(0.001)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.flush(5.0)
    queue.stop()
    assert len(done) == 400
    for number in range(4):
        assert [item for item in done if item[0] == number] == [(number, each) for each in range(100)]


class SlowWork(Work):
    """Takes longer than a part of the work takes at least."""

    def __call__(self, item: int) -> None:
        super().__call__(item)
        threading.Event().wait(work_queue.SLICE)


def test_the_thread_pauses_between_the_parts_of_gathered_work() -> None:
    """Eight parts, so that it keeps up with any number of items, and no request waits for all of them."""
    work = SlowWork()
    with queue_of(work, 0.2) as queue:
        for item in range(40):
            queue.put(item)
        until(lambda: len(work.done) == 40)
    assert work.done == list(range(40))
    for first in range(5, 40, 5):
        assert work.moments[first] - work.moments[first - 1] >= 0.9 * work_queue.PAUSE


def test_a_part_takes_a_moment_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few quick items are one part: a pause would only delay them."""
    monkeypatch.setattr(work_queue, "SLICE", LONG)
    monkeypatch.setattr(work_queue, "PAUSE", LONG)
    work = Work()
    with queue_of(work, 0.05) as queue:
        for item in range(16):
            queue.put(item)
        until(lambda: len(work.done) == 16)


def test_a_flush_and_a_queue_that_fills_up_end_the_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "PAUSE", LONG)
    work = SlowWork()
    queue = WorkQueue[int]("pausing", work, drop=lambda _: None, gather=0.05, max_items=200)
    try:
        for item in range(16):
            queue.put(item)
        until(lambda: len(work.done) == 2)  # an eighth, then the pause
        threading.Event().wait(0.05)
        assert len(work.done) == 2
        assert queue.flush(5.0)
        assert len(work.done) == 16
        for item in range(16, 24):
            queue.put(item)
        until(lambda: len(work.done) == 17)
        for item in range(24, 130):
            queue.put(item)
        until(lambda: len(work.done) >= 24)
    finally:
        queue.stop()


def test_items_that_arrive_during_the_work_have_gathered_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for the rest of the time alone."""
    late = [0.0]
    monkeypatch.setattr(work_queue, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0]))
    work = Work()
    with queue_of(work, LONG) as queue:

        def arrive(item: int) -> None:
            work(item)
            if item == 0:
                late[0] += LONG
                queue.put(1)

        queue._work = arrive
        queue.put(0)
        until(lambda: queue._is_gathering)
        with queue._changed:
            queue._notify()  # the first has gathered
        until(lambda: work.done == [0, 1])
