"""One test span, log record or metric through an exporter, and the reason if it does not arrive."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from brain_otel.delivery import DeliveryError
from brain_otel.destinations.outage_log import CapturedLogs, captured_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.configuration.options import Signal
    from brain_otel.configuration.settings import Settings

PROBE = "brain_otel doctor"
"""The name of every test span, log record and metric."""

RETRY_TIME = 2.0
"""Seconds that an exporter should have beyond the time of the probe."""

_NOUNS = {"traces": "a span", "logs": "a log record", "metrics": "a metric"}


def send_probe(exporter: Any, signal: Signal, settings: Settings, timeout: float) -> str:
    """Export one item of ``signal`` and wait up to ``timeout`` seconds; what was delivered, in words.

    An exporter whose own time is :data:`RETRY_TIME` longer tells more: it logs a reason only before it tries again.

    Raises:
        DeliveryError: it was not, with the exporter's reason.
    """
    batch = _batch(signal, settings)
    said = CapturedLogs()
    results: list[Any] = []
    done = threading.Event()

    def export() -> None:
        with captured_logs(said), suppress_instrumentation():
            try:
                results.append(exporter.export(batch))
            except Exception as error:  # the reason is told, whatever it is
                results.append(f"{type(error).__name__}: {error}")
            done.set()

    exporting = _thread(export)
    done.wait(timeout)
    came_back, why = list(results), said.reason  # what is logged after this is the end of the exporter
    _thread(exporter.shutdown).join(0.5)
    exporting.join(0.2)
    if not came_back:
        raise DeliveryError(why or f"no answer within {timeout:g} s")
    if getattr(came_back[0], "name", "") != "SUCCESS":
        raise DeliveryError(why or str(came_back[0]))
    return f"{_NOUNS[signal]} delivered"


def _thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        with suppress(Exception):
            work()

    thread = threading.Thread(target=run, name="brain_otel.probe", daemon=True)
    thread.start()
    return thread


def _batch(signal: Signal, settings: Settings) -> Any:
    resource = Resource.create({"deployment.environment.name": settings.environment})
    if signal == "traces":
        spans = InMemorySpanExporter()
        tracers = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        tracers.get_tracer(PROBE).start_span(PROBE).end()
        return spans.get_finished_spans()
    if signal == "logs":
        records = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's has no types
        loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
        loggers.add_log_record_processor(SimpleLogRecordProcessor(records))
        record = LogRecord(body=PROBE, severity_number=SeverityNumber.INFO, severity_text="INFO")
        loggers.get_logger(PROBE).emit(record)
        return records.get_finished_logs()
    reader = InMemoryMetricReader()
    meters = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
    meters.get_meter(PROBE).create_counter("brain_otel.doctor").add(1)
    return reader.get_metrics_data()
