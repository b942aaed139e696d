"""What was decided for a trace at its head in this process, and where it is kept.

OpenTelemetry gives a sampler one thing to leave on a span: its trace state, which every descendant's span context
shares, recorded or not. So the verdict travels on that object. There is no table of open traces to look things up
in, to guard with a lock, or to clear; the header ``tracestate`` is written as if nothing were there.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import NonRecordingSpan
from opentelemetry.trace.span import TraceState

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

SENTRY = frozenset({"sentry", "sentry_otlp"})
"""The destinations that get what the header ``sentry-trace`` decides."""

NOBODY: frozenset[str] = frozenset()

KEPT_BY = "brain_otel.sampling.kept_by"
"""The attribute of a local root that ended in a way that is always kept: ``error`` or ``slow``."""

_LOW_64_BITS = (1 << 64) - 1


class SamplingDecision:
    """One local trace's. What the head decided does not change; what is learnt on the way does."""

    __slots__ = (
        "_entries",
        "_state",
        "decided_here",
        "excluded",
        "given_up",
        "keep_reason",
        "outcome",
        "rand",
        "rate",
        "recipients",
        "root_id",
        "sampled",
        "sentry",
        "started",
    )

    def __init__(
        self,
        *,
        rand: float,
        rate: float | None,
        sampled: bool,
        sentry: bool,
        excluded: frozenset[str] = NOBODY,
        decided_here: bool = True,
        tail: bool = False,
        entries: list[tuple[str, str]] | None = None,
    ) -> None:
        self.rand = rand
        self.rate = rate
        """The share of all such traces that Sentry gets; None where a caller decided that it gets none."""
        self.sampled = sampled
        """What ``traceparent`` says: that somebody records the trace."""
        self.sentry = sentry
        """What ``sentry-trace`` says."""
        self.excluded = excluded
        """The destinations other than Sentry that do not get the trace although it is recorded."""
        self.decided_here = decided_here
        self.outcome = (
            Decision.RECORD_AND_SAMPLE if sampled else Decision.RECORD_ONLY if sentry or tail else Decision.DROP
        )
        self._entries = entries
        self._state: weakref.ref[DecisionState] | None = None
        self.keep_reason: str | None = None
        """Why the tail keeps the local trace, whatever the head said; None as long as there is no reason."""
        self.given_up = False
        """The tail holds nothing of it any more: there was no room, or it took too long."""
        self.recipients: tuple[object, tuple[Any, ...]] | None = None
        """Whoever hands spans on, and those to whom it does by what the head decided, once it has looked."""
        self.root_id = 0
        self.started = 0
        """The local root's start in nanoseconds, once it has been seen."""

    @property
    def state(self) -> DecisionState:
        """The trace state with this verdict on it, which the spans hold: held here too, it would be a cycle."""
        state = self._state() if self._state is not None else None
        if state is None:
            state = DecisionState(self, self._entries)
            self._state = weakref.ref(state)
        return state

    def reaches(self, name: str) -> bool:
        """Whether the head lets the destination ``name`` have the trace."""
        return self.sentry if name in SENTRY else self.sampled and name not in self.excluded

    def child_decision(self) -> SamplingDecision:
        """The same decision for a local trace that is opened inside of this one."""
        made = SamplingDecision(
            rand=self.rand,
            rate=self.rate,
            sampled=self.sampled,
            sentry=self.sentry,
            excluded=self.excluded,
            decided_here=self.decided_here,
            entries=self._entries,
        )
        made.outcome, made.keep_reason = self.outcome, self.keep_reason
        return made

    def replace_entries(self, entries: TraceState) -> None:
        """Have the trace state that a sampler wants to have."""
        self._entries, self._state = list(entries.items()), None

    def result(self) -> SamplingResult:
        """The sampler's answer where nothing is recorded."""
        return SamplingResult(self.outcome, None, self.state)


class DecisionState(TraceState):
    """The trace state that came along, with the verdict on it."""

    def __init__(self, decision: SamplingDecision, entries: list[tuple[str, str]] | None) -> None:
        super().__init__(entries)
        self.decision = decision


def decision_of(span: SpanContext | None) -> SamplingDecision | None:
    """What was decided for the trace of ``span`` here; None for a remote span, or another sampler's."""
    state = span[4] if span is not None else None  # its trace state: the property is a call, for every span
    return state.decision if type(state) is DecisionState else None


def is_dropped(span: Span) -> bool:
    """Whether ``span`` is one of this process's that is not recorded, so that no descendant of it is."""
    if type(span) is not NonRecordingSpan:
        return False
    decision = decision_of(span.get_span_context())
    return decision is not None and decision.outcome is Decision.DROP


def is_for_sentry(span: SpanContext) -> bool:
    """Whether Sentry gets the trace of ``span`` by the head's decision."""
    decision = decision_of(span)
    return span.trace_flags.sampled if decision is None else decision.sentry


def sample_rand(trace_id: int) -> float:
    """The random number in [0, 1) by which a trace is sampled, to six digits, never rounded up.

    OpenTelemetry's ``TraceIdRatioBased`` keeps a trace whose lower 64 bits are below the rate's share of 2**64. Six
    digits are what Sentry's baggage holds, so who reads them there decides by the same number.
    """
    return ((trace_id & _LOW_64_BITS) * 1_000_000 >> 64) / 1_000_000  # in integers: as a float the highest would be 1
