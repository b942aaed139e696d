"""Sends one test span, log record or metric through an exporter, for ``brain-otel doctor``."""

from contextlib import suppress
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from brain_otel.configuration.options import Signal
from brain_otel.configuration.settings import Settings
from brain_otel.delivery import DeliveryError, PartialDelivery
from brain_otel.destinations.outage_log import CapturedLogs
from brain_otel.runtime.thread_pool import side_by_side

PROBE = "brain_otel doctor"
"""The name of each test span, log record and metric."""

RETRY_TIME = 2.0
"""Seconds to add to the timeout of the exporter. It logs the reason of a failure only before it tries again."""

_NOUNS = {"traces": "a span", "logs": "a log record", "metrics": "a metric"}


def send_probe(exporter: Any, signal: Signal, settings: Settings, timeout: float) -> str:
    """Export one item of ``signal``, wait up to ``timeout`` seconds, and return what was delivered, in words.

    Raises:
        DeliveryError: the item was not accepted; the message is the exporter's reason.
        PartialDelivery: it was accepted with a warning.
    """
    batch = _test_batch(signal, settings)
    logs = CapturedLogs()
    results: list[Any] = []

    def export(_: float) -> None:
        with logs:
            try:
                results.append(exporter.export(batch))
            except Exception as error:  # an exporter may raise anything
                results.append(f"{type(error).__name__}: {error}")

    def end(_: float) -> None:
        with suppress(Exception):
            exporter.shutdown()

    side_by_side([("sending a test item", export)], timeout)
    finished, reason = list(results), logs.reason  # later lines are about the exporter's shutdown
    side_by_side([("ending the exporter of a test item", end)], 0.5)
    if not finished:
        raise DeliveryError(reason or f"no answer within {timeout:g} s")
    if getattr(finished[0], "name", "") != "SUCCESS":
        raise DeliveryError(reason or str(finished[0]))
    if logs.partial.rejected:
        raise DeliveryError(f"rejected by the receiver ({logs.partial.message or 'without a reason'})")
    if logs.partial.message:
        raise PartialDelivery(f"{_NOUNS[signal]} delivered, with a warning ({logs.partial.message})")
    return f"{_NOUNS[signal]} delivered"


def _test_batch(signal: Signal, settings: Settings) -> Any:
    """One item of ``signal`` as a processor or reader would hand it to the exporter."""
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
