"""Tests of the tail: what ended badly is kept although the head said no, and what waits for that is bounded."""

import gc
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Status, StatusCode

import brain_otel
from brain_otel.configuration.sections.sampling import TailSettings
from brain_otel.events.listeners import configure_listeners, local_trace_entered
from brain_otel.runtime import guard
from brain_otel.sampling.decision import KEPT_BY
from brain_otel.sampling.tail_buffer import size_of
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import FailureRecord, LocalTrace
from tests.sampling.chosen import Remembering, Service, decision, with_rand

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def _nothing_is_swallowed() -> Iterator[None]:
    guard.reraise_failures(True)
    yield
    guard.reraise_failures(False)


@pytest.fixture
def keeping() -> Iterator[Any]:
    """Give services whose head says no to everything, and whose tail is on."""
    with ExitStack() as stack:

        def create(rate: float = 0.0, shares: Any = None, **tail: Any) -> Service:
            service = Service(rate, shares=shares, tail=TailSettings(**tail))
            configure_listeners((service.tail,))
            stack.callback(configure_listeners, ())
            stack.callback(service.tail.stop)
            return service

        yield create


def fail(span: otel_trace.Span) -> None:
    span.set_status(Status(StatusCode.ERROR))


def flags(span: ReadableSpan) -> bool:
    context = span.get_span_context()
    assert context is not None
    return context.trace_flags.sampled


def kept_by(span: ReadableSpan) -> Any:
    return (span.attributes or {}).get(KEPT_BY)


class TestWhatIsKept:
    def test_a_trace_that_ends_well_and_in_time_is_dropped(self, keeping: Any) -> None:
        """The buffer is empty again."""
        service = keeping(slower_than=10.0)
        root = service.root()
        assert root.is_recording()
        assert not root.get_span_context().trace_flags.sampled
        service.child(root).end()
        assert (len(service.tail.buffer), service.tail.buffer.spans) == (1, 2)
        root.end()
        assert service["sentry"].started == service["sentry"].ended == []
        assert (len(service.tail.buffer), service.tail.buffer.spans, service.tail.buffer.bytes) == (0, 0, 0)
        assert service.tail.evicted_traces == 0

    def test_a_root_that_fails_is_kept_with_its_earlier_spans(self, keeping: Any) -> None:
        """All are flagged as sampled and arrive in the order of their ends."""
        service = keeping()
        root = service.root(a=1)
        service.child(root, "first").end()
        service.child(root, "second").end()
        fail(root)
        root.end()
        seen = service["sentry"]
        assert seen.names == ["first", "second", "root"]
        assert [span.name for span in seen.started] == ["root", "first", "second"]
        assert all(flags(span) for span in seen.ended)
        assert [kept_by(span) for span in seen.ended] == [None, None, "error"]
        assert (seen.ended[2].attributes or {})["a"] == 1
        assert (len(service.tail.buffer), service.tail.buffer.spans, service.tail.buffer.bytes) == (0, 0, 0)

    def test_a_child_that_fails_keeps_the_trace(self, keeping: Any) -> None:
        """Later spans bypass the buffer; the root has the reason."""
        service = keeping()
        root = service.root()
        service.child(root, "before").end()
        failing = service.child(root, "failing")
        fail(failing)
        failing.end()
        assert service["sentry"].names == ["before", "failing"]
        service.child(root, "after").end()
        root.end()
        assert service["sentry"].names == ["before", "failing", "after", "root"]
        assert kept_by(service["sentry"].ended[3]) == "error"
        assert all(flags(span) for span in service["sentry"].ended)

    def test_a_failure_after_the_root_has_ended_keeps_the_trace(self, keeping: Any) -> None:
        """Such as a background task's; the root is still buffered."""
        service = keeping()
        with local_trace_entered(LocalTrace(kind="request")) as trace:
            root = service.root()
            trace.start(root, None)
            root.end()
            late = service.child(root, "late")
            fail(late)
            late.end()
        assert service["sentry"].names == ["root", "late"]
        assert kept_by(service["sentry"].ended[0]) == "error"

    def test_a_reported_exception_keeps_the_trace(self, keeping: Any) -> None:
        """It was handled, and the root ends well; earlier spans leave the buffer at once."""
        service = keeping()
        with local_trace_entered(LocalTrace(kind="request")) as trace:
            root = service.root()
            trace.start(root, None)
            service.child(root, "before").end()
            brain_otel.capture_exception(ValueError("handled"))
            assert service["sentry"].names == ["before"]
            root.end()
        assert service["sentry"].names == ["before", "root"]
        assert kept_by(service["sentry"].ended[1]) == "error"

    @pytest.mark.parametrize(("event_id", "kept"), [("e" * 32, True), (None, False)])
    def test_an_error_that_another_has_reported_keeps_the_trace(
        self, keeping: Any, event_id: str | None, kept: bool
    ) -> None:
        """Such as a logged one; a failure that is no event does not."""
        service = keeping()
        with local_trace_entered(LocalTrace(kind="request")) as trace:
            root = service.root()
            trace.start(root, None)
            trace.failures.append(FailureRecord(ValueError("logged"), event_id))
            root.end()
        assert service["sentry"].names == (["root"] if kept else [])

    def test_errors_do_not_keep_the_trace_if_only_slow_ones_are_wanted(self, keeping: Any) -> None:
        """By the settings."""
        service = keeping(errors=False, slower_than=10.0)
        with local_trace_entered(LocalTrace(kind="request")) as trace:
            root = service.root()
            trace.start(root, None)
            brain_otel.capture_exception(ValueError("handled"))
            fail(root)
            root.end()
        assert service["sentry"].ended == []

    @pytest.mark.parametrize(("seconds", "kept"), [(1.999, False), (2.001, True)])
    def test_a_trace_that_is_slower_than_the_limit_is_kept(self, keeping: Any, seconds: float, kept: bool) -> None:
        """By the times of its spans."""
        service = keeping(slower_than=2.0)
        root = service.tracer.start_span("root", start_time=5 * SECOND)
        child = service.tracer.start_span("child", otel_trace.set_span_in_context(root), start_time=5 * SECOND)
        child.end(6 * SECOND)
        root.end(5 * SECOND + int(seconds * SECOND))
        assert service["sentry"].names == (["child", "root"] if kept else [])
        if kept:
            assert kept_by(service["sentry"].ended[1]) == "slow"

    def test_a_job_inside_of_another_is_judged_alone(self, keeping: Any) -> None:
        """A worker runs for days; its jobs are not slow for that."""
        service = keeping()
        worker = service.root("worker")
        context = otel_trace.set_span_in_context(worker)
        for fails in (False, True):
            with local_trace_entered(local_trace.opened("transaction")) as job:
                span = service.tracer.start_span(f"job {fails}", context)
                job.start(span, context)
                assert decision(span) is not decision(worker)
                if fails:
                    fail(span)
                span.end()
        assert service["sentry"].names == ["job True"]
        worker.end()
        assert service["sentry"].names == ["job True"]

    def test_concurrent_traces_do_not_mix(self, keeping: Any) -> None:
        """Only the one that fails is kept."""
        service = keeping()
        good, bad = service.root("good"), service.root("bad")
        for each in (good, bad):
            service.child(each, "child of " + each.name).end()
        fail(bad)
        bad.end()
        good.end()
        assert service["sentry"].names == ["child of bad", "bad"]


