"""Our trace behind ``get_traceparent()``, ``get_baggage()``, ``trace_propagation_meta()`` and check-ins.

sentry-sdk asks a scope for its propagation context wherever none of its own spans runs. Its hook for other tracers,
``register_external_propagation_context``, is no help: with it ``trace_propagation_meta()`` is empty.
"""

from typing import TYPE_CHECKING, Any

import sentry_sdk
from opentelemetry import trace as otel_trace
from opentelemetry.trace import SpanContext
from sentry_sdk.tracing_utils import Baggage, PropagationContext

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.patch import Original, Patches, replacement
from brain_otel.sampling.decision import is_for_sentry
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace

if TYPE_CHECKING:
    from brain_otel.sentry import dynamic_sampling_context, scopes
else:
    # The first call that asks sentry-sdk for its trace needs them.
    dynamic_sampling_context = late_module("brain_otel.sentry.dynamic_sampling_context")
    scopes = late_module("brain_otel.sentry.scopes")

_patches = Patches()


class OurPropagationContext(PropagationContext):
    """The current span in sentry-sdk's form; the sampling context is made, and frozen, when it is asked for."""

    def __init__(self, span: SpanContext, trace: LocalTrace | None) -> None:
        parent = getattr(otel_trace.get_current_span(), "parent", None)
        super().__init__(
            trace_id=f"{span.trace_id:032x}",
            span_id=f"{span.span_id:016x}",
            parent_span_id=f"{parent.span_id:016x}" if parent is not None else None,
        )
        self._span, self._trace = span, trace

    def to_traceparent(self) -> str:
        """The header ``sentry-trace``, with the decision for Sentry."""
        return f"{self.trace_id}-{self.span_id}-{int(is_for_sentry(self._span))}"

    def get_baggage(self) -> Baggage:
        """The sampling context of the trace."""
        if self.baggage is None:
            trace, made = self._trace, dynamic_sampling_context
            items = (
                made.sampling_context_of(trace)
                if trace is not None
                else made.create_sampling_context(self._span, None)
            )
            self.baggage = Baggage(items, mutable=False)
        return self.baggage


def report_our_traces() -> None:
    """Let every scope name the current span's trace where there is one; otherwise sentry-sdk's."""
    _patches.replace(sentry_sdk.Scope, "get_active_propagation_context", _with_our_trace)


def undo_propagation() -> None:
    """Restore sentry-sdk's method."""
    _patches.undo()


@replacement
def _with_our_trace(original: Original, scope: Any) -> Any:
    with guarded("naming the current trace to sentry-sdk"):
        trace = local_trace.current() or scopes.owner_of(sentry_sdk.get_isolation_scope())
        span = local_trace.current_span_context(trace)
        if span is not None:
            return OurPropagationContext(span, trace)
    return original(scope)
