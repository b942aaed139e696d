"""The collector of spans by local trace, with spans of the SDK."""

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from brain_otel.events.listeners import EventListener, configure_listeners, local_trace_entered
from brain_otel.runtime import guard
from brain_otel.traces import collector as collection
from brain_otel.traces import local_trace
from brain_otel.traces.collector import CollectedTrace, LocalTraceCollector
from brain_otel.traces.local_trace import LocalTrace


class Collector(LocalTraceCollector):
    """Keeps the local traces that it gets; a test can make it refuse some spans."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[CollectedTrace] = []
        self.given_up: list[CollectedTrace] = []
        self.lingered = 0

    def hand_over(self, collected: CollectedTrace) -> None:
        self.done.append(collected)

    def give_up(self, collected: CollectedTrace) -> None:
        self.given_up.append(collected)

    def schedule_sweep(self) -> None:
        self.lingered += 1

    def wants(self, span: object) -> bool:
        return not getattr(span, "name", "").startswith("unwanted")

    @property
    def trees(self) -> list[tuple[str, list[str]]]:
        """Return the name of each root handed over, with the sorted names of its spans."""
        return [
            (each.root.name if each.root else "?", sorted(span.name for span in each.spans)) for each in self.done
        ]

    @property
    def is_empty(self) -> bool:
        """Whether it keeps nothing."""
        return not (self._by_trace or self._by_span or self._lingering or self._buffered)


class Closing(EventListener):
    """Closes local traces in the collector, as a destination does."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def on_trace_end(self, trace: LocalTrace, token: object) -> None:  # noqa: ARG002
        self._collector.close(trace)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    configure_listeners((Closing(made),))
    guard.reraise_failures(True)
    yield made
    guard.reraise_failures(False)
    configure_listeners(())


@pytest.fixture
def tracer(collector: Collector) -> otel_trace.Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(collector)
    return provider.get_tracer("test")


def in_context(context: Context, work: Callable[[], None]) -> None:
    """Run work in a thread with OpenTelemetry's context and nothing else."""

    def attached() -> None:
        token = otel_context.attach(context)
        try:
            work()
        finally:
            otel_context.detach(token)

    thread = threading.Thread(target=attached)
    thread.start()
    thread.join()


def remote_parent() -> Context:
    caller = SpanContext(0xA, 0xB, is_remote=True, trace_flags=TraceFlags(1))
    return otel_trace.set_span_in_context(NonRecordingSpan(caller), Context())


