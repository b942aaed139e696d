"""A local trace that waits in the tail, and an estimate of the memory that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from brain_otel.sampling.decision import SamplingDecision
    from brain_otel.traces.local_trace import LocalTrace

TRACE_BYTES = 2_500
"""What a local trace takes beside its spans: the verdict, the context and what is noted here; rounded up."""

SPAN_BYTES = 3_600
"""What a span without attributes takes, open and ended; measured, and rounded up."""

VALUE_BYTES = 120
"""What an attribute, an event or a link takes beside its text."""


class BufferedTrace:
    """A local trace that has given no reason to be kept so far."""

    __slots__ = ("began", "bytes", "decision", "ended", "open_spans", "root_ended", "started", "trace")

    def __init__(self, decision: SamplingDecision, trace: LocalTrace | None, began: float) -> None:
        self.decision = decision
        self.trace = trace
        self.began = began
        self.started: list[tuple[Span, Context | None]] = []
        self.ended: list[ReadableSpan] = []
        self.open_spans: dict[int, int] = {}
        """Their ids, and the size of each when it started."""
        self.root_ended = False
        self.bytes = 0

    def is_over(self) -> bool:
        """Whether nothing of it can happen any more."""
        return self.root_ended and not self.open_spans and (self.trace is None or self.trace.closed)


def size_of(span: ReadableSpan) -> int:
    """The bytes that a span takes beyond :data:`SPAN_BYTES`: its texts, and what holds them."""
    size = _size(span.attributes)
    for event in span.events:
        size += VALUE_BYTES + _size(event.attributes)
    for link in span.links:
        size += VALUE_BYTES + _size(link.attributes)
    return size


def _size(attributes: Any) -> int:
    size = 0
    for value in (attributes or {}).values():
        size += VALUE_BYTES
        if isinstance(value, str):
            size += len(value)
        elif isinstance(value, (list, tuple)):
            size += sum(64 + (len(each) if isinstance(each, str) else 0) for each in value)
    return size
