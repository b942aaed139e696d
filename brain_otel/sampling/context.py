"""What the sampler is told beside the caller's span: by the propagator that read the headers, by an instrumentation.

OpenTelemetry's sampler sees a parent with a flag. It cannot say that a caller sent ``sentry-trace`` without a flag
and so *defers* the decision (https://develop.sentry.dev/sdk/telemetry/traces/#header-sentry-trace), that Sentry's
decision is another one than the flag's, or by which random number the callers before decided.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace.id_generator import IdGenerator

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context

    from brain_otel.sampling.decision import SamplingDecision


DEFERRED = otel_context.create_key("brain_otel.sampling.undecided")


SAMPLE_RAND = otel_context.create_key("brain_otel.sampling.sample_rand")


SENTRY_DECISION = otel_context.create_key("brain_otel.sampling.sentry")


_suppressed: ContextVar[bool] = ContextVar("brain_otel.sampling.unrecorded", default=False)


class suppressed:  # noqa: N801 - a context manager, as a class because it is cheaper
    """While the block lasts, no span is recorded in this context, nor in tasks and threads that get a copy of it."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _suppressed.set(True)

    def __exit__(self, *_: object) -> None:
        _suppressed.reset(self._token)


def is_suppressed() -> bool:
    """Whether no span is recorded here."""
    return _suppressed.get()


def deferred(context: Context) -> Context:
    """A context like ``context`` in which the caller left the sampling decision to us."""
    return otel_context.set_value(DEFERRED, True, context)


def with_sample_rand(context: Context, trace_id: int, text: str | None) -> Context:
    """A context like ``context`` with the random number of a trace; unchanged if ``text`` is none in [0, 1)."""
    try:
        number = float(text or "")
    except ValueError:
        return context
    return otel_context.set_value(SAMPLE_RAND, (trace_id, number), context) if 0.0 <= number < 1.0 else context


def with_sentry_decision(context: Context, trace_id: int, sampled: bool) -> Context:
    """A context like ``context`` whose caller has decided for Sentry, whatever the flag of its span says."""
    return otel_context.set_value(SENTRY_DECISION, (trace_id, sampled), context)


def of_trace(context: Context, key: str, trace_id: int) -> Any:
    """What stands under ``key`` if it was said of this very trace, else None."""
    said = context.get(key)
    return said[1] if isinstance(said, tuple) and said[0] == trace_id else None


# The tracer gives a span its trace id and then asks the sampler. A decision made for an id beforehand has to be found
# by both: the id generator returns that id, and the sampler that decision.
_decided: ContextVar[tuple[int, SamplingDecision] | None] = ContextVar("brain_otel.sampling.decided", default=None)


class decided_as:  # noqa: N801 - a context manager, as a class because it is cheaper
    """While the block lasts, a root span that starts here has ``trace_id`` and is recorded as ``decision`` says."""

    __slots__ = ("_given", "_token")

    def __init__(self, trace_id: int, decision: SamplingDecision) -> None:
        self._given = (trace_id, decision)

    def __enter__(self) -> None:
        self._token: Token[tuple[int, SamplingDecision] | None] = _decided.set(self._given)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        _decided.reset(self._token)


def decision_for(trace_id: int) -> SamplingDecision | None:
    """What was decided for ``trace_id`` beforehand, else None."""
    decided = _decided.get()
    return decided[1] if decided is not None and decided[0] == trace_id else None


class DecidedIds(IdGenerator):
    """The ids of another generator, but for a trace that has been decided on under its id."""

    def __init__(self, inner: IdGenerator) -> None:
        self._inner = inner
        self.generate_span_id = inner.generate_span_id  # type: ignore[method-assign]  # nothing to do for it here

    def generate_span_id(self) -> int:
        """The other's."""
        return self._inner.generate_span_id()

    def generate_trace_id(self) -> int:
        """The decided one, or a new one."""
        decided = _decided.get()
        return self._inner.generate_trace_id() if decided is None else decided[0]

    def is_trace_id_random(self) -> bool:
        """Whether the other's are: https://www.w3.org/TR/trace-context-2/#random-trace-id-flag."""
        return self._inner.is_trace_id_random()