class TestWithTheHead:
    def test_a_trace_that_the_head_keeps_is_not_buffered(self, keeping: Any) -> None:
        """Its root has the reason all the same."""
        service = keeping(1.0)
        root = service.root()
        service.child(root).end()
        assert service["sentry"].names == ["child"]
        assert len(service.tail.buffer) == 0
        fail(root)
        root.end()
        assert kept_by(service["sentry"].ended[1]) == "error"
        assert decision(root).keep_reason == "error"
        quiet = service.root()
        quiet.end()
        assert kept_by(service["sentry"].ended[2]) is None
        assert decision(quiet).keep_reason is None

    def test_only_excluded_destinations_get_buffered_spans(self, keeping: Any) -> None:
        """The console got each span when it ended, and gets none twice."""
        service = keeping(1.0, shares={"console": 1.0, "sentry": 0.0})
        root = service.root()
        service.child(root).end()
        assert (service["console"].names, service["sentry"].names) == (["child"], [])
        fail(root)
        root.end()
        assert service["console"].names == service["sentry"].names == ["child", "root"]
        assert len(service["console"].started) == len(service["sentry"].started) == 2

    def test_headers_have_the_heads_decision(self, keeping: Any) -> None:
        """A called service decides by itself which of its local traces ended badly."""
        service = keeping()
        root = service.root()
        assert (decision(root).sampled, decision(root).sentry) == (False, False)
        assert decision(service.child(root)) is decision(root)


