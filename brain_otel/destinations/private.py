"""Spans as they may leave the process: with what is private masked when, and only if, somebody reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from brain_otel.privacy import masked_attributes

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes

    from brain_otel.settings import Settings


class PrivateSpan(ReadableSpan):
    """An ended span whose attributes are masked.

    It shares everything else with the span, and masks on the thread that exports, not on the request's.
    """

    def __init__(self, span: ReadableSpan, *, send_default_pii: bool) -> None:
        self.__dict__.update(span.__dict__)
        self._send_default_pii = send_default_pii
        self._masked: Attributes | None = None

    @property
    def attributes(self) -> Attributes:
        """The attributes, masked."""
        if self._masked is None:
            given = super().attributes or {}
            self._masked = masked_attributes(given, send_default_pii=self._send_default_pii)
        return self._masked


class MaskingSpanProcessor(SpanProcessor):
    """Hands ended spans to another processor as :class:`PrivateSpan`."""

    def __init__(self, inner: SpanProcessor, *, send_default_pii: bool) -> None:
        self._inner = inner
        self._send_default_pii = send_default_pii

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Tell the other."""
        self._inner.on_start(span, parent_context)

    def _on_ending(self, span: Span) -> None:
        self._inner._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Tell the other, of what may be told."""
        self._inner.on_end(PrivateSpan(span, send_default_pii=self._send_default_pii))

    def shutdown(self) -> None:
        """Shut the other down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the other."""
        return self._inner.force_flush(timeout_millis)


def masking(inner: SpanProcessor, settings: Settings) -> SpanProcessor:
    """``inner`` behind the mask."""
    return MaskingSpanProcessor(inner, send_default_pii=settings.send_default_pii)
