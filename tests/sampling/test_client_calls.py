"""Tests of what stays of a client's span: the server that it names, recorded or not."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.span import NonRecordingSpan, SpanContext, TraceState
from opentelemetry.util.types import AttributeValue

from brain_otel.sampling.client_calls import ClientCallSampler, call_of
from brain_otel.sampling.decision import decision_of

SAMPLERS: dict[str, Sampler] = {
    "recorded": ParentBased(ALWAYS_ON),
    "dropped": ParentBased(TraceIdRatioBased(0.0)),
}

ATTRIBUTES: dict[str, AttributeValue] = {
    "url.full": "http://pay.internal/x",
    "http.request.method": "GET",
    "server.port": 80,
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_client_says_which_server_it_calls(name: str) -> None:
    """Its parent and its children do not."""
    tracer = TracerProvider(sampler=ClientCallSampler(SAMPLERS[name]), shutdown_on_exit=False).get_tracer("t")
    root = tracer.start_span("root")
    call = tracer.start_span("call", set_span_in_context(root), SpanKind.CLIENT, ATTRIBUTES)
    below = tracer.start_span("below", set_span_in_context(call))
    sent = tracer.start_span("sent", set_span_in_context(root), SpanKind.PRODUCER, ATTRIBUTES)
    contexts = [each.get_span_context() for each in (root, call, below, sent)]
    server = {"url.full": "http://pay.internal/x", "server.port": 80}
    assert [call_of(each) for each in contexts] == [None, server, None, None]
    assert len({id(decision_of(each)) for each in contexts}) == 1
    assert decision_of(contexts[0]) is not None
    assert call.is_recording() is (name == "recorded")


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_client_that_is_a_root_says_it_too(name: str) -> None:
    tracer = TracerProvider(sampler=ClientCallSampler(SAMPLERS[name]), shutdown_on_exit=False).get_tracer("t")
    span = tracer.start_span("call", kind=SpanKind.CLIENT)
    assert call_of(span.get_span_context()) == {}
    assert decision_of(span.get_span_context()) is not None


def test_where_another_sampler_has_decided_its_trace_state_stays() -> None:
    """A local parent without a decision of ours, as another tracer provider makes it."""
    parent = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "b")]))
    result = ClientCallSampler(ParentBased(ALWAYS_ON)).should_sample(
        set_span_in_context(NonRecordingSpan(parent)), 1, "call", SpanKind.CLIENT, ATTRIBUTES
    )
    span = SpanContext(1, 3, is_remote=False, trace_state=result.trace_state)
    assert (call_of(span) or {})["server.port"] == 80
    assert decision_of(span) is None
    assert list((result.trace_state or {}).items()) == [("a", "b")]
