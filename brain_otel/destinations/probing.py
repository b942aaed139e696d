"""One test span, log record or metric through an exporter, and the reason if it does not arrive."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from brain_otel.delivery import DeliveryError

if TYPE_CHECKING:
    from brain_otel.options import Signal
    from brain_otel.settings import Settings

PROBE = "brain_otel doctor"
"""The name of every test span, log record and metric."""

_NOUNS = {"traces": "a span", "logs": "a log record", "metrics": "a metric"}


class _Words(logging.Handler):
    """Keeps the latest line of a logger: exporters return a bare failure and log the reason."""

    def __init__(self) -> None:
        super().__init__()
        self.latest = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.latest = " ".join(record.getMessage().split())[:300]


def send_probe(exporter: Any, signal: Signal, settings: Settings, timeout: float) -> str:
    """Export one item of ``signal`` and wait up to ``timeout`` seconds; what was delivered, in words.

    Raises:
        DeliveryError: it was not, with the exporter's reason.
    """
    batch = _batch(signal, settings)
    words = _Words()
    results: list[Any] = []

    def export() -> None:
        try:
            results.append(exporter.export(batch))
        except Exception as error:  # the reason is told, whatever it is
            results.append(f"{type(error).__name__}: {error}")

    upstream = logging.getLogger("opentelemetry")
    propagate, upstream.propagate = upstream.propagate, False
    upstream.addHandler(words)
    try:
        thread = threading.Thread(target=export, name="brain_otel.probe", daemon=True)
        thread.start()
        thread.join(timeout)
        if not results:
            raise DeliveryError(words.latest or f"no answer within {timeout:g} s")
        if getattr(results[0], "name", "") != "SUCCESS":
            raise DeliveryError(words.latest or str(results[0]))
    finally:
        upstream.removeHandler(words)
        upstream.propagate = propagate
        closing = threading.Thread(target=exporter.shutdown, name="brain_otel.probe", daemon=True)
        closing.start()
        closing.join(1.0)
    return f"{_NOUNS[signal]} delivered"


def _batch(signal: Signal, settings: Settings) -> Any:
    resource = Resource.create({"deployment.environment.name": settings.environment})
    if signal == "traces":
        spans = InMemorySpanExporter()
        tracers = TracerProvider(resource=resource)
        tracers.add_span_processor(SimpleSpanProcessor(spans))
        tracers.get_tracer(PROBE).start_span(PROBE).end()
        return spans.get_finished_spans()
    if signal == "logs":
        records = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's has no types
        loggers = LoggerProvider(resource=resource)
        loggers.add_log_record_processor(SimpleLogRecordProcessor(records))
        record = LogRecord(body=PROBE, severity_number=SeverityNumber.INFO, severity_text="INFO")
        loggers.get_logger(PROBE).emit(record)
        return records.get_finished_logs()
    reader = InMemoryMetricReader()
    MeterProvider(metric_readers=[reader], resource=resource).get_meter(PROBE).create_counter(
        "brain_otel.doctor"
    ).add(1)
    return reader.get_metrics_data()
