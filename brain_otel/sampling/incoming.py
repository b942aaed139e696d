"""What the sampler is told beside the caller's span: by the propagator that read the headers, by an instrumentation.

OpenTelemetry's sampler sees a parent with a flag. It cannot say that a caller sent ``sentry-trace`` without a flag
and so *defers* the decision (https://develop.sentry.dev/sdk/telemetry/traces/#header-sentry-trace), that Sentry's
decision is another one than the flag's, or by which random number the callers before decided.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

if TYPE_CHECKING:
    from opentelemetry.context import Context

UNDECIDED = otel_context.create_key("brain_otel.sampling.undecided")
SAMPLE_RAND = otel_context.create_key("brain_otel.sampling.sample_rand")
SENTRY_DECISION = otel_context.create_key("brain_otel.sampling.sentry")

_unrecorded: ContextVar[bool] = ContextVar("brain_otel.sampling.unrecorded", default=False)


class unrecorded:  # noqa: N801 - a context manager, as a class because it is cheaper
    """While the block lasts, no span is recorded in this context, nor in tasks and threads that get a copy of it."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _unrecorded.set(True)

    def __exit__(self, *_: object) -> None:
        _unrecorded.reset(self._token)


def is_unrecorded() -> bool:
    """Whether no span is recorded here."""
    return _unrecorded.get()


def undecided(context: Context) -> Context:
    """A context like ``context`` in which the caller left the sampling decision to us."""
    return otel_context.set_value(UNDECIDED, True, context)


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
