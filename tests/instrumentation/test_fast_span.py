"""Tests of spans that are made without OpenTelemetry's tracer: they are what it would have made, field by field."""

from __future__ import annotations

import threading
from collections import deque
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import (
    Event,
    ReadableSpan,
    Span,
    SpanLimits,
    SpanProcessor,
    Tracer,
    TracerProvider,
    _disable_tracer_configurator,
)
from opentelemetry.sdk.trace import _Span as SdkSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from brain_otel.events.listeners import local_trace_entered
from brain_otel.instrumentation import fast_span
from brain_otel.instrumentation.fast_span import (
    FastSpan,
    set_new_attribute,
    start_decided_span,
    start_fast_span,
)
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.sampling.context import DecidedIds, suppressed
from brain_otel.sampling.decision import decision_of
from brain_otel.sampling.head import HeadSampler
from brain_otel.sampling.policy import SamplingPolicy
from brain_otel.sentry.flat_spans import _flat_fields, flat
from brain_otel.traces.local_trace import LocalTrace
from brain_otel.traces.plain_span import PlainSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATTRIBUTES: Any = {"text": "a", "number": 7, "share": 0.5, "yes": True}


@pytest.fixture(autouse=True)
def _fast(_fast_paths: None) -> None:
    """Look at the fast path, whatever the environment says."""
    configure_fast_paths(True)


class CountedIds(IdGenerator):
    """The same ids each time."""

    def __init__(self) -> None:
        self.next: Iterator[int] = count(1)

    def generate_span_id(self) -> int:
        return next(self.next)

    def generate_trace_id(self) -> int:
        return 0xFEDCBA98_76543210_FEDCBA98_76543210

    def is_trace_id_random(self) -> bool:
        return True


class Heard(SpanProcessor):
    """What a processor is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        current = parent_context if parent_context is not None else otel_context.get_current()
        self.told.append(("start", (span.name, span.is_recording(), repr(current))))

    def _on_ending(self, span: Span) -> None:
        self.told.append(("ending", span.name))

    def on_end(self, span: ReadableSpan) -> None:
        self.told.append(("end", span.name))
        self.ended.append(span)


class Bench:
    """A provider with one tracer, ids that are the same each time, and what its processor heard."""

    def __init__(self, sampler: Sampler | None = None, limits: SpanLimits | None = None, **more: Any) -> None:
        self.heard = Heard()
        self.sampler = sampler or HeadSampler(ParentBased(ALWAYS_ON))
        self.ids = CountedIds()
        self.provider = TracerProvider(
            sampler=self.sampler,
            id_generator=DecidedIds(self.ids),
            span_limits=limits,
            shutdown_on_exit=False,
            **more,
        )
        self.provider.add_span_processor(self.heard)
        self.tracer = self.provider.get_tracer("lib", "1.2", "https://schema.test")


def by_us(bench: Bench, context: Context, attributes: Any = None) -> Any:
    return start_fast_span(bench.tracer, "GET", SpanKind.CLIENT, dict(attributes or ATTRIBUTES), context)


def by_the_sdk(bench: Bench, context: Context, attributes: Any = None) -> Any:
    given = attributes or ATTRIBUTES
    return bench.tracer.start_span("GET", context=context, kind=SpanKind.CLIENT, attributes=given)


def inside(bench: Bench, caller: SpanContext | None = None) -> Context:
    """The context of a span of this process, below ``caller`` if there is one."""
    around = Context() if caller is None else set_span_in_context(NonRecordingSpan(caller), Context())
    return set_span_in_context(bench.tracer.start_span("root", context=around), Context({"other": "value"}))


def described(span: Any) -> dict[str, Any]:
    """All fields of a span; of times, and of what each bench has one of its own, the kind."""
    found = {name: content(value) for name, value in vars(span).items()}
    for name, limit in (("_events", "max_events"), ("_links", "max_links")):
        empty = content(BoundedList(getattr(vars(span)["_limits"], limit))) if "_limits" in vars(span) else ()
        found[name] = found.get(name, empty)
    for name in ("_start_time", "_end_time", "_span_processor", "_sampler", "_resource", "_instrumentation_info"):
        found[name] = type(vars(span).get(name))
    assert span.resource is vars(span)["_resource"]
    return found


def content(value: Any) -> Any:
    """What a lock, a list or an object of the SDK's holds, to be compared."""
    if isinstance(value, type(threading.Lock())):
        return "lock"
    if isinstance(value, deque):
        return [content(each) for each in value], value.maxlen
    if isinstance(value, MappingProxyType):
        return dict(value)
    if isinstance(value, (BoundedAttributes, BoundedList, Event, Link, SpanLimits, Status)):
        return {name: content(each) for name, each in vars(value).items()}
    return value


