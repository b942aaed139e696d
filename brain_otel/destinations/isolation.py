"""Isolates each destination, so that a failure or delay of one affects neither the application nor the others.

OpenTelemetry's SDK calls processors one after the other on the thread that ends a span, without a guard: one that
raises fails the request, one that blocks delays it. Here every call is guarded, and a processor that may block is
called on a thread of its own, behind a bounded queue. All destinations are flushed and shut down at the same time,
within one time bound, because processors have none of their own (opentelemetry-python#4568).
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.work_queue import WorkQueue
from brain_otel.traces.collector import LocalTraceCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.metrics.export import MetricsData

    from brain_otel.destinations.destination import Destination

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


class IsolatedLogRecordProcessor(LogRecordProcessor):
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

    def shutdown(self) -> None:
        """Do nothing; the destination is shut down as a whole."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Do nothing; the destination is flushed as a whole."""
        return True


class IsolatedMetricExporter(MetricExporter):
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

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> MetricExportResult:
        """Queue the metrics for the other exporter."""
        self._queue.put(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Do nothing; the destination is flushed after the meter provider."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing; the destination is shut down after the meter provider."""


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
        self._reset()
        reset_in_child(self)
        if (spans := destination.span_processor) is not None:
            self.span_processor = self._isolated(spans)
        if (logs := destination.log_record_processor) is not None:
            log_queue = self._queue(logs.on_emit) if destination.may_block else None
            self.log_record_processor = IsolatedLogRecordProcessor(self.name, logs, log_queue)
        if (metrics := destination.metric_exporter) is not None:
            metric_queue: WorkQueue[MetricsData] = self._queue(metrics.export, MAX_QUEUED_METRICS)
            self.metric_exporter = IsolatedMetricExporter(metrics, metric_queue)

    def _reset(self) -> None:
        """Renew the lock in a forked child; the parent may have been in the middle of a flush."""
        self._flushing = threading.Lock()

    def flush(self, timeout: float) -> bool:
        """Send everything queued within ``timeout`` seconds; return whether all of it was accepted."""
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
        queue = self._queue(processor.on_end) if self.destination.may_block else None
        return IsolatedSpanProcessor(self.name, processor, queue)

    def _queue(self, work: Callable[[T], object], max_items: int = MAX_QUEUED) -> WorkQueue[T]:
        def work_untraced(item: T) -> None:
            with suppress_instrumentation():  # requests of a destination must not be traced and sent in turn
                work(item)

        name = f"brain_otel.{self.name}"
        queue: WorkQueue[T] = WorkQueue(name, work_untraced, drop=lambda _: None, max_items=max_items)
        self._queues.append(queue)
        return queue


def side_by_side(calls: Sequence[tuple[str, Callable[[], bool | None]]], timeout: float) -> bool:
    """Make ``calls``, each under the name of what it does, at once and wait up to ``timeout`` seconds for them.

    Returns whether each came back in time with something else than False.
    """
    results = [False] * len(calls)

    def call(index: int) -> None:
        place, work = calls[index]
        try:
            with guarded(place), suppress_instrumentation():
                results[index] = work() is not False
        finally:
            done[index].set()

    done = [threading.Event() for _ in calls]
    deadline = time.monotonic() + timeout
    for index in range(len(calls)):
        _standby.run(partial(call, index))
    for each in done:
        each.wait(max(0.0, deadline - time.monotonic()))
    return all(results)


class _Standby:
    """Threads for the time when the interpreter is on its way out and, from Python 3.12 on, starts none any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def prepare(self, number: int) -> None:
        """Have so many threads waiting."""
        with self._lock:
            missing = max(0, number - self._threads)
            self._threads += missing
        for _ in range(missing):
            self._start(self._serve)

    def _reset(self) -> None:
        """Start anew in a forked child, which has none of the parent's threads."""
        number = self._threads
        self.__init__()  # type: ignore[misc]  # it is the same object that others hold
        self.prepare(number)

    def run(self, job: Callable[[], None]) -> None:
        """Have ``job`` done on a thread of its own, else by one of those that wait, else here."""
        try:
            self._start(job)
        except RuntimeError:
            if self._threads:
                self._jobs.put(job)
            else:
                job()

    def _serve(self) -> None:
        while True:
            self._jobs.get()()

    @staticmethod
    def _start(target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="brain_otel.flush", daemon=True)
        # In an empty context: sentry-sdk hands the starter's scopes, a request's, to every thread.
        contextvars.Context().run(thread.start)


_standby = _Standby()
reset_in_child(_standby)


def prepare_exit(number: int) -> None:
    """Be ready to flush so many destinations side by side when no thread can be started any more."""
    if sys.version_info >= (3, 12):
        with guarded("starting the threads that flush at the end"):
            _standby.prepare(number)