class TestBounds:
    def test_too_many_traces_evict_the_oldest(self, keeping: Any, caplog: Any) -> None:
        """It is counted, and logged once."""
        service = keeping(max_traces=3)
        roots = [service.root(f"root {number}") for number in range(5)]
        assert (len(service.tail.buffer), service.tail.buffer.spans) == (3, 3)
        assert (service.tail.evicted_traces, service.tail.evicted_spans) == (2, 2)
        assert len([each for each in caplog.records if "max_traces" in each.message]) == 1
        for each in roots:
            each.end()
        assert service["sentry"].ended == []
        assert len(service.tail.buffer) == 0

    def test_a_trace_that_takes_a_quarter_of_the_room_is_evicted_first(self, keeping: Any) -> None:
        """Older and small ones stay."""
        service = keeping(max_spans=40)
        small = [service.root() for _ in range(30)]
        big = service.root()
        spans = [service.child(big) for _ in range(15)]
        assert decision(big).is_evicted
        assert not any(decision(each).is_evicted for each in small)
        assert service.tail.buffer.spans == 30
        for each in (*spans, big, *small):
            each.end()
        assert service.tail.buffer.spans == 0

    def test_bytes_are_bounded(self, keeping: Any) -> None:
        """Attributes count, whether they were set at the start or later."""
        service = keeping(max_bytes=100_000)
        for number in range(50):
            root = service.root(text="x" * 4_000)
            late = service.child(root)
            late.set_attribute("text", "y" * 4_000)
            late.end()
            assert service.tail.buffer.bytes <= 100_000, number
        assert 0 < len(service.tail.buffer) < 10

    @pytest.mark.parametrize("bounds", [{"max_bytes": 1}, {"max_spans": 1}, {"max_traces": 1}])
    def test_tiny_bounds_lose_no_root_that_fails(self, keeping: Any, bounds: Any) -> None:
        """Nothing is raised."""
        service = keeping(**bounds)
        for number in range(3):
            root = service.root(f"root {number}")
            service.child(root).end()
            fail(root)
            root.end()
        assert [name for name in service["sentry"].names if name != "child"] == ["root 0", "root 1", "root 2"]
        assert (len(service.tail.buffer), service.tail.buffer.spans, service.tail.buffer.bytes) == (0, 0, 0)

    def test_an_evicted_trace_is_kept_when_it_fails(self, keeping: Any) -> None:
        """Its earlier spans are lost; its root and later spans arrive, each once."""
        service = keeping(max_traces=1)
        with local_trace_entered(LocalTrace(kind="request")) as trace:
            root = service.root()
            trace.start(root, None)
            service.child(root, "lost").end()
            service.root("crowds it out")
            assert decision(root).is_evicted
            failing = service.child(root, "failing")
            fail(failing)
            failing.end()
            service.child(root, "after").end()
            root.end()
        seen = service["sentry"]
        assert seen.names == ["failing", "after", "root"]
        assert [span.name for span in seen.started] == ["root", "failing", "after"]
        assert seen.started[0] is root

    def test_an_evicted_trace_is_kept_when_an_error_is_reported(self, keeping: Any) -> None:
        """By the helper, long after."""
        service = keeping(max_traces=1)
        with local_trace_entered(LocalTrace(kind="request")) as trace:
            root = service.root()
            trace.start(root, None)
            service.root("crowds it out")
            brain_otel.capture_exception(ValueError("handled"))
            root.end()
        assert service["sentry"].names == ["root"]
        assert [span.name for span in service["sentry"].started] == ["root"]

    def test_a_trace_that_waits_too_long_is_evicted(self, keeping: Any) -> None:
        """Even without traffic."""
        service = keeping(max_age=0.05)
        root = service.root()
        deadline = time.monotonic() + 10.0
        while len(service.tail.buffer) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (len(service.tail.buffer), service.tail.evicted_traces) == (0, 1)
        fail(root)
        root.end()
        assert service["sentry"].names == ["root"]

    def test_a_trace_that_waits_only_for_late_spans_is_not_counted_as_evicted(self, keeping: Any) -> None:
        """Its root has ended well, and a span that never ends is dropped with it."""
        service = keeping(max_age=0.05)
        root = service.root()
        service.child(root, "abandoned")
        root.end()
        deadline = time.monotonic() + 10.0
        while len(service.tail.buffer) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (len(service.tail.buffer), service.tail.evicted_traces) == (0, 0)

    def test_the_size_of_a_span_has_all_its_texts(self) -> None:
        """In attributes, events and links."""
        service = Service(tail=TailSettings())
        root = service.root()
        sizes = [size_of(root)]  # type: ignore[arg-type]  # the SDK's span is one
        root.set_attribute("a", "x" * 1_000)
        sizes.append(size_of(root))  # type: ignore[arg-type]  # as above
        root.add_event("event", {"a": ["x" * 1_000]})
        sizes.append(size_of(root))  # type: ignore[arg-type]  # as above
        root.add_link(root.get_span_context(), {"a": "x" * 1_000})
        sizes.append(size_of(root))  # type: ignore[arg-type]  # as above
        root.end()
        assert all(later - earlier > 1_000 for earlier, later in pairwise(sizes))
        service.tail.stop()


