"""What the head knows besides the caller's span: from the propagator that read the headers, or an instrumentation.

OpenTelemetry's sampler sees a parent with a flag. The flag cannot express that a caller sent ``sentry-trace`` without
a flag and so *defers* the decision (https://develop.sentry.dev/sdk/telemetry/traces/#header-sentry-trace), that
Sentry's decision differs from it, or which random number the callers used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Span, SpanContext

from brain_otel.runtime.context import holding
from brain_otel.runtime.quiet import is_looking
from brain_otel.sampling.decision import SamplingDecision

DEFERRED = otel_context.create_key("brain_otel.sampling.deferred")

SAMPLE_RAND = otel_context.create_key("brain_otel.sampling.sample_rand")

SENTRY_DECISION = otel_context.create_key("brain_otel.sampling.sentry")

CALLER = otel_context.create_key("brain_otel.sampling.caller")
"""The span of a caller whose trace is not continued: the next root span links to it."""

_suppressed: ContextVar[bool] = ContextVar("brain_otel.sampling.suppressed", default=False)


def suppressed() -> holding[bool]:
    """Records no span in the block, nor in tasks and threads that get a copy of its context."""
    return holding(_suppressed, True)


def is_suppressed() -> bool:
    """Whether no span is recorded in the current context."""
    return _suppressed.get() or is_looking()


def started_anew(context: Context, caller: SpanContext, baggage: Mapping[str, object]) -> Context:
    """A context like ``context``, in which the next span is the root of a new trace and links to ``caller``.

    Members of the caller's ``baggage`` stay for the application, without Sentry's.
    """
    context = otel_baggage.clear(context)
    for name, value in baggage.items():
        if not name.startswith("sentry-"):
            context = otel_baggage.set_baggage(name, value, context)
    if otel_trace.get_current_span(context).get_span_context().is_remote:
        context = otel_trace.set_span_in_context(otel_trace.INVALID_SPAN, context)
    return otel_context.set_value(CALLER, caller, context) if caller.is_valid and caller.is_remote else context


def link_caller(span: Span, context: Context | None) -> None:
    """Link ``span``, if it is a root, to the caller whose trace it does not continue."""
    caller = context.get(CALLER) if context is not None else None
    if caller is not None and getattr(span, "parent", None) is None:
        span.add_link(caller)  # type: ignore[arg-type]  # `started_anew` has put it there


def deferred(context: Context) -> Context:
    """``context``, in which the caller leaves the sampling decision to us."""
    return otel_context.set_value(DEFERRED, True, context)


def with_sample_rand(context: Context, trace_id: int, text: str | None) -> Context:
    """``context`` with the random number of a trace; unchanged if ``text`` is not a number in [0, 1)."""
    try:
        number = float(text or "")
    except ValueError:
        return context
    return otel_context.set_value(SAMPLE_RAND, (trace_id, number), context) if 0.0 <= number < 1.0 else context


def with_sentry_decision(context: Context, trace_id: int, sampled: bool) -> Context:
    """``context`` with the caller's decision for Sentry, which overrides the flag of its span."""
    return otel_context.set_value(SENTRY_DECISION, (trace_id, sampled), context)


def value_for_trace(context: Context, key: str, trace_id: int) -> Any:
    """The value under ``key`` if it belongs to this trace, else None."""
    value = context.get(key)
    return value[1] if isinstance(value, tuple) and value[0] == trace_id else None


# The tracer generates a trace id and then asks the sampler. For a decision made before, the id generator returns the
# decided id, and the sampler finds the decision by it.
_decided: ContextVar[tuple[int, SamplingDecision] | None] = ContextVar("brain_otel.sampling.decided", default=None)


def decided_as(trace_id: int, decision: SamplingDecision) -> holding[tuple[int, SamplingDecision] | None]:
    """Gives a root span that starts in the block the id ``trace_id``, and records it as ``decision`` says."""
    return holding(_decided, (trace_id, decision))


def decision_for(trace_id: int) -> SamplingDecision | None:
    """The decision that :func:`decided_as` holds for ``trace_id``, else None."""
    decided = _decided.get()
    return decided[1] if decided is not None and decided[0] == trace_id else None


class DecidedIds(IdGenerator):
    """Wraps another id generator, and returns the trace id that :func:`decided_as` holds if there is one."""

    def __init__(self, inner: IdGenerator) -> None:
        self._inner = inner
        self.generate_span_id = inner.generate_span_id  # type: ignore[method-assign]  # saves one call a span

    def generate_span_id(self) -> int:
        """The other generator's; the instance attribute of this name replaces this method."""
        return self._inner.generate_span_id()

    def generate_trace_id(self) -> int:
        """The decided id, else a new one."""
        decided = _decided.get()
        return self._inner.generate_trace_id() if decided is None else decided[0]

    def is_trace_id_random(self) -> bool:
        """Whether the other's are: https://www.w3.org/TR/trace-context-2/#random-trace-id-flag."""
        return self._inner.is_trace_id_random()
