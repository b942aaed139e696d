"""Tests of the memory destination."""

from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from brain_otel.configuration.error import ConfigurationError
from brain_otel.destinations import memory
from brain_otel.destinations.destination import create_destination
from brain_otel.destinations.memory import MAX_ITEMS, MAX_METRICS, MEMORY
from tests.destinations.service import make_spans, options, settings, traced


@pytest.fixture(autouse=True)
def _clean() -> None:
    MEMORY.clear()


def test_the_latest_spans_are_kept() -> None:
    """At once, and no more than the limit."""
    with traced(options("memory")) as (provider, _):
        make_spans(provider, MAX_ITEMS + 5)
    assert [span.name for span in MEMORY.spans] == [f"work {number}" for number in range(5, MAX_ITEMS + 5)]


def test_log_records_and_metrics_are_kept() -> None:
    """Each through the provider of its signal."""
    logs, metrics = (create_destination(options("memory", signal), settings()) for signal in _signals())
    assert logs is not None
    assert metrics is not None
    assert logs.log_record_processor is not None
    assert metrics.metric_exporter is not None
    loggers = LoggerProvider(shutdown_on_exit=False)
    loggers.add_log_record_processor(logs.log_record_processor)
    loggers.get_logger("test").emit(LogRecord(body="said"))
    reader = PeriodicExportingMetricReader(metrics.metric_exporter, export_interval_millis=float("inf"))
    meters = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    meters.get_meter("test").create_counter("sold").add(2)
    for _ in range(MAX_METRICS + 5):
        meters.force_flush()
    meters.shutdown()
    assert [record.log_record.body for record in MEMORY.log_records] == ["said"]
    assert len(MEMORY.metrics) == MAX_METRICS
    assert MEMORY.metrics[-1].resource_metrics[0].scope_metrics[0].metrics[0].name == "sold"


def test_an_option_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match=r"size is 1; allowed: no keys"):
        memory.create_destination(options("memory", size=1), settings())


def _signals() -> tuple[Any, ...]:
    return "logs", "metrics"
