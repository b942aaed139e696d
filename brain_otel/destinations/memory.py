"""Memory: the latest ended spans, for tests to read."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor

from brain_otel.destinations import Destination

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from brain_otel.settings import Settings

MAX_SPANS = 10_000
"""Spans that are kept, the latest."""


class MemorySpanProcessor(SpanProcessor):
    """Keeps the latest ended spans in ``spans``."""

    def __init__(self, max_spans: int = MAX_SPANS) -> None:
        self.spans: deque[ReadableSpan] = deque(maxlen=max_spans)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span."""
        self.spans.append(span)


def create_destination(options: Mapping[str, Any], settings: Settings) -> Destination:  # noqa: ARG001
    """Keep spans in this process."""
    return Destination(
        name="memory",
        span_processor=MemorySpanProcessor(),
        flush=lambda _timeout: True,
        shutdown=lambda _timeout: None,
    )
