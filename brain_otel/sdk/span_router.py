"""The one span processor in front of all destinations: it sends each span where its trace goes.

It also puts on each span the attributes of its whole local trace, such as ``user.id``: with a second span processor,
the SDK would make three more calls for each span.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext, TraceFlags

from brain_otel.configuration.sections.instrumentation import SLOW_CALL
from brain_otel.configuration.sections.sampling import TailSettings
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.imports import late_module
from brain_otel.sampling.context import CALLER, link_caller
from brain_otel.sampling.decision import KEPT_BY, SamplingDecision, decision_of
from brain_otel.traces import local_trace
from brain_otel.traces.plain_span import ExtendedSpan

if TYPE_CHECKING:
    from brain_otel.sampling.tail import Tail
    from brain_otel.traces import code_location
else:
    # The first span needs it.
    code_location = late_module("brain_otel.traces.code_location")

_ending = guarded("ending a span for its destinations")


class SentSpan(ExtendedSpan):
    """An ended span, flagged as sampled; it shares everything else with the original.

    Exporters drop a span without the flag, but a destination may get one that the head has not sampled.
    """

    def __init__(self, span: ReadableSpan, kept_by: str | None = None) -> None:
        super().__init__(span, {} if kept_by is None else {KEPT_BY: kept_by})
        context = span.get_span_context()
        if context is not None and not context.trace_flags.sampled:
            flags = TraceFlags(context.trace_flags | TraceFlags.SAMPLED)
            context = SpanContext(context.trace_id, context.span_id, context.is_remote, flags, context.trace_state)
        self._context = context

    # The public names do not depend on where the base class keeps it.

    @property
    def context(self) -> SpanContext | None:  # noqa: D102
        return self._context

    def get_span_context(self) -> SpanContext | None:  # noqa: D102
        return self._context


class SpanRouter(SpanProcessor):
    """Sends each span to the destinations that its trace goes to, by the decisions of the head and the tail.

    Args:
        destinations: Name in the file, and processor, which must not raise.
        tail: Which traces the tail keeps; None for none.
        slow_call: Length in seconds from which a call's span has the place in the application's code.
    """

    def __init__(
        self,
        destinations: Sequence[tuple[str, SpanProcessor]],
        tail: TailSettings | None = None,
        slow_call: float = SLOW_CALL,
    ) -> None:
        self._destinations = tuple(destinations)
        self._slow_nanoseconds = slow_call * 1e9
        self.tail: Tail | None = None
        if tail is not None:
            from brain_otel.sampling.tail import Tail

            self.tail = Tail(tail, self._release)
        self._processors = tuple(processor for _, processor in destinations)
        self._with_on_ending = tuple(each for each in destinations if _has_on_ending(each[1]))

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Complete the span and pass it on, or have the tail buffer it."""
        try:
            if parent_context is not None and CALLER in parent_context:
                link_caller(span, parent_context)
            trace = local_trace.current(parent_context)
            if trace is not None and trace.attributes:
                span.set_attributes(trace.attributes)
            decision = decision_of(span.context)
            known = decision.recipients if decision is not None else None
            recipients = known[1] if known is not None and known[0] is self else self._recipients(decision)
            if decision is not None and self.tail is not None:
                is_partial = len(recipients) < len(self._processors)
                if self.tail.start(decision, span, parent_context, is_partial=is_partial):
                    recipients = self._processors
            for processor in recipients:
                processor.on_start(span, parent_context)
        except Exception as error:
            caught("starting a span for its destinations", error)

    def _on_ending(self, span: Span) -> None:
        if not self._with_on_ending:
            return
        with _ending:
            decision = decision_of(span.get_span_context())
            for name, processor in self._with_on_ending:
                if decision is None or decision.keep_reason or decision.reaches(name):
                    processor._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass the span on to the recipients of its trace; to all destinations if the tail keeps it."""
        try:
            span = code_location.with_code_location(span, self._slow_nanoseconds)
        except Exception as error:
            caught("looking for the place of a call in the application's code", error)
        try:
            context = span.context
            decision = decision_of(context)
            known = decision.recipients if decision is not None else None
            recipients = known[1] if known is not None and known[0] is self else self._recipients(decision)
            if decision is not None and context is not None:
                if self.tail is not None:
                    is_partial = len(recipients) < len(self._processors)
                    if self.tail.end(decision, span, is_partial=is_partial):
                        recipients = self._processors
                if decision.keep_reason is not None or not context[3] & TraceFlags.SAMPLED:
                    span = sent_span(span, decision, decision.keep_reason)
            for processor in recipients:
                processor.on_end(span)
        except Exception as error:
            caught("ending a span for its destinations", error)

    def _recipients(self, decision: SamplingDecision | None) -> tuple[SpanProcessor, ...]:
        """The processors that get the trace by the head's decision, which does not change; all without one."""
        if decision is None:
            return self._processors
        recipients = tuple(processor for name, processor in self._destinations if decision.reaches(name))
        decision.recipients = (self, recipients)
        return recipients

    def _release(
        self,
        decision: SamplingDecision,
        reason: str,
        started: Sequence[tuple[Span, Context | None]],
        ended: Sequence[ReadableSpan],
    ) -> None:
        """Send the buffered spans of a trace to the destinations that the head has excluded."""
        excluded = [processor for name, processor in self._destinations if not decision.reaches(name)]
        for processor in excluded:
            for span, context in started:
                processor.on_start(span, context)
        sent = [sent_span(span, decision, reason) for span in ended]
        for processor in excluded:
            for each in sent:
                processor.on_end(each)


def sent_span(span: ReadableSpan, decision: SamplingDecision, reason: str | None) -> ReadableSpan:
    """``span``, flagged as sampled; if it is the local root, with the reason why the tail keeps the trace."""
    context = span.get_span_context()
    if context is None:
        return span
    kept_by = reason if context.span_id == decision.root_id else None
    return span if kept_by is None and context.trace_flags.sampled else SentSpan(span, kept_by)


def _has_on_ending(processor: SpanProcessor) -> bool:
    """Whether ``processor`` overrides the specification's OnEnding, whose name in the SDK is private."""
    inherited = getattr(SpanProcessor, "_on_ending", None)
    return getattr(type(processor), "_on_ending", inherited) is not inherited