SAMPLERS: dict[str, Callable[[], HeadSampler]] = {
    "sampled": lambda: HeadSampler(ParentBased(ALWAYS_ON)),
    "held for the tail": lambda: HeadSampler(ParentBased(TraceIdRatioBased(0.0)), SamplingPolicy(tail=True)),
}

REMOTE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
RANDOM = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED | 2))


@pytest.mark.parametrize("caller", [None, REMOTE, RANDOM], ids=["no caller", "caller", "random caller"])
@pytest.mark.parametrize(
    "limits", [None, SpanLimits(max_span_attributes=4, max_events=2, max_links=1)], ids=["no limits", "limits"]
)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_span_is_what_the_sdk_would_have_made(
    caller: SpanContext | None, limits: SpanLimits | None, sampler: str
) -> None:
    """All fields are equal at the start and at the end, and so are the processor's calls."""
    benches = [Bench(SAMPLERS[sampler](), limits) for _ in range(2)]
    spans = [start(bench, inside(bench, caller)) for bench, start in zip(benches, (by_us, by_the_sdk), strict=True)]
    assert type(spans[0]) is FastSpan
    ours, theirs = map(described, spans)
    assert ours == theirs
    for span in spans:
        use(span)
    ours, theirs = (described(bench.heard.ended[0]) for bench in benches)
    assert ours == theirs
    assert benches[0].heard.told == benches[1].heard.told
    assert len(benches[0].heard.told) == 4


def use(span: Any) -> None:
    """Do with a span what an application may do."""
    span.set_attribute("text", "b")
    span.set_attributes({"list": ["a", "b"], "more": 1})
    for number in range(3):
        span.add_event(f"event {number}", {"key": number}, timestamp=number)
        span.add_link(SpanContext(1, 2 + number, is_remote=True), {"key": number})
    span.set_status(Status(StatusCode.ERROR, "no"))
    span.update_name("GET /a")
    assert span.is_recording()
    span.end(end_time=9)
    assert not span.is_recording()


def test_a_span_without_events_and_links_reads_the_same() -> None:
    """Its lists of events and links do not exist."""
    benches = [Bench(), Bench()]
    for bench, start in zip(benches, (by_us, by_the_sdk), strict=True):
        start(bench, inside(bench), {"text": "a", "number": 7}).end()
    ours, theirs = (bench.heard.ended[0] for bench in benches)
    names = "events links dropped_events dropped_links dropped_attributes attributes status kind parent context"
    for name in names.split():
        assert content(getattr(ours, name)) == content(getattr(theirs, name)), name
    assert type(ours) is PlainSpan
    assert (ours.start_time, ours.end_time) == (vars(ours)["_start_time"], vars(ours)["_end_time"])
    assert flat(ours) == _flat_fields(ours) is not None


@pytest.mark.parametrize("span_id", [0, 1, 2**64 - 1, 2**64])
def test_an_id_is_valid_if_the_sdk_says_so(span_id: int) -> None:
    """An application may use an id generator of its own."""
    contexts = []
    for start in (by_us, by_the_sdk):
        bench = Bench()
        context = inside(bench)
        bench.ids.next = iter([span_id])
        contexts.append(start(bench, context).get_span_context())
    assert tuple(contexts[0]) == tuple(contexts[1])
    assert contexts[0].is_valid == contexts[1].is_valid == (span_id in (1, 2**64 - 1))


