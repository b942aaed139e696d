"""Keeps the latest spans, log records and metrics in :data:`MEMORY`, for tests to read."""

from collections import deque
from typing import Any

from opentelemetry.sdk._logs import LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from brain_otel.configuration.options import Options
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.destination import Destination, Unqueued

SIGNALS = ("traces", "logs", "metrics")

MAX_ITEMS = 10_000
"""The latest spans, and the latest log records, that are kept."""

MAX_METRICS = 100
"""The latest collections of metrics that are kept."""


class Memory:
    """Spans, log records and metrics, the oldest first."""

    def __init__(self) -> None:
        self.spans: deque[ReadableSpan] = deque(maxlen=MAX_ITEMS)
        self.log_records: deque[ReadableLogRecord] = deque(maxlen=MAX_ITEMS)
        self.metrics: deque[MetricsData] = deque(maxlen=MAX_METRICS)

    def clear(self) -> None:
        """Remove everything."""
        self.spans.clear()
        self.log_records.clear()
        self.metrics.clear()


MEMORY = Memory()
"""The one of this process."""


class MemorySpanProcessor(SpanProcessor):
    """Keeps ended spans."""

    def __init__(self, memory: Memory = MEMORY) -> None:
        self._memory = memory

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span."""
        self._memory.spans.append(span)


class MemoryLogRecordProcessor(Unqueued, LogRecordProcessor):
    """Keeps log records."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Keep the record."""
        MEMORY.log_records.append(log_record)  # type: ignore[arg-type]  # it has the same attributes


class MemoryMetricExporter(Unqueued, MetricExporter):
    """Keeps what metric readers collect."""

    def __init__(self, memory: Memory = MEMORY) -> None:
        super().__init__()
        self._memory = memory

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:  # noqa: ARG002
        """Keep the metrics."""
        self._memory.metrics.append(metrics_data)
        return MetricExportResult.SUCCESS


def create_destination(options: Options, settings: Settings) -> Destination:  # noqa: ARG001
    """Create the destination that keeps one signal in :data:`MEMORY`."""
    options.reject_others()
    traces, logs, metrics = (options.signal == each for each in SIGNALS)
    return Destination(
        name="memory",
        span_processor=MemorySpanProcessor() if traces else None,
        log_record_processor=MemoryLogRecordProcessor() if logs else None,
        metric_exporter=MemoryMetricExporter() if metrics else None,
        may_block=False,
    )


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The process, and how many items are kept."""
    return f"this process, the latest {MAX_METRICS if options.signal == 'metrics' else MAX_ITEMS:,}"
