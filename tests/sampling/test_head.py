"""Tests of the one sampling decision."""

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from brain_otel.sampling.context import deferred
from brain_otel.sampling.head import HeadSampler

TRACE_ID = 0xABCDEF0123456789ABCDEF0123456789
EMPTY = Context()


def caller(*, sampled: bool = False, remote: bool = True, trace_state: TraceState | None = None) -> Context:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    span = SpanContext(TRACE_ID, 0x1234, is_remote=remote, trace_flags=flags, trace_state=trace_state)
    return otel_trace.set_span_in_context(NonRecordingSpan(span), EMPTY)


def decision(sampler: Sampler, context: Context | None, trace_id: int = TRACE_ID) -> bool:
    return sampler.should_sample(context, trace_id, "name").decision is Decision.RECORD_AND_SAMPLE


def parent_based(root: Sampler) -> HeadSampler:
    return HeadSampler(ParentBased(root))


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("root", [ALWAYS_ON, ALWAYS_OFF])
def test_the_callers_decision_is_followed(root: Sampler, sampled: bool) -> None:
    """Whatever this service would have decided."""
    assert decision(parent_based(root), caller(sampled=sampled)) is sampled


@pytest.mark.parametrize("root", [ALWAYS_ON, ALWAYS_OFF])
def test_this_service_makes_a_deferred_decision(root: Sampler) -> None:
    """By the configured root sampler, not by the unset flag."""
    assert decision(parent_based(root), deferred(caller())) is (root is ALWAYS_ON)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
def test_a_deferred_decision_uses_the_callers_trace_id(rate: float) -> None:
    """All services with the same rate decide the same for a trace."""
    sampler = parent_based(TraceIdRatioBased(rate))
    for trace_id in range(1, 2**64, 2**64 // 37):
        expected = decision(TraceIdRatioBased(rate), EMPTY, trace_id)
        assert decision(sampler, deferred(caller()), trace_id) is expected


def test_a_child_in_this_process_follows_its_parent() -> None:
    """A deferred decision is made once, for the local root."""
    context = deferred(caller(sampled=False, remote=False))
    assert decision(parent_based(ALWAYS_ON), context) is False
    assert decision(parent_based(ALWAYS_OFF), deferred(caller(sampled=True, remote=False))) is True


def test_a_span_keeps_trace_and_parent_of_a_deferring_caller() -> None:
    """Deciding here starts no new trace."""
    provider = TracerProvider(sampler=parent_based(ALWAYS_ON), shutdown_on_exit=False)
    span = provider.get_tracer("test").start_span("root", context=deferred(caller()))
    assert span.is_recording()
    assert span.get_span_context().trace_id == TRACE_ID
    assert getattr(span, "parent").span_id == 0x1234  # noqa: B009  # the API's type has no parent
    with otel_trace.use_span(span, end_on_exit=True):
        child = provider.get_tracer("test").start_span("child")
        assert child.is_recording()
        child.end()


def test_the_configured_sampler_decides_for_a_root_without_a_caller() -> None:
    """With and without a context."""
    for context in (None, EMPTY, otel_context.get_current()):
        assert decision(HeadSampler(ALWAYS_ON), context) is True
        assert decision(HeadSampler(ALWAYS_OFF), context) is False


def test_the_configured_sampler_gets_every_argument() -> None:
    """Name, kind, attributes, links and trace state."""
    seen: list[tuple[object, ...]] = []

    class Recording(Sampler):
        def should_sample(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]  # records
            seen.append((*args, *kwargs.values()))
            return ALWAYS_ON.should_sample(None, TRACE_ID, "name")

        def get_description(self) -> str:
            return "Recording"

    state = TraceState([("vendor", "1")])
    HeadSampler(Recording()).should_sample(EMPTY, 7, "n", otel_trace.SpanKind.SERVER, {"a": 1}, [], state)
    assert seen == [(EMPTY, 7, "n", otel_trace.SpanKind.SERVER, {"a": 1}, [], state)]


def test_the_description_is_the_configured_samplers() -> None:
    """A printed sampler shows what the file says."""
    description = parent_based(TraceIdRatioBased(0.1)).get_description()
    assert description.startswith("ParentBased{root:TraceIdRatioBased{0.1}")
