"""Spans and log records as they may leave the process: what is private is masked, on a copy.

Other destinations go on to see what the application wrote.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from brain_otel.capture import encodable
from brain_otel.privacy import masked_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk._logs import ReadWriteLogRecord
    from opentelemetry.util.types import Attributes

    from brain_otel.settings import Settings


class PrivateSpan(ReadableSpan):
    """An ended span whose attributes, and those of its events, are masked, and whose texts can be encoded.

    The SDK sees to it that attributes can, and to nothing else: one name with half a surrogate pair would cost the
    exporter's whole batch.

    It shares everything else with the span, and masks when somebody reads it: on the thread that exports, not on
    the request's. ``_attributes`` and ``_events`` are where :class:`ReadableSpan` keeps them; its ``to_json`` reads
    them there, past the public properties. A test compares what every encoder makes of both.
    """

    def __init__(self, span: ReadableSpan, *, send_default_pii: bool) -> None:
        self.__dict__.update(span.__dict__)
        self._span = span
        self._send_default_pii = send_default_pii
        self._name = encodable(span.name)
        if (description := span.status.description) is not None and not description.isascii():
            self._status = Status(span.status.status_code, encodable(description))
        if (scope := span.instrumentation_scope) is not None and not scope.name.isascii():
            self._instrumentation_scope = InstrumentationScope(
                encodable(scope.name), scope.version, scope.schema_url, scope.attributes
            )
        self._masked: Attributes | None = None
        self._masked_events: Sequence[Event] | None = None

    @property
    def _attributes(self) -> Attributes:  # type: ignore[override]  # the SDK's is a plain attribute
        if self._masked is None:
            given = self._span.attributes or {}
            self._masked = masked_attributes(given, send_default_pii=self._send_default_pii)
        return self._masked

    @property
    def _events(self) -> Sequence[Event]:  # type: ignore[override]  # as above
        if self._masked_events is None:
            events = self._span.events
            self._masked_events = [_masked_event(each, send_default_pii=self._send_default_pii) for each in events]
        return self._masked_events

    @property
    def _links(self) -> Sequence[Link]:  # type: ignore[override]  # as above
        return tuple(_masked_link(each, send_default_pii=self._send_default_pii) for each in self._span.links)

    @property
    def dropped_attributes(self) -> int:
        """As many as of the span."""
        return self._span.dropped_attributes

    @property
    def dropped_events(self) -> int:
        """As many as of the span."""
        return self._span.dropped_events


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


class MaskingLogRecordProcessor(LogRecordProcessor):
    """Hands log records to another processor, as masked copies where there is something to mask."""

    def __init__(self, inner: LogRecordProcessor, *, send_default_pii: bool) -> None:
        self._inner = inner
        self._send_default_pii = send_default_pii

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Tell the other, of what may be told."""
        given = log_record.log_record.attributes or {}
        masked = masked_attributes(given, send_default_pii=self._send_default_pii)
        if masked != dict(given):
            record = copy.copy(log_record.log_record)
            record.attributes = masked
            log_record = copy.copy(log_record)
            log_record.log_record = record
        self._inner.on_emit(log_record)

    def shutdown(self) -> None:
        """Shut the other down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the other."""
        return self._inner.force_flush(timeout_millis)


def masking(inner: SpanProcessor, settings: Settings) -> SpanProcessor:
    """``inner`` behind the mask."""
    return MaskingSpanProcessor(inner, send_default_pii=settings.send_default_pii)


def masking_logs(inner: LogRecordProcessor, settings: Settings) -> LogRecordProcessor:
    """``inner`` behind the mask."""
    return MaskingLogRecordProcessor(inner, send_default_pii=settings.send_default_pii)


def _masked_link(link: Link, *, send_default_pii: bool) -> Link:
    given = link.attributes or {}
    masked = masked_attributes(given, send_default_pii=send_default_pii)
    return link if masked == dict(given) else Link(link.context, masked)


def _masked_event(event: Event, *, send_default_pii: bool) -> Event:
    given = event.attributes or {}
    masked = masked_attributes(given, send_default_pii=send_default_pii)
    if masked == dict(given) and event.name.isascii():
        return event
    return Event(name=encodable(event.name), attributes=masked, timestamp=event.timestamp)
