"""Tests of calls that may hang, and of the threads that run them."""

import contextvars
import logging
import os
import threading
import time
from collections.abc import Iterator

import pytest

from brain_otel.runtime import thread_pool
from brain_otel.runtime.guard import forget_logged_places
from brain_otel.runtime.thread_pool import ThreadPool, side_by_side
from tests.support.process import SLACK
from tests.support.threads import no_new_threads

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Calls that wait for it return when the test ends."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> ThreadPool:
    """A pool without threads in the place of the process's."""
    pool = ThreadPool("brain_otel.test")
    monkeypatch.setattr(thread_pool, "_pool", pool)
    monkeypatch.setattr(thread_pool, "STARTS_THREADS_AT_EXIT", False)
    return pool


def test_calls_run_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """A call that raises is logged and fails; a call that returns None succeeds."""
    forget_logged_places()

    def fail(_seconds: float) -> bool:
        raise RuntimeError("no")

    meeting = threading.Barrier(2)
    assert side_by_side([("meeting", lambda _: meeting.wait(20) >= 0)] * 2, 20.0)
    assert not side_by_side([("failing", fail), ("working", lambda _: True)], 2.0)
    assert not side_by_side([("returning False", lambda _: False)], 2.0)
    assert side_by_side([], 2.0)
    (line,) = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert "failing" in line


def test_the_wait_is_bounded(gate: threading.Event) -> None:
    started = time.monotonic()
    assert not side_by_side([("hanging", lambda _: gate.wait(20))], 0.2)
    assert not side_by_side([("hanging", lambda _: gate.wait(20))], 0.1, grace=0.1)
    assert 0.4 <= time.monotonic() - started < 2.0 + SLACK


def test_a_thread_is_used_again_in_a_new_context() -> None:
    """Nothing of the call before is left on it."""
    pool = ThreadPool("brain_otel.test")
    found: list[tuple[int, str | None]] = []

    def run() -> None:
        found.append((threading.get_ident(), NAME.get(None)))
        NAME.set("before")

    for number in range(3):
        assert pool.start(run)
        while len(found) <= number or not pool._idle:
            time.sleep(0.001)
    assert len({ident for ident, _ in found}) == 1
    assert {name for _, name in found} == {None}


def test_prepared_threads_make_the_calls_at_exit(gate: threading.Event, pool: ThreadPool) -> None:
    """A call that hangs does not take the time of the others."""
    pool.prepare(2)
    done = threading.Event()
    with no_new_threads():
        started = time.monotonic()
        assert not side_by_side([("hanging", lambda _: gate.wait(20)), ("working", lambda _: done.set())], 0.3)
        assert time.monotonic() - started < 1.0 + SLACK
    assert done.is_set()


def test_without_threads_each_call_gets_its_share_of_the_time(pool: ThreadPool) -> None:
    """One after the other, on the calling thread."""
    shares: list[float] = []
    threads: set[int] = set()

    def take_all(seconds: float) -> None:
        threads.add(threading.get_ident())
        shares.append(seconds)
        time.sleep(seconds)

    with no_new_threads():
        started = time.monotonic()
        assert side_by_side([("working", take_all)] * 3, 0.6)
        assert time.monotonic() - started < 1.5 + SLACK
    assert threads == {threading.get_ident()}
    assert 0.0 < shares[0] < 0.21
    assert sum(shares) < 0.65


def test_a_forked_child_prepares_threads_of_its_own(pool: ThreadPool) -> None:
    pool.prepare(1)
    child = os.fork()
    if child == 0:  # no assertion may leave this branch
        try:
            done = threading.Event()
            with no_new_threads():
                started = pool.start(done.set)
            os._exit(0 if started and done.wait(5) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
