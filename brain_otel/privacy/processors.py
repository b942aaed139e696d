"""Spans and log records as they may leave the process: what is private is masked, on a copy.

Other destinations go on to see what the application wrote.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from brain_otel.privacy import policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.spans import MaskedSpan

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk._logs import ReadWriteLogRecord


class MaskingSpanProcessor(SpanProcessor):
    """Hands ended spans to another processor as :class:`MaskedSpan`."""

    def __init__(self, inner: SpanProcessor) -> None:
        self._inner = inner

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Tell the other."""
        self._inner.on_start(span, parent_context)

    def _on_ending(self, span: Span) -> None:
        self._inner._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Tell the other, of what may be told."""
        self._inner.on_end(MaskedSpan(span))

    def shutdown(self) -> None:
        """Shut the other down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the other."""
        return self._inner.force_flush(timeout_millis)


class MaskingLogRecordProcessor(LogRecordProcessor):
    """Hands log records to another processor, as masked copies where there is something to mask."""

    def __init__(self, inner: LogRecordProcessor) -> None:
        self._inner = inner

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Tell the other, of what may be told."""
        given = log_record.log_record
        masked = masked_attributes(policy(), given.attributes or {})
        body = policy().value(given.body)
        if masked != dict(given.attributes or {}) or body is not given.body:
            record = copy.copy(given)
            record.attributes, record.body = masked, body
            log_record = copy.copy(log_record)
            log_record.log_record = record
        self._inner.on_emit(log_record)

    def shutdown(self) -> None:
        """Shut the other down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the other."""
        return self._inner.force_flush(timeout_millis)
