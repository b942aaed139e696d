"""Hands masked copies of spans, log records and metrics to the processors and exporters of a destination.

Other destinations go on to see what the application wrote.
"""

from __future__ import annotations

import copy
import operator
from dataclasses import replace
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.metrics.export import Metric, MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.policy import Policy, policy
from brain_otel.privacy.resource import masked_resource, masked_scope
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.runtime.guard import caught


class _Masking:
    """Shuts down and flushes another processor."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.dropped = 0

    def shutdown(self) -> None:
        """Shut the other processor down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the other processor."""
        return bool(self._inner.force_flush(timeout_millis))


class MaskingSpanProcessor(_Masking, SpanProcessor):
    """Hands ended spans to another processor as :class:`MaskedSpan`; drops and counts those it cannot mask."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Call the other processor; a span that starts is not sent, so it is not masked."""
        self._inner.on_start(span, parent_context)

    def _on_ending(self, span: Span) -> None:
        # The SDK calls it on every processor; there is no public name for it.
        self._inner._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Call the other processor with the masked span."""
        try:
            masked = MaskedSpan(span)
        except Exception as error:
            self.dropped += 1
            caught("masking a span, which is dropped", error)
            return
        self._inner.on_end(masked)


class MaskingLogRecordProcessor(_Masking, LogRecordProcessor):
    """Hands masked copies of log records to another processor; drops and counts records it cannot mask."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Call the other processor with the record, or a masked copy if it holds anything private."""
        try:
            masked = masked_log_record(log_record)
        except Exception as error:
            self.dropped += 1
            caught("masking a log record, which is dropped", error)
            return
        self._inner.on_emit(masked)


def masked_log_record(log_record: ReadWriteLogRecord) -> ReadWriteLogRecord:
    """A masked copy of ``log_record``; the same object if nothing in it is private."""
    by = policy()
    original, resource, scope = log_record.log_record, log_record.resource, log_record.instrumentation_scope
    attributes = masked_attributes(by, original.attributes or {})
    body, event_name = by.value(original.body), by.value(original.event_name)
    masked_around = (
        resource if resource is None else masked_resource(by, resource),
        scope if scope is None else masked_scope(by, scope),
    )
    is_public = body is original.body and event_name == original.event_name and original.exception is None
    if is_public and masked_around == (resource, scope) and attributes == dict(original.attributes or {}):
        return log_record
    record = copy.copy(original)
    record.attributes, record.body, record.event_name = attributes, body, event_name
    record.exception = None  # its text is in the attributes, masked
    masked = copy.copy(log_record)
    masked.log_record, (masked.resource, masked.instrumentation_scope) = record, masked_around
    return masked


def mask_metrics_of(exporter: MetricExporter) -> None:
    """Make ``exporter`` export metrics with masked resources, by replacing its ``export`` on the object.

    Metric readers read other attributes of the exporter, so it is not wrapped.
    """
    export = exporter.export

    def export_masked(metrics_data: MetricsData, *args: Any, **kwargs: Any) -> MetricExportResult:
        return export(_masked_metrics(metrics_data), *args, **kwargs)

    exporter.export = export_masked  # type: ignore[method-assign]


def _masked_metrics(metrics: MetricsData) -> MetricsData:
    by = policy()
    masked = []
    for each in metrics.resource_metrics:
        scopes = [
            replace(
                each_scope,
                scope=masked_scope(by, each_scope.scope),
                metrics=[_masked_metric(by, metric) for metric in each_scope.metrics],
            )
            for each_scope in each.scope_metrics
        ]
        masked.append(replace(each, resource=masked_resource(by, each.resource), scope_metrics=scopes))
    return replace(metrics, resource_metrics=masked)


def _masked_metric(by: Policy, metric: Metric) -> Metric:
    """``metric`` masked; the same object if nothing in it is private."""
    points = [_masked_point(by, point) for point in metric.data.data_points]
    if not all(map(operator.is_, points, metric.data.data_points)):
        data: Any = metric.data
        metric = replace(metric, data=replace(data, data_points=points))
    description = by.text(metric.description or "")
    return metric if description == (metric.description or "") else replace(metric, description=description)


def _masked_point(by: Policy, point: Any) -> Any:
    changed: dict[str, Any] = {}
    attributes = masked_attributes(by, point.attributes or {})
    if attributes != dict(point.attributes or {}):
        changed["attributes"] = attributes
    examples = [(each, masked_attributes(by, each.filtered_attributes or {})) for each in point.exemplars or ()]
    if any(masked != dict(each.filtered_attributes or {}) for each, masked in examples):
        changed["exemplars"] = [replace(each, filtered_attributes=masked) for each, masked in examples]
    return replace(point, **changed) if changed else point
