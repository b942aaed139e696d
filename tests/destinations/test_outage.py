"""An exporter that fails for a while is two log lines: that it does, and that it does no more."""

import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider

from brain_otel.destinations import create_destination
from brain_otel.destinations.isolation import InUse
from tests.destinations.service import make_spans, options, settings, traced
from tests.support.otlp import OtlpReceiver, refusing

PROTOCOLS = ("http/protobuf", "grpc")


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver(grpc=True) as running:
        yield running


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as a warning or worse, by anybody, since this was asked last."""
    found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_an_outage_is_told_when_it_begins_and_when_it_ends(
    signal: Literal["traces", "logs", "metrics"],
    protocol: str,
    receiver: OtlpReceiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the reason, once each, for each outage, however many batches are lost in it."""
    endpoint = receiver.endpoint if protocol == "http/protobuf" else receiver.grpc_endpoint
    destination = create_destination(options("otlp", signal, endpoint=endpoint, protocol=protocol), settings())
    assert destination is not None
    if signal == "traces":
        with traced(options("otlp", endpoint=endpoint, protocol=protocol)) as (tracers, (used,)):
            told = [outage(receiver, caplog, lambda: traces(tracers, used)) for _ in range(2)]
    elif signal == "logs":
        assert destination.log_record_processor is not None
        loggers = LoggerProvider(shutdown_on_exit=False)
        loggers.add_log_record_processor(destination.log_record_processor)
        emit = loggers.get_logger("test").emit
        told = [outage(receiver, caplog, lambda: (emit(body="x"), destination.flush(5.0))) for _ in range(2)]
    else:
        assert destination.metric_exporter is not None
        reader = PeriodicExportingMetricReader(destination.metric_exporter, export_interval_millis=3_600_000)
        meters = MeterProvider([reader], shutdown_on_exit=False)
        counter = meters.get_meter("test").create_counter("x")
        told = [outage(receiver, caplog, lambda: (counter.add(1), meters.force_flush(5_000))) for _ in range(2)]
        meters.shutdown()
    destination.shutdown(1.0)
    for begin, end in told:
        assert begin.startswith(f"otlp: {signal} do not arrive, and are dropped until they do (")
        assert "Unauthorized" in begin or "UNAUTHENTICATED" in begin
        assert end == f"otlp: {signal} arrive again"


def traces(provider: TracerProvider, used: InUse) -> None:
    make_spans(provider, 1)
    used.flush(5.0)


def outage(receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture, send: Any) -> list[str]:
    """Send three times to a receiver that refuses, then twice to one that does not; what was logged."""
    receiver.status = 401
    for _ in range(3):
        send()
    receiver.status = 200
    for _ in range(2):
        send()
    told = lines(caplog)
    assert len(told) == 2, told
    return told


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_reason_is_the_first_cause(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not the exporter's last line, which tells only that it gave up."""
    with (
        refusing() as endpoint,
        traced(options("otlp", endpoint=endpoint, protocol=protocol, timeout=2_500)) as (
            provider,
            (used,),
        ),
    ):
        make_spans(provider, 1)
        used.flush(5.0)
        (told,) = lines(caplog)
    assert "refused" in told or "UNAVAILABLE" in told
    assert "max retries" not in told


def test_what_exporters_of_others_log_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Only what is said during an export of ours is kept back."""
    with traced(options("otlp", endpoint="http://127.0.0.1:9")):
        for name in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk.trace"):
            logging.getLogger(name).warning("said by %s", name)
    assert len(lines(caplog)) == 2
