"""The tail's buffer: local traces with their spans, and an estimate of the memory that they take."""

import time
from collections.abc import Iterator
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span

from brain_otel.configuration.sections.sampling import TailSettings
from brain_otel.sampling.decision import SamplingDecision
from brain_otel.traces.local_trace import LocalTrace

TRACE_BYTES = 2_500
"""Bytes of a local trace without its spans: the decision, the context and the entry in the buffer; rounded up."""

SPAN_BYTES = 3_600
"""Bytes of a span without attributes, open and ended; measured, and rounded up."""

VALUE_BYTES = 120
"""Bytes of an attribute, an event or a link without its text."""


class BufferedTrace:
    """A local trace that the tail has no reason to keep, so far."""

    __slots__ = ("buffered_at", "bytes", "decision", "ended", "open_spans", "root_ended", "started", "trace")

    def __init__(self, decision: SamplingDecision, trace: LocalTrace | None) -> None:
        self.decision = decision
        self.trace = trace
        self.buffered_at = time.monotonic()
        self.started: list[tuple[Span, Context | None]] = []
        self.ended: list[ReadableSpan] = []
        self.open_spans: dict[int, int] = {}
        """Id of a span -> its size when it started."""
        self.root_ended = False
        self.bytes = TRACE_BYTES

    def is_complete(self) -> bool:
        """Whether no more spans can start or end in it."""
        return self.root_ended and not self.open_spans and (self.trace is None or self.trace.closed)


class TailBuffer:
    """The buffered traces, oldest first, within the bounds of ``settings``. Not thread-safe."""

    def __init__(self, settings: TailSettings) -> None:
        self._settings = settings
        self._traces: dict[SamplingDecision, BufferedTrace] = {}
        self.spans = self.bytes = 0

    def __len__(self) -> int:
        return len(self._traces)

    def __iter__(self) -> Iterator[BufferedTrace]:
        return iter(list(self._traces.values()))

    def get(self, decision: SamplingDecision) -> BufferedTrace | None:
        """The trace with ``decision``, if it is buffered."""
        return self._traces.get(decision)

    def add_start(
        self, decision: SamplingDecision, trace: LocalTrace | None, span: Span, context: Context | None
    ) -> BufferedTrace:
        """Buffer a span that has started in ``context``."""
        buffered = self._traces.get(decision)
        if buffered is None:
            buffered = self._traces[decision] = BufferedTrace(decision, trace)
            self.bytes += TRACE_BYTES
        size = size_of(span)
        buffered.started.append((span, context))
        buffered.open_spans[span.get_span_context().span_id] = size
        self.spans += 1
        self._grow(buffered, SPAN_BYTES + size)
        return buffered

    def add_end(self, buffered: BufferedTrace, span: ReadableSpan, span_id: int) -> None:
        """Buffer the end of a span whose start is buffered."""
        self._grow(buffered, size_of(span) - buffered.open_spans.pop(span_id))
        buffered.ended.append(span)
        buffered.root_ended = buffered.root_ended or span_id == buffered.decision.root_id

    def remove(self, buffered: BufferedTrace) -> None:
        """Drop a trace from the buffer."""
        del self._traces[buffered.decision]
        self.spans -= len(buffered.started)
        self.bytes -= buffered.bytes

    def exceeded_bound(self) -> str | None:
        """The bound that the buffer exceeds, else None."""
        if len(self._traces) > self._settings.max_traces:
            return "max_traces"
        if self.spans > self._settings.max_spans or self.bytes > self._settings.max_bytes:
            return "max_spans or max_bytes"
        return None

    def select_for_eviction(self, current: BufferedTrace) -> BufferedTrace:
        """``current`` if it takes more than a quarter of the room, else the oldest."""
        limits = self._settings
        is_big = len(current.started) * 4 > limits.max_spans or current.bytes * 4 > limits.max_bytes
        return current if is_big and current.decision in self._traces else next(iter(self._traces.values()))

    def _grow(self, buffered: BufferedTrace, size: int) -> None:
        buffered.bytes += size
        self.bytes += size


def size_of(span: ReadableSpan) -> int:
    """Bytes of a span beyond :data:`SPAN_BYTES`: its texts, and the objects that hold them."""
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
