"""Tests of what reaches the processors and exporters of a destination, and of what cannot be masked."""

import logging
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from brain_otel.destinations.memory import Memory, MemoryMetricExporter
from brain_otel.privacy import FILTERED
from brain_otel.privacy.processors import (
    MaskingLogRecordProcessor,
    MaskingSpanProcessor,
    mask_metrics_of,
    masked_log_record,
)
from brain_otel.runtime.guard import forget_logged_places
from tests.privacy.test_spans import CONTEXT, SECRET, secretive_span

RESOURCE = Resource({"tenant.api_key": SECRET, "service.name": "shop"})


@pytest.fixture(autouse=True)
def _clean() -> None:
    forget_logged_places()


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_span_that_cannot_be_masked_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The application may call a span anything. One line says so, and the next span arrives."""
    exporter = InMemorySpanExporter()
    processor = MaskingSpanProcessor(SimpleSpanProcessor(exporter))
    for name in (7, 8, "work"):
        processor.on_end(secretive_span(name=name))
    assert [span.name for span in exporter.get_finished_spans()] == ["work"]
    assert processor.dropped == 2
    (line,) = errors_in(caplog)
    assert "masking a span, which is dropped" in line


def log_record(body: Any, attributes: Any) -> ReadWriteLogRecord:
    return ReadWriteLogRecord(LogRecord(body=body, attributes=attributes), RESOURCE)


def test_a_log_record_is_masked_with_its_resource() -> None:
    """On a copy: other processors see what the application wrote."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's has no types
    given = log_record(f"password={SECRET}", {"api_key": SECRET, "kept": 1})
    MaskingLogRecordProcessor(SimpleLogRecordProcessor(exporter)).on_emit(given)
    (found,) = exporter.get_finished_logs()
    assert found.log_record.body == f"password={FILTERED}"
    assert found.log_record.attributes == {"api_key": FILTERED, "kept": 1}
    assert found.resource.attributes == {"tenant.api_key": FILTERED, "service.name": "shop"}
    assert SECRET not in found.to_json()
    assert given.log_record.body == f"password={SECRET}"
    assert given.resource is RESOURCE


def test_the_scope_and_the_name_of_a_log_record_are_masked() -> None:
    """A logger's name is the name of its scope; without secrets the record is the same object."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's has no types
    processor = MaskingLogRecordProcessor(SimpleLogRecordProcessor(exporter))
    for scope, name in ((f"shop.token={SECRET}", "paid"), ("shop", f"paid password={SECRET}")):
        record = LogRecord(body="paid", event_name=name)
        processor.on_emit(ReadWriteLogRecord(record, Resource({}), InstrumentationScope(scope)))
    first, second = exporter.get_finished_logs()
    assert first.instrumentation_scope == InstrumentationScope(f"shop.token={FILTERED}")
    assert second.log_record.event_name == f"paid password={FILTERED}"
    public = ReadWriteLogRecord(LogRecord(body="paid"), Resource({}), InstrumentationScope("shop"))
    assert masked_log_record(public) is public


def test_a_log_record_leaves_without_its_exception_object() -> None:
    """An exporter could format it past the mask; the attributes have its text."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's has no types
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(MaskingLogRecordProcessor(SimpleLogRecordProcessor(exporter)))
    provider.get_logger("test").emit(body="failed", exception=ValueError(f"password={SECRET}"))
    (found,) = exporter.get_finished_logs()
    assert found.log_record.exception is None
    assert (found.log_record.attributes or {})["exception.message"] == f"password={FILTERED}"


def test_a_log_record_that_cannot_be_masked_is_dropped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """As when a later SDK keeps the attributes elsewhere."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's has no types
    processor = MaskingLogRecordProcessor(SimpleLogRecordProcessor(exporter))
    given = log_record(SECRET, {"api_key": SECRET})
    del given.log_record.attributes
    for _ in range(2):
        processor.on_emit(given)
    processor.on_emit(log_record("kept", {}))
    assert [each.log_record.body for each in exporter.get_finished_logs()] == ["kept"]
    assert processor.dropped == 2
    (line,) = errors_in(caplog)
    assert "masking a log record, which is dropped" in line


def test_metrics_are_exported_with_masked_resources_and_attributes() -> None:
    """Their values and the exporter's preferences stay."""
    memory = Memory()
    exporter: MetricExporter = MemoryMetricExporter(memory)
    mask_metrics_of(exporter)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
    meter = provider.get_meter(f"shop.token={SECRET}", attributes={"api_key": SECRET})
    meter.create_counter("orders", description=f"as with token={SECRET}").add(3, {"api_key": SECRET, "region": "eu"})
    meter.create_histogram("sizes").record(3, {"region": "eu"})
    provider.force_flush()
    provider.shutdown()
    found: MetricsData = memory.metrics[0]
    (of_resource,) = found.resource_metrics
    assert of_resource.resource.attributes == {"tenant.api_key": FILTERED, "service.name": "shop"}
    assert SECRET not in found.to_json()
    (of_scope,) = of_resource.scope_metrics
    assert of_scope.scope == InstrumentationScope(f"shop.token={FILTERED}", attributes={"api_key": FILTERED})
    assert of_scope.metrics[0].description == f"as with token={FILTERED}"
    points = {each.name: each.data.data_points[0].attributes for each in of_resource.scope_metrics[0].metrics}
    assert points == {"orders": {"api_key": FILTERED, "region": "eu"}, "sizes": {"region": "eu"}}


def test_a_resource_without_secrets_is_the_same_object() -> None:
    """Encoders group spans by it."""
    exporter = InMemorySpanExporter()
    resource = Resource({"service.name": "shop"})
    processor = MaskingSpanProcessor(SimpleSpanProcessor(exporter))
    for _ in range(2):
        processor.on_end(ReadableSpan("work", CONTEXT, resource=resource))
    assert [span.resource is resource for span in exporter.get_finished_spans()] == [True, True]