LOCAL_TRACES = 10_000


@pytest.mark.thorough
def test_ten_thousand_local_traces_with_abandoned_spans_stay_in_bounds(keeping: Any) -> None:
    """All are open at once, on several threads, with spans that never end; the estimate covers the memory."""
    bound = 8_000_000
    service = keeping(max_bytes=bound, max_traces=4_000, max_spans=8_000)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        highest = 0
        roots: list[otel_trace.Span] = []

        def open_some(first: int) -> list[otel_trace.Span]:
            opened = []
            for number in range(first, first + 100):
                root = service.root(f"root {number}", path=f"/missions/{number}")
                service.child(root, "ended", statement="SELECT " + "x" * 50).end()
                service.child(root, "abandoned", statement="SELECT " + "y" * 50)
                opened.append(root)
            return opened

        with ThreadPoolExecutor(4) as threads:
            for opened in threads.map(open_some, range(0, LOCAL_TRACES, 100)):
                roots += opened
                with service.tail._lock:  # a thread that holds it evicts after it has added
                    assert len(service.tail.buffer) <= 4_000
                    assert service.tail.buffer.spans <= 8_000
                    highest = max(highest, service.tail.buffer.bytes)
        assert len(roots) == LOCAL_TRACES
        held = service.tail.buffer.bytes
        assert 0 < held <= highest <= bound
        # What the test itself holds, the roots, is not the tail's; it is measured with nothing waiting.
        gc.collect()
        with_tail = tracemalloc.get_traced_memory()[0] - before
        service.tail.stop()
        gc.collect()
        without = tracemalloc.get_traced_memory()[0] - before
        assert with_tail - without <= held
    finally:
        tracemalloc.stop()


@pytest.mark.thorough
def test_no_error_among_ten_thousand_is_lost(keeping: Any) -> None:
    """All are open at once, within bounds that hold a tenth of them; each root that fails arrives."""
    service = keeping(max_traces=1_000, max_spans=3_000)
    roots = []
    for number in range(LOCAL_TRACES):
        root = service.root(f"root {number}")
        service.child(root, "abandoned")
        roots.append(root)
    assert len(service.tail.buffer) <= 1_000
    failed = set(range(0, LOCAL_TRACES, 10))

    def end(numbers: range) -> None:
        for number in numbers:
            if number in failed:
                fail(roots[number])
            roots[number].end()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(end, (range(first, LOCAL_TRACES, 4) for first in range(4))))
    seen = service["sentry"]
    assert sorted(seen.names) == sorted(f"root {number}" for number in failed)
    assert {kept_by(span) for span in seen.ended} == {"error"}
    started = [span.get_span_context().span_id for span in seen.started if span.name != "abandoned"]
    assert len(set(started)) == len(started) == len(failed)


def test_threads_that_end_spans_of_one_trace_lose_none(keeping: Any) -> None:
    """Spans that end while the buffer is handed over follow it; each arrives once."""

    class Slow(Remembering):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            time.sleep(0.001)
            super().on_start(span, parent_context)

    service = keeping()
    service.destinations["sentry"] = slow = Slow()
    service.router._destinations, service.router._processors = (("sentry", slow),), (slow,)
    root = service.root()
    spans = [service.child(root, f"child {number}") for number in range(50)]
    fail(spans[0])
    ready = threading.Barrier(4)

    def end(mine: list[otel_trace.Span]) -> None:
        ready.wait()
        for each in mine:
            each.end()

    threads = [threading.Thread(target=end, args=(spans[first::4],)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    root.end()
    assert sorted(slow.names) == sorted(["root", *(f"child {number}" for number in range(50))])
    assert len(slow.started) == 51


def test_a_forked_child_starts_empty(keeping: Any) -> None:
    """The buffered spans are the parent's, and another thread may have held its lock."""
    service = keeping()
    service.root()
    assert len(service.tail.buffer) == 1
    with service.tail._lock:
        pid = os.fork()
        if pid == 0:
            try:
                ours = service.root()
                fail(ours)
                ours.end()
                os._exit(0 if service["sentry"].names == ["root"] and len(service.tail.buffer) == 0 else 1)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(service.tail.buffer) == 1


def test_a_kept_trace_keeps_its_random_number(keeping: Any) -> None:
    """Keeping it does not change the head's decision."""
    service = keeping(0.5)
    decided = service.decision(with_rand(0.9))
    assert (decided.rand, decided.rate, decided.sentry) == (0.9, 0.5, False)