def test_a_root_with_a_decision_is_what_the_sdk_would_have_made() -> None:
    """It has no caller; the generator says whether its trace id is random."""
    ours, theirs = Bench(), Bench()
    made = theirs.tracer.start_span("GET", context=Context(), kind=SpanKind.SERVER, attributes=ATTRIBUTES)
    assert isinstance(ours.sampler, HeadSampler)
    trace_id = CountedIds().generate_trace_id()
    nobody = otel_trace.INVALID_SPAN_CONTEXT
    decision = ours.sampler.decide(Context(), nobody, trace_id)
    assert decision is not None
    kind = SpanKind.SERVER
    started = start_decided_span(ours.tracer, "GET", kind, dict(ATTRIBUTES), Context(), nobody, trace_id, decision)
    assert described(started) == described(made)


def test_the_sdks_own_metrics_count_fast_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """If they are on: https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/."""
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    counted = []
    for start in (by_us, by_the_sdk):
        reader = InMemoryMetricReader()
        bench = Bench(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
        context = inside(bench)
        start(bench, context).end()
        open_span = start(bench, context)
        data: Any = reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        counted.append({m.name: [(p.value, dict(p.attributes)) for p in m.data.data_points] for m in metrics})
        open_span.end()
    assert counted[0] == counted[1]
    assert counted[0]


class Odd(str):
    """A text of a class of its own."""


UNUSUAL: dict[str, Callable[[], Bench]] = {
    "another sampler": lambda: Bench(ParentBased(ALWAYS_ON)),
    "a sampler that is asked for each span": lambda: Bench(HeadSampler(Unusual())),
    "values are cut": lambda: Bench(limits=SpanLimits(max_span_attribute_length=1)),
    "more attributes than may be": lambda: Bench(limits=SpanLimits(max_span_attributes=3)),
}


class Unusual(Sampler):
    """None of the SDK's."""

    def should_sample(self, *args: Any, **kwargs: Any) -> Any:
        return ALWAYS_ON.should_sample(*args, **kwargs)

    def get_description(self) -> str:
        return "unusual"


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_arguments_are_left_to_the_tracer(name: str) -> None:
    bench = UNUSUAL[name]()
    span = by_us(bench, inside(bench))
    assert isinstance(span, Span)
    assert type(span) is not FastSpan
    other = UNUSUAL[name]()
    assert described(span) == described(by_the_sdk(other, inside(other)))


@pytest.mark.parametrize(
    "value", [["a"], Odd("a"), None, b"a", {"a": 1}, object()], ids=lambda value: type(value).__name__
)
def test_an_attribute_that_is_no_plain_value_is_left_to_the_tracer(value: object) -> None:
    bench, other = Bench(), Bench()
    span = by_us(bench, inside(bench), {"odd": value})
    assert type(span) is not FastSpan
    assert span.attributes.keys() == by_the_sdk(other, inside(other), {"odd": value}).attributes.keys()


def test_attributes_that_are_said_to_be_simple_are_not_looked_at() -> None:
    """An instrumentation that has made them itself knows their types."""
    bench = Bench()
    span = start_fast_span(bench.tracer, "GET", SpanKind.CLIENT, {"odd": Odd("a")}, inside(bench), are_simple=True)
    assert type(span) is FastSpan
    limited = Bench(limits=SpanLimits(max_span_attributes=1))
    given = dict(ATTRIBUTES)
    left = start_fast_span(limited.tracer, "GET", SpanKind.CLIENT, given, inside(limited), are_simple=True)
    assert type(left) is not FastSpan


def test_a_local_root_is_left_to_the_tracer() -> None:
    """Without a current span, or below a remote caller, the sampler decides."""
    for context in (Context(), set_span_in_context(NonRecordingSpan(REMOTE), Context())):
        assert type(by_us(Bench(), context)) is not FastSpan


def test_a_remote_parent_with_our_own_decision_is_a_caller() -> None:
    """A worker may get the context of the span that queued its job."""
    bench = Bench()
    span = otel_trace.get_current_span(inside(bench)).get_span_context()
    sent = SpanContext(span.trace_id, span.span_id, True, span.trace_flags, span.trace_state)
    assert type(by_us(bench, set_span_in_context(NonRecordingSpan(sent), Context()))) is not FastSpan


def test_a_child_of_an_unrecorded_span_is_not_recorded() -> None:
    bench = Bench(HeadSampler(ParentBased(TraceIdRatioBased(0.0))))
    assert isinstance(by_us(bench, inside(bench)), NonRecordingSpan)


def test_nothing_is_recorded_where_tracing_is_off() -> None:
    """Within a health check, and by a tracer that is off."""
    bench = Bench()
    context = inside(bench)
    with suppressed():
        assert isinstance(by_us(bench, context), NonRecordingSpan)
    bench.provider._set_tracer_configurator(tracer_configurator=_disable_tracer_configurator)
    assert isinstance(by_us(bench, context), NonRecordingSpan)


def test_an_sdk_whose_spans_have_another_field_creates_them_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields of its spans are compared with those that the fast path writes."""
    assert fast_span._IS_KNOWN
    before = SdkSpan.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        before(self, *args, **kwargs)
        self._more = 1

    monkeypatch.setattr(SdkSpan, "__init__", init)
    assert not fast_span._is_known()
    monkeypatch.setattr(fast_span, "_IS_KNOWN", False)
    bench = Bench()
    assert vars(by_us(bench, inside(bench)))["_more"] == 1


def test_a_tracer_of_another_class_creates_its_own_spans() -> None:
    class Other(Tracer):
        pass

    bench = Bench()
    bench.tracer.__class__ = Other
    assert type(by_us(bench, inside(bench))) is not FastSpan


@pytest.mark.parametrize("limit", [None, 5], ids=["no limit", "full"])
def test_set_new_attribute_is_set_attribute(limit: int | None, caplog: pytest.LogCaptureFixture) -> None:
    """A new key, a known one, one that does not fit, a value that is not plain, and a span that has ended."""
    found = []
    for start, set_one in ((by_us, set_new_attribute), (by_the_sdk, lambda span, *given: span.set_attribute(*given))):
        bench = Bench(limits=SpanLimits(max_span_attributes=limit) if limit else None)
        span = start(bench, inside(bench))
        for key, value in (("new", 1), ("text", "again"), ("newer", 2), ("list", ["a"])):
            set_one(span, key, value)
        span.end()
        set_one(span, "late", 1)
        ended = bench.heard.ended[0]
        found.append((list((ended.attributes or {}).items()), ended.dropped_attributes))
    assert found[0] == found[1]
    assert [each.getMessage() for each in caplog.records].count("Setting attribute on ended span.") == 2


def test_threads_that_write_to_one_span_lose_nothing() -> None:
    """The first of them creates the list."""
    for _ in range(50):
        bench = Bench()
        span = by_us(bench, inside(bench))
        ready = threading.Barrier(4)

        def write(span: Any = span, ready: threading.Barrier = ready) -> None:
            ready.wait()
            span.add_event("event")
            span.add_link(REMOTE)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(span.events), len(span.links)) == (4, 4)


def test_a_nested_transaction_with_a_tail_is_left_to_the_sampler() -> None:
    """It can fail by itself, so it gets a decision of its own."""
    sampler = HeadSampler(ParentBased(ALWAYS_ON), SamplingPolicy(tail=True))
    bench = Bench(sampler)
    span = by_us(bench, inside(bench))
    assert type(span) is FastSpan
    assert span.get_span_context().trace_state is sampler.state_below(span.get_span_context(), Context())
    with local_trace_entered(LocalTrace(kind="transaction")):
        inner = by_us(bench, set_span_in_context(span))
    assert type(inner) is not FastSpan
    assert decision_of(inner.get_span_context()) is not decision_of(span.get_span_context())
