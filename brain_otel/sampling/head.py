"""The sampler: decides once, at the local root, which destinations get a trace; its descendants follow.

If the configuration file has one of OpenTelemetry's own samplers (a rate, under ``parent_based`` or not), this one
decides with that rate and the random number that Sentry and OpenTelemetry share. It asks any other sampler.
"""

from collections.abc import Sequence

from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from brain_otel.runtime.context import get_current
from brain_otel.runtime.guard import guarded
from brain_otel.sampling.context import (
    DEFERRED,
    SAMPLE_RAND,
    SENTRY_DECISION,
    decision_for,
    is_suppressed,
    value_for_trace,
)
from brain_otel.sampling.decision import DecisionState, Grant, SamplingDecision, decision_of, sample_rand
from brain_otel.sampling.policy import SamplingPolicy
from brain_otel.traces import local_trace

_ROOT, _RATE = "ParentBased{root:", "TraceIdRatioBased{"
_PARENTS = (
    ",remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler"
    ",localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}"
)

Arguments = tuple[int, str, "SpanKind | None", "Attributes", "Sequence[Link] | None", "TraceState | None"]
"""The arguments of ``should_sample`` after the context."""

_DROP = Decision.DROP

_deciding = guarded("making a sampling decision")


class HeadSampler(Sampler):
    """Applies the configured sampler's rate, the policy's rules and shares, and a caller's decision."""

    def __init__(self, configured: Sampler, policy: SamplingPolicy | None = None) -> None:
        self._configured = configured
        self._policy = policy if policy is not None else SamplingPolicy()
        self._rate, self._follows_caller = simple_form_sampler(configured)
        self._grant = Grant(self._rate) if self._rate is not None else None
        self.needs_attributes = self._rate is None or bool(self._policy.rules)
        """Whether the decision for a local root depends on its attributes at the start."""

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
        """The decision for the trace; made now if the span is a local root."""
        if is_suppressed():
            return SamplingResult(Decision.DROP)
        arguments = (trace_id, name, kind, attributes, links, trace_state)
        with _deciding:
            parent = otel_trace.get_current_span(parent_context).get_span_context()
            if not parent.is_valid or parent.is_remote:
                return self._result_for_root(parent_context, parent, arguments)
            decision = decision_of(parent)
            if decision is not None:
                return self._result_for_child(decision, parent_context, arguments)
        return self._configured.should_sample(parent_context, *arguments)

    def get_description(self) -> str:
        """The configured sampler's description."""
        return self._configured.get_description()

    def state_below(self, parent: SpanContext, context: Context) -> DecisionState | None:
        """The trace state of a recorded child of ``parent``; None if only :meth:`should_sample` can tell."""
        _, _, is_remote, _, state, _ = parent
        if type(state) is not DecisionState or is_remote or self._rate is None or is_suppressed():
            return None
        decision = state.decision
        if decision is None or decision.outcome is _DROP:
            return None
        if self._policy.tail and self._starts_transaction(context):
            return None
        return state if state.call is None else decision.state

    def decide(
        self, context: Context, parent: SpanContext, trace_id: int, attributes: Attributes = None
    ) -> SamplingDecision | None:
        """Make the decision for a trace that begins here; rate limits count it.

        Args:
            context: Where the trace begins.
            parent: The caller's span; not valid if there is none.
            trace_id: The trace's id.
            attributes: The local root's attributes, for the rules.

        Returns:
            None if only the configured sampler can tell.
        """
        has_caller = parent[5]  # it is valid; a property would cost a call for every request
        rand = self._rand(context, parent, trace_id) if has_caller else sample_rand(trace_id)
        if self._follows_caller and has_caller and not context.get(DEFERRED):
            return self._caller_decision(context, parent, rand, parent.trace_flags.sampled)
        for rule in self._policy.rules:
            if rule.matches(attributes or {}):
                return self._own_decision(parent, rand, rule.ask(rand))
        return self._own_decision(parent, rand, self._grant) if self._grant is not None else None

    def _starts_transaction(self, context: Context | None) -> bool:
        """Whether the next span opens a transaction that the tail keeps or drops by itself."""
        if not self._policy.tail:
            return False
        trace = local_trace.current(context)
        return trace is not None and trace.root is None and trace.kind == "transaction"

    def _result_for_child(
        self, decision: SamplingDecision, context: Context | None, arguments: Arguments
    ) -> SamplingResult:
        """The result for a span whose local root has ``decision``."""
        if self._starts_transaction(context):
            decision = decision.child_decision()
        if decision.outcome is Decision.DROP:
            return decision.result()
        if self._rate is None and decision.outcome is Decision.RECORD_AND_SAMPLE:
            result = self._configured.should_sample(context, *arguments)  # may drop, or add to, a single span
            return SamplingResult(result.decision, result.attributes, decision.state)
        return SamplingResult(decision.outcome, arguments[3], decision.state)

    def _result_for_root(self, given: Context | None, parent: SpanContext, arguments: Arguments) -> SamplingResult:
        context = get_current() if given is None else given
        trace_id, attributes = arguments[0], arguments[3]
        decision = decision_for(trace_id) or self.decide(context, parent, trace_id, attributes)
        if decision is None:
            return self._configured_result(given, context, parent, arguments)
        recorded = None if decision.outcome is Decision.DROP else attributes
        return SamplingResult(decision.outcome, recorded, decision.state)

    @staticmethod
    def _rand(context: Context, parent: SpanContext, trace_id: int) -> float:
        rand: float | None = value_for_trace(context, SAMPLE_RAND, trace_id) if parent[5] else None
        return sample_rand(trace_id) if rand is None else rand

    def _caller_decision(self, context: Context, parent: SpanContext, rand: float, sampled: bool) -> SamplingDecision:
        """The caller's flag for all destinations, except Sentry if the caller has decided for Sentry."""
        for_sentry = value_for_trace(context, SENTRY_DECISION, parent.trace_id)
        recipients = self._policy.recipients_below(rand, sampled)
        return SamplingDecision(
            rand=rand,
            rate=recipients.sentry_rate if sampled or for_sentry else None,
            sampled=sampled,
            sentry=for_sentry if for_sentry is not None else recipients.sentry,
            excluded=recipients.excluded,
            decided_here=False,
            tail=self._policy.tail,
            entries=_entries(parent),
        )

    def _own_decision(self, parent: SpanContext, rand: float, grant: Grant) -> SamplingDecision:
        recipients = self._policy.recipients(rand, grant.rate, grant.allowed)
        return SamplingDecision(
            rand=rand,
            rate=recipients.sentry_rate * grant.share,
            sampled=recipients.sampled,
            sentry=recipients.sentry,
            excluded=recipients.excluded,
            tail=self._policy.tail,
            entries=_entries(parent) if parent[5] else None,
        )

    def _configured_result(
        self, given: Context | None, context: Context, parent: SpanContext, arguments: Arguments
    ) -> SamplingResult:
        """The configured sampler's result, for each destination within its share."""
        rand = self._rand(context, parent, arguments[0])
        deferred = parent.is_valid and bool(context.get(DEFERRED))
        if deferred:
            given = otel_trace.set_span_in_context(otel_trace.INVALID_SPAN, context)
        result = self._configured.should_sample(given, *arguments)
        sampled = result.decision is Decision.RECORD_AND_SAMPLE
        if parent.is_valid and not deferred:
            decision = self._caller_decision(context, parent, rand, sampled)
        else:
            decision = self._own_decision(parent, rand, Grant(1.0, allowed=sampled))
        if decision.outcome is Decision.DROP and result.decision is Decision.RECORD_ONLY:
            decision.outcome = result.decision
        if result.trace_state:
            decision.set_trace_state(result.trace_state)
        return SamplingResult(decision.outcome, result.attributes, decision.state)


def simple_form_sampler(configured: Sampler) -> tuple[float | None, bool]:
    """The rate of one of OpenTelemetry's own samplers, else None; and whether it follows the caller.

    Both come from the description, whose form OpenTelemetry's specification defines.
    """
    text = configured.get_description()
    follows = text.startswith(_ROOT) and text.endswith(_PARENTS)
    if follows:
        text = text[len(_ROOT) : -len(_PARENTS)]
    if text in ("AlwaysOnSampler", "AlwaysOffSampler"):
        return float(text == "AlwaysOnSampler"), follows
    rate = text[len(_RATE) : -1]
    if text != f"{_RATE}{rate}}}" or "{" in rate or "}" in rate:
        return None, False
    return float(rate or 0.0), follows


def _entries(parent: SpanContext) -> list[tuple[str, str]] | None:
    """The caller's trace state; a trace that begins here has none."""
    return list(parent.trace_state.items()) if parent[5] and parent.trace_state else None
