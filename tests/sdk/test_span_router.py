"""What a destination gets of a span that the head has not sampled."""

from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from brain_otel.sampling.decision import KEPT_BY
from brain_otel.sdk.span_router import SentSpan
from brain_otel.traces.conventions import raw_attributes


class Unsampled(Sampler):
    """Records every span and samples none."""

    def should_sample(self, *_args: Any, **_kwargs: Any) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "unsampled"


def ended(**attributes: Any) -> Any:
    provider = TracerProvider(sampler=Unsampled(), shutdown_on_exit=False)
    link = Link(SpanContext(1, 2, is_remote=True))
    span: Any = provider.get_tracer("test").start_span("work", links=[link])
    span.set_attributes(attributes)
    span.add_event("event")
    span.set_status(Status(StatusCode.ERROR, "no"))
    span.end()
    return span


def test_a_sent_span_is_the_span_with_a_flag() -> None:
    """Its context is sampled, by the public names and by `_context`; everything else is equal."""
    span = ended(a=1)
    sent: Any = SentSpan(span)
    assert not span.context.trace_flags.sampled
    assert sent.context.trace_flags.sampled
    assert sent.get_span_context() is sent.context is sent._context
    names = ("name", "kind", "parent", "status", "events", "links", "resource", "start_time", "end_time")
    for name in (*names, "attributes", "dropped_attributes", "dropped_events", "instrumentation_scope"):
        assert getattr(sent, name) == getattr(span, name), name
    assert sent.context[:3] == span.context[:3]


def test_a_sent_span_tells_why_it_was_kept() -> None:
    """In an attribute, by the public name and by `_attributes`; the original has none."""
    span = ended(a=1)
    sent = SentSpan(span, "error")
    assert sent.attributes == {"a": 1, KEPT_BY: "error"} == raw_attributes(sent)
    assert KEPT_BY not in span.attributes
