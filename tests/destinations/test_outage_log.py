"""Tests of the log lines about outages: one at the beginning and one at the end."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider

from brain_otel.configuration.options import Options
from brain_otel.destinations.destination import create_destination
from brain_otel.destinations.isolation import IsolatedDestination
from brain_otel.runtime import limited_log
from tests.destinations.service import make_spans, options, settings, traced
from tests.support.otlp import OtlpReceiver, refusing

Signal = Literal["traces", "logs", "metrics"]

PROTOCOLS = ("http/protobuf", "grpc")


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver(grpc=True) as running:
        yield running


@contextmanager
def sending(given: Options) -> Iterator[Callable[[], bool]]:
    """Give a function that creates one item of the destination's signal and returns the result of a flush."""
    destination = create_destination(given, settings())
    assert destination is not None
    used = IsolatedDestination(destination)
    provider: Any
    if given.signal == "traces":
        assert used.span_processor is not None
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(used.span_processor)
        make: Callable[[], object] = partial(make_spans, provider, 1)
    elif given.signal == "logs":
        assert used.log_record_processor is not None
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(used.log_record_processor)
        make = partial(provider.get_logger("test").emit, body="x")
    else:
        assert used.metric_exporter is not None
        reader = PeriodicExportingMetricReader(used.metric_exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], shutdown_on_exit=False)
        counter = provider.get_meter("test").create_counter("x")

        def make() -> None:
            counter.add(1)
            provider.force_flush(5_000)

    def send() -> bool:
        make()
        return used.flush(5.0)

    try:
        yield send
    finally:
        if given.signal == "metrics":
            provider.shutdown()
        used.shutdown(1.0)


@pytest.fixture(autouse=True)
def _without_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log each of several outages within a minute."""
    monkeypatch.setattr(limited_log, "INTERVAL", 0.0)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that anybody has logged as a warning or worse since the last call."""
    found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    signal: Signal,
    protocol: str,
    receiver: OtlpReceiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the reason, once each per outage, however many batches are lost."""
    endpoint = receiver.endpoint if protocol == "http/protobuf" else receiver.grpc_endpoint
    with sending(options("otlp", signal, endpoint=endpoint, protocol=protocol)) as send:
        logged = [outage(receiver, caplog, send) for _ in range(2)]
    for begin, end in logged:
        assert begin.startswith(f"otlp: {signal} do not arrive, and are dropped until they do (")
        assert "Unauthorized" in begin or "UNAUTHENTICATED" in begin
        assert end == f"otlp: {signal} arrive again"


def outage(receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture, send: Any) -> list[str]:
    """Send three times to a receiver that rejects, then twice to one that accepts; return the log lines."""
    receiver.status = 401
    for _ in range(3):
        send()
    receiver.status = 200
    for _ in range(2):
        send()
    logged = lines(caplog)
    assert len(logged) == 2, logged
    return logged


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_reason_is_the_first_cause(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    """Not the last line of the exporter, which only says that it gave up."""
    with (
        refusing() as endpoint,
        traced(options("otlp", endpoint=endpoint, protocol=protocol, timeout=2_500)) as (
            provider,
            (used,),
        ),
    ):
        make_spans(provider, 1)
        used.flush(5.0)
        (line,) = lines(caplog)
    assert "refused" in line or "UNAVAILABLE" in line
    assert "max retries" not in line


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_the_reason_does_not_show_the_key_in_an_address(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    """The exception of the library names the address with its query."""
    with (
        refusing() as nobody,
        sending(options("otlp", signal, url=f"{nobody}/ingest?page=1&api_key=hunter2", timeout=1_500)) as send,
    ):
        assert not send()
    (line,) = lines(caplog)
    assert "refused" in line
    assert "page=1" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_a_flush_returns_whether_batches_were_accepted(
    signal: Signal, protocol: str, status: int, receiver: OtlpReceiver
) -> None:
    """False once after a rejected batch, even an earlier one, and True again after an accepted one."""
    endpoint = receiver.endpoint if protocol == "http/protobuf" else receiver.grpc_endpoint
    given = options("otlp", signal, endpoint=endpoint, protocol=protocol)
    with sending(given) as send:
        assert send()
        receiver.status = status
        assert not send()
        assert not send()
        receiver.status = 200
        assert send()
        assert send()


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_a_flush_returns_whether_a_file_was_written(signal: Signal, tmp_path: Path) -> None:
    """The folder is replaced by a file, so it cannot be created again."""
    folder = tmp_path / "telemetry"
    with sending(options("file", signal, path=str(folder / "kept.jsonl"))) as send:
        assert send()
        folder.rename(tmp_path / "away")
        folder.write_text("in the way")
        assert not send()
        folder.unlink()
        assert send()


def test_a_flush_returns_false_after_a_batch_lost_before_it(receiver: OtlpReceiver) -> None:
    """The schedule sent the batch before the flush."""
    receiver.status = 400
    given = options("otlp", endpoint=receiver.endpoint, schedule_delay=50)
    with traced(given) as (provider, (used,)):
        make_spans(provider, 1)
        receiver.wait_for(lambda it: [each.status for each in it.requests] == [400])
        receiver.status = 200
        deadline = time.monotonic() + 5
        while (taken := used.flush(5.0)) and time.monotonic() < deadline:  # the answer may be on its way still
            time.sleep(0.01)
        assert not taken
        assert used.flush(5.0)


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_each_outage_of_a_file_is_logged_with_its_reason(
    signal: Signal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it begins, in the words of the operating system, and one when it ends; for both outages."""
    folder = tmp_path / "telemetry"
    with sending(options("file", signal, path=str(folder / "kept.jsonl"))) as send:
        for _ in range(2):
            folder.rename(tmp_path / "away")
            folder.write_text("in the way")
            for _ in range(3):
                send()
            folder.unlink()
            (tmp_path / "away").rename(folder)
            for _ in range(2):
                send()
            begin, end = lines(caplog)
            assert begin.startswith(f"file: {signal} do not arrive, and are dropped until they do (")
            assert "exists" in begin.lower() or "Not a directory" in begin
            assert end == f"file: {signal} arrive again"


@pytest.mark.parametrize("exporter", ["otlp_http", "otlp_grpc"])
@pytest.mark.parametrize(
    ("kind", "signal"),
    [("batch", "traces"), ("simple", "traces"), ("batch", "logs"), ("simple", "logs"), ("periodic", "metrics")],
)
def test_an_outage_of_opentelemetrys_own_exporter_is_logged_once(
    kind: str, signal: Signal, exporter: str, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """As for our own, and a flush returns False."""
    http = exporter == "otlp_http"
    endpoint = f"{receiver.endpoint}/v1/{signal}" if http else receiver.grpc_endpoint
    values = {"endpoint": endpoint, **({} if http else {"tls": {"insecure": True}})}
    given = (
        options(exporter, signal, **values)
        if signal == "metrics"
        else options(kind, signal, exporter={exporter: values})
    )
    with sending(given) as send:
        for _ in range(2):
            begin, end = outage(receiver, caplog, send)
            assert begin.startswith(f"{exporter}: {signal} do not arrive, and are dropped until they do (")
            assert "Unauthorized" in begin or "UNAUTHENTICATED" in begin
            assert end == f"{exporter}: {signal} arrive again"
        receiver.status = 401
        assert not send()
        receiver.status = 200
        assert send()


def test_log_lines_of_other_exporters_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Only lines during an export of ours are held back."""
    with traced(options("otlp", endpoint="http://127.0.0.1:9")):
        for name in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk.trace"):
            logging.getLogger(name).warning("said by %s", name)
    assert len(lines(caplog)) == 2