def test_a_request_is_handed_over_once_with_all_its_spans(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """When the root has ended and the code that opened it has left it."""
    with local_trace_entered(LocalTrace(kind="request")):
        root = tracer.start_span("root")
        with otel_trace.use_span(root), tracer.start_as_current_span("a"), tracer.start_as_current_span("b"):
            pass
        root.end()  # as the server's span does after the response
        with otel_trace.use_span(root), tracer.start_as_current_span("background"):
            pass
        assert collector.done == []
    assert collector.trees == [("root", ["a", "b", "background"])]
    assert collector.is_empty


def test_a_remote_parent_does_not_join_two_requests(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """Two requests of one distributed trace are two local traces."""
    for name in ("one", "two"):
        with (
            local_trace_entered(LocalTrace(kind="request")),
            tracer.start_as_current_span(name, context=remote_parent()),
            tracer.start_as_current_span(f"{name}.child"),
        ):
            pass
    assert collector.trees == [("one", ["one.child"]), ("two", ["two.child"])]
    assert {span.root.context.trace_id for span in collector.done if span.root} == {0xA}
    assert collector.is_empty


def test_an_implicit_trace_is_complete_with_its_last_span(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """A script's span is a local trace too."""
    with tracer.start_as_current_span("script"), tracer.start_as_current_span("step"):
        pass
    root = tracer.start_span("root")
    child = tracer.start_span("child", context=otel_trace.set_span_in_context(root))
    grandchild = tracer.start_span("grandchild", context=otel_trace.set_span_in_context(child))
    child.end()
    root.end()
    assert collector.lingered == 1
    grandchild.end()
    assert collector.trees == [("script", ["step"]), ("root", ["child", "grandchild"])]
    assert collector.is_empty


def test_a_late_span_is_awaited_and_joins_its_trace(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """A task that outlives its request within `LINGER` is in the request's transaction."""
    with local_trace_entered(LocalTrace(kind="request")):
        root = tracer.start_span("root")
        late = tracer.start_span("late", context=otel_trace.set_span_in_context(root))
        root.end()
    assert collector.done == []
    pause = collector.sweep()
    assert pause is not None
    assert 0 < pause <= collection.LINGER
    assert collector.done == []
    late.end()
    assert collector.trees == [("root", ["late"])]
    assert collector.sweep() is None
    assert collector.is_empty


def test_a_span_after_the_deadline_starts_a_local_trace(
    collector: Collector, tracer: otel_trace.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `LINGER` the request is handed over as it is, and a later span separately, in the same trace."""
    monkeypatch.setattr(collection, "LINGER", 0.0)
    trace = LocalTrace(kind="request", attributes={"user.id": "u1"}, tags={"tenant": "acme"})
    trace.extras["kept"] = "scope"
    with local_trace_entered(trace):
        root = tracer.start_span("root")
        open_span = tracer.start_span("open", context=otel_trace.set_span_in_context(root))
        root.end()
        context = otel_trace.set_span_in_context(open_span)
    assert collector.sweep() is None
    assert collector.trees == [("root", [])]

    later = tracer.start_span("later", context=context)
    later.end()
    open_span.end()
    assert collector.trees == [("root", []), ("later", [])]
    own = collector.done[1]
    assert own.trace is not trace
    assert own.trace.kind == "implicit"
    assert own.root is not None
    assert own.root.context.trace_id == root.get_span_context().trace_id
    assert own.root.parent is not None
    assert own.root.parent.span_id == open_span.get_span_context().span_id
    assert (own.trace.attributes, own.trace.tags, own.trace.extras) == (trace.attributes, trace.tags, trace.extras)
    assert collector.is_empty


def test_a_second_late_span_joins_the_first(
    collector: Collector, tracer: otel_trace.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spans of a task after its request are one local trace with a tree, not one each."""
    monkeypatch.setattr(collection, "LINGER", 0.0)
    with local_trace_entered(LocalTrace(kind="request")):
        root = tracer.start_span("root")
        opened = tracer.start_span("opened", context=otel_trace.set_span_in_context(root))
        root.end()
    collector.sweep()
    with tracer.start_as_current_span("task", context=otel_trace.set_span_in_context(opened)):
        with tracer.start_as_current_span("query"):
            pass
        with tracer.start_as_current_span("call"):
            pass
    opened.end()
    assert collector.trees == [("root", []), ("task", ["call", "query"])]


def test_an_abandoned_span_does_not_delay_its_request_forever(
    collector: Collector, tracer: otel_trace.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span that never ends is missing, and nothing else."""
    monkeypatch.setattr(collection, "LINGER", 0.0)
    with local_trace_entered(LocalTrace(kind="request")), tracer.start_as_current_span("root"):
        tracer.start_span("abandoned")
        with tracer.start_as_current_span("child"):
            pass
    assert collector.done == []
    collector.sweep()
    assert collector.trees == [("root", ["child"])]
    assert collector.is_empty


def test_a_root_that_never_ends_is_given_up_after_a_day(
    collector: Collector, tracer: otel_trace.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ended spans are counted, nothing stays in memory, and a late end has no effect."""
    root = tracer.start_span("never")
    tracer.start_span("child", context=otel_trace.set_span_in_context(root)).end()
    collector.sweep()
    assert collector.given_up == []
    monkeypatch.setattr(collection, "MAX_AGE", -1.0)
    collector.sweep()
    assert [len(each.spans) for each in collector.given_up] == [1]
    assert collector.is_empty
    root.end()
    assert collector.done == []
    assert collector.is_empty


def test_open_traces_are_bounded(
    collector: Collector, tracer: otel_trace.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound the oldest is given up, and the newer ones continue."""
    monkeypatch.setattr(collection, "MAX_OPEN_TRACES", 3)
    roots = [tracer.start_span(f"root {number}", context=Context()) for number in range(5)]
    assert len(collector.given_up) == 2
    for root in roots:
        root.end()
    assert collector.trees == [(f"root {number}", []) for number in (2, 3, 4)]
    assert collector.is_empty


def test_a_trace_beyond_the_bound_is_handed_over_if_its_root_has_ended(
    collector: Collector, tracer: otel_trace.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only traces without a root are lost."""
    monkeypatch.setattr(collection, "MAX_OPEN_TRACES", 1)
    first = tracer.start_span("first", context=Context())
    tracer.start_span("open", context=otel_trace.set_span_in_context(first))
    first.end()
    tracer.start_span("second", context=Context())
    assert collector.trees == [("first", [])]
    assert collector.given_up == []


def test_spans_of_a_trace_are_bounded_and_the_rest_counted(
    collector: Collector, tracer: otel_trace.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first spans are kept, and always the root."""
    monkeypatch.setattr(collection, "MAX_SPANS_PER_TRACE", 3)
    with tracer.start_as_current_span("root"):
        for number in range(5):
            tracer.start_span(str(number)).end()
    assert collector.trees == [("root", ["0", "1", "2"])]
    assert collector.done[0].dropped == 2
    assert collector.is_empty


def test_spans_in_memory_are_bounded_over_all_traces(
    collector: Collector, tracer: otel_trace.Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound holds over all open traces; a hand-over frees its part."""
    monkeypatch.setattr(collection, "MAX_BUFFERED_SPANS", 2)
    one, two = (tracer.start_span(name, context=Context()) for name in ("one", "two"))
    for root in (one, two, one):
        tracer.start_span("child", context=otel_trace.set_span_in_context(root)).end()
    one.end()
    tracer.start_span("child", context=otel_trace.set_span_in_context(two)).end()
    two.end()
    assert collector.trees == [("one", ["child"]), ("two", ["child", "child"])]
    assert [each.dropped for each in collector.done] == [1, 0]
    assert collector.is_empty


def test_a_thread_with_only_opentelemetrys_context_belongs_to_the_request(
    collector: Collector, tracer: otel_trace.Tracer
) -> None:
    """Either context carries the local trace."""
    trace = LocalTrace(kind="request")
    with local_trace_entered(trace), tracer.start_as_current_span("root"):

        def work() -> None:
            assert local_trace.current() is trace
            with tracer.start_as_current_span("in thread"):
                pass

        in_context(otel_context.get_current(), work)
    assert collector.trees == [("root", ["in thread"])]
    assert collector.is_empty


def test_a_thread_with_only_the_span_belongs_to_the_request(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """A context with the parent span alone is enough while that span is open."""
    with local_trace_entered(LocalTrace(kind="request")), tracer.start_as_current_span("root") as root:
        bare = otel_trace.set_span_in_context(root, Context())

        def work() -> None:
            tracer.start_span("in thread", context=bare).end()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert collector.trees == [("root", ["in thread"])]


def test_a_thread_without_any_context_starts_a_trace(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """Nothing connects it to the request."""
    with local_trace_entered(LocalTrace(kind="request")), tracer.start_as_current_span("root"):
        thread = threading.Thread(target=lambda: tracer.start_span("alone").end())
        thread.start()
        thread.join()
    assert collector.trees == [("alone", []), ("root", [])]
    alone, root = (each.root for each in collector.done)
    assert alone is not None
    assert root is not None
    assert alone.context.trace_id != root.context.trace_id


def test_a_nested_transaction_is_a_local_trace(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """In the same trace, as a child of the span in which it started; it is handed over before its parent."""
    with local_trace_entered(LocalTrace(kind="request")), tracer.start_as_current_span("request") as root:
        with (
            local_trace_entered(local_trace.opened("transaction")),
            tracer.start_as_current_span("task"),
            tracer.start_as_current_span("query"),
        ):
            pass
        with tracer.start_as_current_span("after"):
            pass
    assert collector.trees == [("task", ["query"]), ("request", ["after"])]
    task = collector.done[0].root
    assert task is not None
    assert task.parent is not None
    assert task.parent.span_id == root.get_span_context().span_id
    assert task.context.trace_id == root.get_span_context().trace_id
    assert collector.is_empty


def test_a_trace_that_is_left_first_is_handed_over_at_the_end_of_its_root(
    collector: Collector, tracer: otel_trace.Tracer
) -> None:
    """There is one hand-over."""
    with local_trace_entered(LocalTrace(kind="request")):
        root = tracer.start_span("root")
    assert collector.done == []
    root.end()
    assert collector.trees == [("root", [])]
    assert collector.is_empty


def test_a_trace_whose_root_ends_first_is_handed_over_when_it_is_left(
    collector: Collector, tracer: otel_trace.Tracer
) -> None:
    """Leaving it again hands nothing over."""
    trace = LocalTrace(kind="request")
    with local_trace_entered(trace):
        tracer.start_span("root").end()
        assert collector.done == []
    collector.close(trace)
    assert collector.trees == [("root", [])]


def test_leaving_an_unsampled_trace_does_nothing(collector: Collector) -> None:
    """It has no spans."""
    with local_trace_entered(LocalTrace(kind="request")):
        pass
    assert collector.done == []
    assert collector.is_empty


def test_unwanted_spans_are_not_collected(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """Neither as a root nor as a child, and they keep no trace open."""
    with tracer.start_as_current_span("root"):
        tracer.start_span("unwanted child")
    tracer.start_span("unwanted root", context=Context()).end()
    assert collector.trees == [("root", [])]
    assert collector.is_empty


def test_the_ended_spans_of_an_open_trace_can_be_read(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """An error's trail is made of them."""
    trace = LocalTrace(kind="request")
    assert collector.collected(trace) is None
    with local_trace_entered(trace), tracer.start_as_current_span("root"):
        tracer.start_span("query").end()
        gathered = collector.collected(trace)
        assert gathered is not None
        assert [span.name for span in gathered.spans] == ["query"]
    assert collector.collected(trace) is None


@pytest.mark.parametrize("end", ["shutdown", "force_flush"])
def test_shutdown_hands_over_every_trace_whose_root_has_ended(
    collector: Collector, tracer: otel_trace.Tracer, end: str
) -> None:
    """A trace that still runs stays."""
    waiting = tracer.start_span("waiting", context=Context())
    tracer.start_span("open", context=otel_trace.set_span_in_context(waiting))
    waiting.end()
    running = tracer.start_span("running", context=Context())
    getattr(collector, end)()
    assert collector.trees == [("waiting", [])]
    running.end()
    assert collector.trees == [("waiting", []), ("running", [])]


def test_many_threads_share_one_collector(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """Every trace arrives once and complete."""

    def serve(number: int) -> None:
        for turn in range(40):
            with (
                local_trace_entered(LocalTrace(kind="request")),
                tracer.start_as_current_span(f"{number}.{turn}", context=Context()) as root,
            ):
                assert isinstance(root, Span)
                for _ in range(5):
                    tracer.start_span("child", context=otel_trace.set_span_in_context(root)).end()
                collector.sweep()

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(8)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 30
    assert len(collector.done) == 320
    assert all(len(each.spans) == 5 for each in collector.done)
    assert len({each.root.name for each in collector.done if each.root}) == 320
    assert collector.is_empty


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_empty(collector: Collector, tracer: otel_trace.Tracer) -> None:
    """Open traces belong to the parent, and the child hands over its own."""
    root = tracer.start_span("parent's")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no assertion may leave this branch
        answer = b"failed"
        try:
            is_empty = collector.is_empty
            root.end()
            tracer.start_span("child's", context=Context()).end()
            if is_empty and collector.trees == [("child's", [])]:
                answer = b"clean"
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        assert answers.read() == b"clean"
    os.waitpid(child, 0)
    root.end()
    assert collector.trees == [("parent's", [])]


def test_a_collector_without_references_is_freed() -> None:
    """The fork hook does not keep it."""
    made = Collector()
    reference = weakref.ref(made)
    del made
    gc.collect()
    assert reference() is None
