"""A provider with the sampler and the gate as `setup()` puts them up, and destinations that remember."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from brain_otel.configuration.sections.sampling import RuleSettings, TailSettings
from brain_otel.sampling.decision import SamplingDecision, decision_of
from brain_otel.sampling.head import HeadSampler
from brain_otel.sampling.policy import DestinationRate, SamplingPolicy
from brain_otel.sampling.rules import compiled
from brain_otel.sdk.span_router import SpanRouter


class Remembering(SpanProcessor):
    """A destination that remembers what it was told, in order."""

    def __init__(self) -> None:
        self.started: list[Span] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK gives it
        self.started.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.ended]

    @property
    def trace_ids(self) -> set[int]:
        return {context.trace_id for span in self.ended if (context := span.get_span_context()) is not None}


class SeededIds(RandomIdGenerator):
    """Random trace ids that are the same at every run."""

    def __init__(self, seed: int) -> None:
        import random

        self._random = random.Random(seed)

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) or 1

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) or 1


class Service:
    """A service's tracing: one sampler, one gate, and destinations by name."""

    def __init__(
        self,
        rate: float = 1.0,
        *,
        shares: Mapping[str, float] | None = None,
        pressures: Mapping[str, Callable[[], int]] | None = None,
        rules: Iterable[RuleSettings] = (),
        tail: TailSettings | None = None,
        sampler: Sampler | None = None,
        ids: IdGenerator | None = None,
    ) -> None:
        names = shares if shares is not None else {"sentry": 1.0}
        self.destinations = {name: Remembering() for name in names}
        sampling_policy = SamplingPolicy(
            rules=compiled(tuple(rules), "production"),
            destinations=tuple(
                DestinationRate(name=name, share=share, pressure=(pressures or {}).get(name))
                for name, share in names.items()
            ),
            tail=tail is not None,
        )
        self.sampler = HeadSampler(sampler or ParentBased(TraceIdRatioBased(rate)), sampling_policy)
        self.router = SpanRouter(tuple(self.destinations.items()), tail)
        self.provider = TracerProvider(
            sampler=self.sampler, id_generator=ids or RandomIdGenerator(), shutdown_on_exit=False
        )
        self.provider.add_span_processor(self.router)
        self.tracer = self.provider.get_tracer("test")

    def __getitem__(self, name: str) -> Remembering:
        return self.destinations[name]

    def decision(
        self, trace_id: int = 0, attributes: Mapping[str, Any] | None = None, context: Context | None = None
    ) -> SamplingDecision:
        """Have the head decide for a local root."""
        result = self.sampler.should_sample(context or Context(), trace_id, "root", None, attributes)
        return found(SpanContext(1, 1, is_remote=False, trace_state=result.trace_state))

    def root(self, name: str = "root", context: Context | None = None, **attributes: Any) -> otel_trace.Span:
        return self.tracer.start_span(name, context=context or Context(), attributes=attributes)

    def child(self, parent: otel_trace.Span, name: str = "child", **attributes: Any) -> otel_trace.Span:
        return self.tracer.start_span(
            name, context=otel_trace.set_span_in_context(parent, Context()), attributes=attributes
        )

    @property
    def tail(self) -> Any:
        assert self.router.tail is not None
        return self.router.tail


def found(context: SpanContext) -> SamplingDecision:
    decision = decision_of(context)
    assert decision is not None
    return decision


def decision(span: otel_trace.Span) -> SamplingDecision:
    return found(span.get_span_context())


def caller(trace_id: int, *, sampled: bool) -> Context:
    """Give the context of a caller that sent `traceparent` and nothing else."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    span = SpanContext(trace_id, 0x1234, is_remote=True, trace_flags=flags)
    return otel_trace.set_span_in_context(NonRecordingSpan(span), Context())


def with_rand(rand: float) -> int:
    """Give a trace id whose random number is `rand`, to six digits."""
    return (round(rand * 1_000_000) * (1 << 64) // 1_000_000 + (1 << 40)) | 1 << 127
