"""The sampling decision for a local trace, and the object on which it travels.

The one thing that OpenTelemetry lets a sampler put on a span is its trace state, which the contexts of all
descendants share, recorded or not. The decision is an attribute of that object, so no table of open traces needs a
lock or a clean-up. The header ``tracestate`` does not show it.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.trace.span import TraceState

from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.sampling.trace_context import LevelTwoState

SENTRY_DESTINATIONS = frozenset({"sentry", "sentry_otlp"})
"""The header ``sentry-trace`` decides what these destinations get."""

NO_DESTINATIONS: frozenset[str] = frozenset()

KEPT_BY = "brain_otel.sampling.kept_by"
"""Attribute of a local root that the tail has kept: ``error`` or ``slow``."""

_LOW_64_BITS = (1 << 64) - 1


class Grant(NamedTuple):
    """The answer to one more trace."""

    rate: float
    """The trace is recorded if its random number is below this rate, and it is allowed."""
    share: float = 1.0
    """The share of the traces below the rate that the bound of a rule allows."""
    allowed: bool = True


class SamplingDecision:
    """The decision for one local trace: what the head has decided, and what the tail adds."""

    __slots__ = (
        "_entries",
        "_state",
        "decided_here",
        "excluded",
        "is_evicted",
        "keep_reason",
        "outcome",
        "rand",
        "rate",
        "recipients",
        "root_id",
        "root_start",
        "sampled",
        "sentry",
    )

    def __init__(
        self,
        *,
        rand: float,
        rate: float | None,
        sampled: bool,
        sentry: bool,
        excluded: frozenset[str] = NO_DESTINATIONS,
        decided_here: bool = True,
        tail: bool = False,
        entries: list[tuple[str, str]] | None = None,
    ) -> None:
        self.rand = rand
        self.rate = rate
        """Share of all such traces that Sentry gets; None if a caller decided that it gets none."""
        self.sampled = sampled
        """The flag of ``traceparent``: whether any service records the trace."""
        self.sentry = sentry
        """The flag of ``sentry-trace``."""
        self.excluded = excluded
        """Destinations other than Sentry that do not get the trace although it is recorded."""
        self.decided_here = decided_here
        self.outcome = (
            Decision.RECORD_AND_SAMPLE if sampled else Decision.RECORD_ONLY if sentry or tail else Decision.DROP
        )
        self._entries = entries
        self._state: weakref.ref[DecisionState] | None = None
        self.keep_reason: str | None = None
        """Why the tail keeps the local trace although the head excluded destinations; None if it does not, so far."""
        self.is_evicted = False
        """Whether the tail has dropped the buffered spans, for lack of room or of time."""
        self.recipients: tuple[object, tuple[Any, ...]] | None = None
        """Cache of a span router: the router, and the processors that get the trace."""
        self.root_id = 0
        self.root_start = 0
        """Start of the local root in nanoseconds; 0 until it has started."""

    @property
    def state(self) -> DecisionState:
        """The trace state that holds this decision. Weak: spans own it, and a strong reference would form a cycle."""
        state = self._state() if self._state is not None else None
        if state is None:
            state = DecisionState(self, self._entries)
            self._state = weakref.ref(state)
        return state

    def reaches(self, name: str) -> bool:
        """Whether the head sends the trace to the destination ``name``."""
        return self.sentry if name in SENTRY_DESTINATIONS else self.sampled and name not in self.excluded

    def child_decision(self) -> SamplingDecision:
        """A copy for a local trace that is opened inside of this one; the tail keeps or drops it on its own."""
        child = copy.copy(self)
        child._state, child.is_evicted = None, False
        child.root_id = child.root_start = 0
        return child

    def set_trace_state(self, entries: TraceState) -> None:
        """Use the trace state of another sampler's result."""
        self._entries, self._state = list(entries.items()), None

    def result(self) -> SamplingResult:
        """The sampler's result for a span that is not recorded."""
        return SamplingResult(self.outcome, None, self.state)


class DecisionState(LevelTwoState):
    """The caller's trace state, with our decision as an attribute; None if another sampler decided."""

    call: Mapping[str, Any] | None = None
    """What the span of a client says about its server, see ``sampling/client_calls.py``; None for other spans."""

    def __init__(self, decision: SamplingDecision | None, entries: list[tuple[str, str]] | None) -> None:
        super().__init__(entries)
        self.decision = decision


def decision_of(span: SpanContext | None) -> SamplingDecision | None:
    """The decision for the trace of ``span``; None for a remote span, or if another sampler decided."""
    state = span[4] if span is not None else None  # the trace state; its property would cost a call for every span
    return state.decision if type(state) is DecisionState else None


def decision_of_state(state: TraceState | None) -> SamplingDecision | None:
    """The decision that a trace state holds."""
    return state.decision if type(state) is DecisionState else None


class DroppedSpan(NonRecordingSpan):
    """A span that this process has decided not to record: its class alone says so."""


def is_dropped(span: object) -> bool:
    """Whether this process has decided not to record ``span``, and so none of its descendants."""
    if type(span) is DroppedSpan:
        return True
    if type(span) is not NonRecordingSpan:
        return False
    decision = decision_of(span.get_span_context())
    return decision is not None and decision.outcome is Decision.DROP


def is_for_sentry(span: SpanContext) -> bool:
    """Whether the head sends the trace of ``span`` to Sentry."""
    decision = decision_of(span)
    return span.trace_flags.sampled if decision is None else decision.sentry


def sample_rand(trace_id: int) -> float:
    """The random number of a trace in [0, 1), to six digits, rounded down.

    OpenTelemetry's ``TraceIdRatioBased`` samples a trace whose lower 64 bits are below the rate's share of 2**64.
    Sentry's baggage holds six digits, so a service that reads them there makes the same decision.
    """
    return ((trace_id & _LOW_64_BITS) * 1_000_000 >> 64) / 1_000_000  # integers: a float would round the highest to 1
