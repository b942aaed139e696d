"""Isolates each destination, so that a failure or delay of one affects neither the application nor the others.

OpenTelemetry's SDK calls processors one after the other on the thread that ends a span, without a guard: one that
raises fails the request, one that blocks delays it. Here every call is guarded, and a processor that may block is
called on a thread of its own, behind a bounded queue. All destinations are flushed and shut down at the same time,
within one time bound, because processors have none of their own (opentelemetry-python#4568).
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from brain_otel.destinations.destination import Destination, Unqueued
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.limited_log import CountLog
from brain_otel.runtime.work_queue import WorkQueue
from brain_otel.traces.collector import LocalTraceCollector

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_QUEUED = 2_048
"""Spans, or log records, in the queue of a destination that blocks; the oldest are dropped beyond it."""

MAX_QUEUED_METRICS = 10
"""Collections of metrics in such a queue. Sums are cumulative, so a later collection covers dropped ones."""


class IsolatedSpanProcessor(SpanProcessor):
    """Calls another span processor under a guard; through ``queue`` if there is one, so on another thread."""

    def __init__(self, name: str, inner: SpanProcessor, queue: WorkQueue[ReadableSpan] | None) -> None:
        self._inner = inner
        self._starting = f"starting a span for {name}"
        self._ending = f"ending a span for {name}"
        self._queue = queue

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Call the other processor at once, since it may set attributes."""
        with guarded(self._starting):
            self._inner.on_start(span, parent_context)

    def _on_ending(self, span: Span) -> None:
        with guarded(self._ending):
            self._inner._on_ending(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Call the other processor, or queue the span for it."""
        if self._queue is not None:
            self._queue.put(span)
            return
        with guarded(self._ending):
            self._inner.on_end(span)


class IsolatedLogRecordProcessor(Unqueued, LogRecordProcessor):
    """Calls another log record processor under a guard; through ``queue`` if there is one, so on another thread."""

    def __init__(self, name: str, inner: LogRecordProcessor, queue: WorkQueue[ReadWriteLogRecord] | None) -> None:
        self._inner = inner
        self._emitting = f"emitting a log record for {name}"
        self._queue = queue

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Call the other processor, or queue the record for it."""
        if self._queue is not None:
            self._queue.put(log_record)
            return
        with guarded(self._emitting):
            self._inner.on_emit(log_record)


class IsolatedMetricExporter(Unqueued, MetricExporter):
    """Calls another metric exporter on a thread of its own.

    A meter provider flushes its readers one after the other, so a hanging exporter would use up the others' time.
    """

    def __init__(self, inner: MetricExporter, queue: WorkQueue[MetricsData]) -> None:
        # A reader asks its exporter for these two; they have no public names. None stands for the SDK's defaults.
        super().__init__(
            preferred_temporality=getattr(inner, "_preferred_temporality", None),
            preferred_aggregation=getattr(inner, "_preferred_aggregation", None),
        )
        self._queue = queue

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:  # noqa: ARG002
        """Queue the metrics for the other exporter."""
        self._queue.put(metrics_data)
        return MetricExportResult.SUCCESS


class IsolatedDestination:
    """A destination in use, behind guards and queues of its own."""

    def __init__(self, destination: Destination, index: int = 0, asked_as: str = "") -> None:
        self.destination = destination
        self.asked_as = asked_as or destination.name
        """The name in the file."""
        self.index = index
        self.name = destination.name
        self.span_processor: SpanProcessor | None = None
        self.log_record_processor: LogRecordProcessor | None = None
        self.metric_exporter: MetricExporter | None = None
        self._queues: list[WorkQueue[Any]] = []
        self._drop_log = CountLog(logger, "%s is too slow, and loses the oldest: %s", self.name)
        self._reset()
        reset_in_child(self)
        if (spans := destination.span_processor) is not None:
            self.span_processor = self._isolated(spans)
        if (logs := destination.log_record_processor) is not None:
            log_queue = self._queue(logs.on_emit, "log records") if destination.may_block else None
            self.log_record_processor = IsolatedLogRecordProcessor(self.name, logs, log_queue)
        if (metrics := destination.metric_exporter) is not None:
            metric_queue: WorkQueue[MetricsData] = self._queue(
                metrics.export, "collections of metrics", MAX_QUEUED_METRICS
            )
            self.metric_exporter = IsolatedMetricExporter(metrics, metric_queue)

    def _reset(self) -> None:
        """Renew the lock in a forked child; the parent may have been in the middle of a flush."""
        self._flushing = threading.Lock()

    def flush(self, timeout: float) -> bool:
        """Send everything queued within ``timeout`` seconds; return whether all of it was accepted."""
        if self.destination.resume is not None:
            self.destination.resume()
        return self.flush_rest(timeout)

    def flush_rest(self, timeout: float) -> bool:
        """Flush without what a pause holds back."""
        deadline = time.monotonic() + timeout
        if not self._flushing.acquire(timeout=timeout):  # the last flush hangs; do not pile up threads behind it
            return False
        try:
            complete = True
            for queue in self._queues:
                complete = queue.flush(max(0.0, deadline - time.monotonic())) and complete
            if (metrics := self.destination.metric_exporter) is not None:
                left = max(0.0, deadline - time.monotonic())
                complete = metrics.force_flush(timeout_millis=left * 1000) and complete
            return self.destination.flush(max(0.0, deadline - time.monotonic())) and complete
        finally:
            self._flushing.release()

    def shutdown(self, timeout: float) -> None:
        """Send everything queued within ``timeout`` seconds and take no more."""
        deadline = time.monotonic() + timeout
        for queue in self._queues:
            queue.flush(max(0.0, deadline - time.monotonic()))
            queue.stop()
        if (metrics := self.destination.metric_exporter) is not None:
            metrics.shutdown(timeout_millis=max(0.0, deadline - time.monotonic()) * 1000)
        self.destination.shutdown(max(0.0, deadline - time.monotonic()))

    def _isolated(self, processor: SpanProcessor) -> SpanProcessor:
        if isinstance(processor, LocalTraceCollector):  # guards every entry itself and never blocks
            return processor
        queue = self._queue(processor.on_end, "spans") if self.destination.may_block else None
        return IsolatedSpanProcessor(self.name, processor, queue)

    def _queue(self, work: Callable[[T], object], items: str, max_items: int = MAX_QUEUED) -> WorkQueue[T]:
        from opentelemetry.instrumentation.utils import suppress_instrumentation  # few destinations block

        def work_untraced(item: T) -> None:
            with suppress_instrumentation():  # requests of a destination must not be traced and sent in turn
                work(item)

        name = f"brain_otel.{self.name}"
        queue: WorkQueue[T] = WorkQueue(
            name, work_untraced, drop=lambda _: self._drop_log.add(items), max_items=max_items
        )
        self._queues.append(queue)
        return queue
