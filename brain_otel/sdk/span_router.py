"""The one span processor in front of the destinations: each gets the traces that are meant for it.

It also gives each span the attributes that belong to all of its local trace, such as ``user.id``: of several span
processors the SDK would call every one three times a span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext, TraceFlags

from brain_otel.runtime.guard import caught, guarded
from brain_otel.sampling.decision import KEPT_BY, decision_of
from brain_otel.traces import local_trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context

    from brain_otel.configuration.settings import TailSettings
    from brain_otel.sampling.decision import SamplingDecision
    from brain_otel.sampling.tail import Tail

_ending = guarded("ending a span for its destinations")


class SentSpan(ReadableSpan):
    """An ended span as a destination gets it: flagged as sampled, whatever the flag of its context says.

    Exporters leave out what is not flagged. It shares everything else with the span.
    """

    def __init__(self, span: ReadableSpan, kept_by: str | None = None) -> None:
        self.__dict__.update(span.__dict__)
        known = span.get_span_context()
        if known is not None and not known.trace_flags.sampled:
            flags = TraceFlags(known.trace_flags | TraceFlags.SAMPLED)
            self._context = SpanContext(known.trace_id, known.span_id, known.is_remote, flags, known.trace_state)
        if kept_by is not None:
            self._attributes = {**(span.attributes or {}), KEPT_BY: kept_by}


class SpanRouter(SpanProcessor):
    """Hands each span to the destinations that its trace goes to, by the head's verdict and the tail's.

    Args:
        destinations: Each one's name in the file, and its processor, which must not raise.
        tail: What is kept although the head said no; None: nothing.
    """

    def __init__(self, destinations: Sequence[tuple[str, SpanProcessor]], tail: TailSettings | None = None) -> None:
        self._destinations = tuple(destinations)
        self.tail = self._begin_tail(tail) if tail is not None else None
        self._processors = tuple(processor for _, processor in destinations)
        self._hear_ending = tuple(each for each in destinations if _hears_ending(each[1]))

    def _begin_tail(self, settings: TailSettings) -> Tail:
        from brain_otel.sampling.tail import Tail

        return Tail(settings, self._hand_on)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Complete the span; tell those that get the trace, and the tail, where there are others."""
        try:
            trace = local_trace.current(parent_context)
            if trace is not None and trace.attributes:
                span.set_attributes(trace.attributes)
            decision = decision_of(span.get_span_context())
            recipients = self._processors if decision is None else self._recipients(decision)
            if decision is not None and self.tail is not None:
                held = len(recipients) < len(self._processors)
                if self.tail.start(decision, span, parent_context, held=held):
                    recipients = self._processors
            for processor in recipients:
                processor.on_start(span, parent_context)
        except Exception as error:
            caught("starting a span for its destinations", error)

    def _on_ending(self, span: Span) -> None:
        if not self._hear_ending:
            return
        with _ending:
            decision = decision_of(span.get_span_context())
            for name, processor in self._hear_ending:
                if decision is None or decision.keep_reason or decision.reaches(name):
                    processor._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Tell those that get the trace, and the others too if it is to be kept."""
        try:
            context = span.get_span_context()
            decision = decision_of(context)
            if decision is None or context is None:
                for processor in self._processors:
                    processor.on_end(span)
                return
            recipients = self._recipients(decision)
            if self.tail is not None and self.tail.end(decision, span, held=len(recipients) < len(self._processors)):
                recipients = self._processors
            sent = span
            if decision.keep_reason is not None or not context[3] & TraceFlags.SAMPLED:
                sent = sent_span(span, decision, decision.keep_reason)
            for processor in recipients:
                processor.on_end(sent)
        except Exception as error:
            caught("ending a span for its destinations", error)

    def _recipients(self, decision: SamplingDecision) -> tuple[SpanProcessor, ...]:
        """Those that get the trace by what the head decided, which does not change."""
        known = decision.recipients
        if known is None or known[0] is not self:
            recipients = tuple(processor for name, processor in self._destinations if decision.reaches(name))
            known = decision.recipients = (self, recipients)
        return known[1]

    def _hand_on(
        self,
        decision: SamplingDecision,
        reason: str,
        started: Sequence[tuple[Span, Context | None]],
        ended: Sequence[ReadableSpan],
    ) -> None:
        """Tell those that have not heard of the trace so far what has happened in it."""
        for name, processor in self._destinations:
            if not decision.reaches(name):
                for span, context in started:
                    processor.on_start(span, context)
        sent = [sent_span(span, decision, reason) for span in ended]
        for name, processor in self._destinations:
            if not decision.reaches(name):
                for each in sent:
                    processor.on_end(each)


def sent_span(span: ReadableSpan, decision: SamplingDecision, reason: str | None) -> ReadableSpan:
    """``span`` flagged as sampled and, if it is the local root, with the reason for which it is kept."""
    context = span.get_span_context()
    if context is None:
        return span
    kept_by = reason if context.span_id == decision.root_id else None
    return span if kept_by is None and context.trace_flags.sampled else SentSpan(span, kept_by)


def _hears_ending(processor: SpanProcessor) -> bool:
    """Whether ``processor`` does anything when it is told that a span is about to end."""
    return getattr(type(processor), "_on_ending", None) is not getattr(SpanProcessor, "_on_ending", None)
