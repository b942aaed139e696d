"""One sampling decision for OpenTelemetry and Sentry alike, made at the head of a trace.

The decision itself is the sampler's in the configuration file. What is added here is the one case that
OpenTelemetry cannot say: a caller that sent ``sentry-trace`` without a sampling flag *defers* the decision to
this service (https://develop.sentry.dev/sdk/telemetry/traces/#header-sentry-trace).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from brain_otel.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind
    from opentelemetry.trace.span import TraceState
    from opentelemetry.util.types import Attributes

_UNDECIDED = otel_context.create_key("brain_otel.sampling.undecided")


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
    return otel_context.set_value(_UNDECIDED, True, context)


class HeadSampler(Sampler):
    """The configured sampler, which also decides where the caller did not.

    For a span whose remote parent deferred the decision, the configured sampler is asked as if there were no
    parent; the trace id, by which it decides, stays the same.
    """

    def __init__(self, configured: Sampler) -> None:
        self._configured = configured

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The configured sampler's result."""
        if _unrecorded.get():
            return SamplingResult(Decision.DROP)
        with guarded("looking for a deferred sampling decision"):
            if otel_context.get_value(_UNDECIDED, parent_context):
                parent = otel_trace.get_current_span(parent_context).get_span_context()
                if parent.is_remote:
                    parent_context = otel_trace.set_span_in_context(otel_trace.INVALID_SPAN, parent_context)
        return self._configured.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """The configured sampler's description."""
        return self._configured.get_description()
