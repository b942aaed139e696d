"""The sampler: decides once, at the local root, for every destination; descendants follow.

Where the file has one of OpenTelemetry's usual samplers (a rate, under ``parent_based`` or not) the decision is made
here with the sampler's rate, by the random number that Sentry and OpenTelemetry share. Any other sampler is asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from brain_otel.runtime.guard import guarded
from brain_otel.sampling.context import DEFERRED, SAMPLE_RAND, SENTRY_DECISION, decision_for, is_suppressed, of_trace
from brain_otel.sampling.decision import SamplingDecision, decision_of, sample_rand
from brain_otel.sampling.policy import SamplingPolicy
from brain_otel.traces import local_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanContext, SpanKind
    from opentelemetry.trace.span import TraceState
    from opentelemetry.util.types import Attributes

_RATE = r"(?:TraceIdRatioBased\{(?P<rate>[^{}]*)\}|(?P<on>AlwaysOnSampler)|AlwaysOffSampler)"
_PARENTS = (
    ",remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler"
    ",localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler"
)
_SIMPLE_FORM = re.compile(rf"(?P<parent>ParentBased\{{root:)?{_RATE}(?(parent){_PARENTS}\}})")

Asked = tuple[int, str, "SpanKind | None", "Attributes", "Sequence[Link] | None", "TraceState | None"]
"""What a sampler is asked beside the context."""

_deciding = guarded("deciding what is recorded")


class HeadSampler(Sampler):
    """The configured sampler's rate, the plan's rules and shares, and the caller's decision where there is one."""

    def __init__(self, configured: Sampler, sampling_policy: SamplingPolicy | None = None) -> None:
        self._configured = configured
        self._sampling_policy = sampling_policy if sampling_policy is not None else SamplingPolicy()
        self._rate, self._follows = simple_form_sampler(configured)

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
        """What was decided for the trace, or is now if the span is a local root."""
        if is_suppressed():
            return SamplingResult(Decision.DROP)
        asked = (trace_id, name, kind, attributes, links, trace_state)
        with _deciding:
            parent = otel_trace.get_current_span(parent_context).get_span_context()
            if not parent.is_valid or parent.is_remote:
                return self._decided(parent_context, parent, asked)
            decision = decision_of(parent)
            if decision is not None:
                return self._followed(decision, parent_context, asked)
        return self._configured.should_sample(parent_context, *asked)

    def get_description(self) -> str:
        """The configured sampler's description."""
        return self._configured.get_description()

    def decided_below(self, parent: SpanContext, context: Context) -> SamplingDecision | None:
        """The verdict that a span below ``parent`` follows; None where there is none, or only its name can tell."""
        decision = decision_of(parent)
        if decision is None or parent[2] or self._rate is None or is_suppressed():  # [2]: it is remote
            return None
        if self._sampling_policy.tail:
            trace = local_trace.current(context)
            if trace is not None and trace.root is None and trace.kind == "transaction":
                return None
        return decision

    def _followed(self, decision: SamplingDecision, context: Context | None, asked: Asked) -> SamplingResult:
        """A span inside of this process: as its local root."""
        if self._sampling_policy.tail:
            trace = local_trace.current(context)
            if trace is not None and trace.root is None and trace.kind == "transaction":
                decision = decision.child_decision()  # a local trace of its own ends in a way of its own
        if decision.outcome is Decision.DROP:
            return decision.result()
        if self._rate is None and decision.outcome is Decision.RECORD_AND_SAMPLE:
            result = self._configured.should_sample(context, *asked)  # it may leave out, or add to, a single span
            return SamplingResult(result.decision, result.attributes, decision.state)
        return SamplingResult(decision.outcome, asked[3], decision.state)

    def _decided(self, given: Context | None, parent: SpanContext, asked: Asked) -> SamplingResult:
        """A local root: as it was decided before, or as the caller, a rule or the rate says."""
        context = otel_context.get_current() if given is None else given
        trace_id, attributes = asked[0], asked[3]
        decision = decision_for(trace_id) or self.decide(context, parent, trace_id, attributes)
        if decision is None:
            return self._asked(given, context, parent, asked)
        recorded = None if decision.outcome is Decision.DROP else attributes
        return SamplingResult(decision.outcome, recorded, decision.state)

    @property
    def needs_attributes(self) -> bool:
        """Whether what a root span starts with is asked for, beside its trace id and its caller."""
        return self._rate is None or bool(self._sampling_policy.rules)

    def decide(
        self, context: Context, parent: SpanContext, trace_id: int, attributes: Attributes = None
    ) -> SamplingDecision | None:
        """What becomes of a trace that begins here, called by ``parent`` if that is valid; rate limits count it.

        None where only the configured sampler can tell.
        """
        deferred = parent.is_valid and bool(context.get(DEFERRED))
        rand = self._rand(context, parent, trace_id)
        if self._follows and parent.is_valid and not deferred:
            return self._followed_caller(context, parent, rand, parent.trace_flags.sampled)
        rule = next((each for each in self._sampling_policy.rules if each.matches(attributes or {})), None)
        if rule is not None:
            return self._opened(parent, rand, *rule.ask(rand))
        return self._opened(parent, rand, self._rate) if self._rate is not None else None

    @staticmethod
    def _rand(context: Context, parent: SpanContext, trace_id: int) -> float:
        rand: float | None = of_trace(context, SAMPLE_RAND, trace_id) if parent.is_valid else None
        return sample_rand(trace_id) if rand is None else rand

    def _followed_caller(self, context: Context, parent: SpanContext, rand: float, sampled: bool) -> SamplingDecision:
        """The caller's flag for everyone, but Sentry's own decision for Sentry where there is one."""
        for_sentry = of_trace(context, SENTRY_DECISION, parent.trace_id)
        sentry, excluded, rate = self._sampling_policy.followed(rand)
        return SamplingDecision(
            rand=rand,
            rate=rate if sampled or for_sentry else None,
            sampled=sampled,
            sentry=for_sentry if for_sentry is not None else sampled and sentry,
            excluded=excluded,
            decided_here=False,
            tail=self._sampling_policy.tail,
            entries=_entries(parent),
        )

    def _opened(
        self, parent: SpanContext, rand: float, head: float, granted: float = 1.0, allowed: bool = True
    ) -> SamplingDecision:
        """Our own decision at the rate ``head``, of which a rate limit lets the share ``granted`` pass."""
        sampled, sentry, excluded, rate = self._sampling_policy.shared(rand, head, allowed)
        return SamplingDecision(
            rand=rand,
            rate=rate * granted,
            sampled=sampled,
            sentry=sentry,
            excluded=excluded,
            tail=self._sampling_policy.tail,
            entries=_entries(parent),
        )

    def _asked(self, given: Context | None, context: Context, parent: SpanContext, asked: Asked) -> SamplingResult:
        """An unusual sampler's decision, for all destinations as far as their shares go."""
        rand = self._rand(context, parent, asked[0])
        deferred = parent.is_valid and bool(context.get(DEFERRED))
        if deferred:
            given = otel_trace.set_span_in_context(otel_trace.INVALID_SPAN, context)
        result = self._configured.should_sample(given, *asked)
        sampled = result.decision is Decision.RECORD_AND_SAMPLE
        if parent.is_valid and not deferred:
            decision = self._followed_caller(context, parent, rand, sampled)
        else:
            decision = self._opened(parent, rand, 1.0, allowed=sampled)
        if decision.outcome is Decision.DROP and result.decision is Decision.RECORD_ONLY:
            decision.outcome = result.decision
        if result.trace_state:
            decision.replace_entries(result.trace_state)
        return SamplingResult(decision.outcome, result.attributes, decision.state)


def simple_form_sampler(configured: Sampler) -> tuple[float | None, bool]:
    """The rate of one of OpenTelemetry's usual samplers, None of another one; whether it follows the caller.

    It is read from the description, whose form OpenTelemetry's specification gives.
    """
    found = _SIMPLE_FORM.fullmatch(configured.get_description())
    if found is None:
        return None, False
    rate = 1.0 if found["on"] else float(found["rate"] or 0.0)
    return rate, found["parent"] is not None


def _entries(parent: SpanContext) -> list[tuple[str, str]] | None:
    """The trace state that the caller sent; what a trace that begins here has is nothing."""
    return list(parent.trace_state.items()) if parent.is_valid and parent.trace_state else None
