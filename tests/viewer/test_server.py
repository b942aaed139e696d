"""The command ``brain-otel view``, and clients that are not ours."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.doctor.command import run_command
from tests.support.hidden import hidden
from tests.support.process import PROGRAMS, Server, free_port, run_python
from tests.support.viewer import RunningViewer, envelope, error
from tests.support.waiting import until


def test_a_port_that_is_taken_is_told(viewer: RunningViewer, tmp_path: Path) -> None:
    """In one line, with what to do."""
    result = run_command("view", "--port", str(viewer.port), "--file", str(tmp_path / "view.db"))
    assert result.returncode == 1
    assert result.err == f"port {viewer.port} of 127.0.0.1: another program uses it; choose another one with --port\n"
    assert not (tmp_path / "view.db").exists()


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "view.db").write_text("mine\n" * 1_000)
    result = run_command("view", "--port", "0", "--file", str(tmp_path / "view.db"))
    assert (result.returncode, result.err.count("\n")) == (1, 1)
    assert str(tmp_path / "view.db") in result.err


def test_data_are_kept_over_restarts(tmp_path: Path) -> None:
    """In one file, by default in the user's data directory, for the user alone."""
    port = free_port()
    command = [str(PROGRAMS / "brain-otel"), "view", "--port", str(port)]
    for events in (1, 2):
        with Server(command, port, env={"XDG_DATA_HOME": str(tmp_path)}) as server:
            viewer = RunningViewer(tmp_path, port=port)
            server.request("POST", "/stream", content=_envelope()).raise_for_status()
            (issue,) = server.get("/issues.json").json()["issues"]
            assert issue["total"] == events
            assert viewer.url in server.output
            server.terminate(10)
    assert (tmp_path / "brain-otel" / "view.db").stat().st_mode & 0o777 == 0o600


def _envelope() -> bytes:
    return envelope([("event", error("Kept"))])


SENTRY = """
import logging, sentry_sdk
sentry_sdk.init({dsn} traces_sample_rate=1.0, profiles_sample_rate=1.0, release="foreign@1", environment="abroad",
                enable_logs=True)
sentry_sdk.set_user({{"id": "ada"}})
with sentry_sdk.start_transaction(op="task", name="foreign {name}"):
    with sentry_sdk.start_span(op="db", name="SELECT 1"):
        pass
    sentry_sdk.logger.warning("foreign line {name}")
    (lambda: [each for each in range(3_000_000)])()
    try:
        secret = 1
        1 / 0
    except ZeroDivisionError:
        sentry_sdk.capture_exception()
sentry_sdk.flush(10)
"""


@pytest.mark.parametrize("name", ["dsn", "spotlight"])
def test_sentrys_sdk_is_shown(viewer: RunningViewer, tmp_path: Path, name: str) -> None:
    """By a DSN, and by Spotlight's variable alone."""
    dsn = f"dsn='http://key@127.0.0.1:{viewer.port}/1'," if name == "dsn" else ""
    env = {} if name == "dsn" else {"SENTRY_SPOTLIGHT": f"{viewer.url}/stream"}
    done = run_python(SENTRY.format(dsn=dsn, name=name), env, pythonpath=[hidden(tmp_path)])
    assert done.returncode == 0, done.stderr
    until(lambda: viewer.json("/traces", route=f"foreign {name}")["roots"], what="the transaction")
    (root,) = viewer.json("/traces", route=f"foreign {name}")["roots"]
    assert (root["release"], root["environment"], root["user"]) == ("foreign@1", "abroad", "ada")
    until(lambda: viewer.json(f"/traces/{root['trace']}")["errors"], what="the error")
    if name == "dsn":  # without one, sentry-sdk keeps log lines to itself
        until(lambda: viewer.json("/logs", q="foreign line dsn")["lines"], what="the log line")
    trace = viewer.json(f"/traces/{root['trace']}")
    spans = [(each["depth"], each["name"]) for each in trace["spans"] if "/stream" not in each["name"]]
    assert spans == [(0, f"foreign {name}"), (1, "SELECT 1")]  # sentry-sdk traces its own requests to Spotlight, too
    assert [each["message"] for each in trace["logs"]] == ["foreign line dsn"] * (name == "dsn")
    assert "<lambda>" in {each["function"] for each in trace["flame"]["nodes"]}
    issue = viewer.json(f"/issues/{trace['errors'][0]['issue']}", event=trace["errors"][0]["event_id"])
    (exception,) = issue["event"]["details"]["exceptions"]
    assert (exception["type"], exception["value"]) == ("ZeroDivisionError", "division by zero")
    assert "secret" in exception["frames"][0]["vars"]


OTEL = """
import logging
from opentelemetry._logs import set_logger_provider, SeverityNumber, LogRecord
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
traces, logs = TracerProvider(), LoggerProvider()
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
try:
    with traces.get_tracer("t").start_as_current_span("otel job", kind=SpanKind.CONSUMER):
        logs.get_logger("l").emit(LogRecord(body="otel line", severity_number=SeverityNumber.WARN))
        {}["key"]
except KeyError:
    pass
traces.shutdown()
logs.shutdown()
"""


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_opentelemetrys_sdk_is_shown(viewer: RunningViewer, compression: str) -> None:
    """Its exception is an issue, with the frames of its stack trace."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": viewer.url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        "OTEL_SERVICE_NAME": f"otel-{compression}",
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=7,deployment.environment.name=abroad",
    }
    done = run_python(OTEL, env)
    assert done.returncode == 0, done.stderr
    (root,) = viewer.json("/traces", service=f"otel-{compression}")["roots"]
    assert (root["route"], root["release"], root["environment"], root["failed"]) == ("otel job", "7", "abroad", 1)
    trace = viewer.json(f"/traces/{root['trace']}")
    assert [(each["level"], each["message"]) for each in trace["logs"]] == [("warning", "otel line")]
    (error,) = trace["errors"]
    assert error["title"] == "KeyError: 'key'"
    details = viewer.json(f"/issues/{error['issue']}", event=error["event_id"])["event"]["details"]
    assert details["exceptions"][0]["frames"][0]["line"] == 17


@pytest.mark.thorough
def test_kill_9_within_a_write_leaves_all_or_nothing_of_it(tmp_path: Path) -> None:
    """A transaction that is larger than SQLite's cache is in the file before it ends; what was accepted stays."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(15_000):
        each = spans.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="large")
        each.start_time_unix_nano = each.end_time_unix_nano = time.time_ns()
        each.attributes.add(key="text").value.string_value = f"{number:1500}"
    body, headers = request.SerializeToString(), {"Content-Type": "application/x-protobuf"}
    with RunningViewer(tmp_path) as viewer, ThreadPoolExecutor(1) as other:
        viewer.send(("event", error()))
        log = Path(f"{viewer.path}-wal")
        before = log.stat().st_size
        answer = other.submit(viewer.server.request, "POST", "/v1/traces", content=body, headers=headers)
        until(lambda: answer.done() or log.stat().st_size > before + (1 << 20), what="the write")
        os.kill(viewer.server.pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            answer.result()
    with RunningViewer(tmp_path) as viewer:
        assert viewer.json("/issues")["issues"][0]["total"] == 1
        with closing(sqlite3.connect(viewer.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("SELECT count(*) FROM spans").fetchall() == [(0,)]
        viewer.post("/v1/traces", content=body, headers=headers).raise_for_status()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[RunningViewer, Path]]:
    """A viewer with its file on a disk of 8 MiB, which it alone sees; and that disk's folder, seen from here."""
    disk = tmp_path / "disk"
    disk.mkdir()
    viewer = RunningViewer(disk, fresh=True)
    mount = f'mount -t tmpfs -o size=8m none {disk} && exec "$@"'
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    viewer.server.command = [*alone, *viewer.server.command]
    with viewer:
        yield viewer, Path(f"/proc/{viewer.server.pid}/root{disk}")


def test_a_full_disk_is_told_and_counted(small_disk: tuple[RunningViewer, Path]) -> None:
    """Senders are told to come back; pages are still shown; with room again, all goes on, with what was lost."""
    viewer, disk = small_disk
    viewer.send(("event", error("Kept")))
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(16 << 20))
    refused = 0
    while refused < 3:
        answer = viewer.post("/api/1/envelope/", content=envelope([("event", error("Lost", "x" * 100_000))]))
        assert answer.status_code in (200, 503)
        refused += answer.status_code == 503
        assert answer.status_code == 200 or answer.headers["Retry-After"] == "2"
    assert viewer.json("/issues", q="Kept")["issues"][0]["total"] == 1
    assert viewer.server.output.count("cannot write its file") == 1
    filler.unlink()
    viewer.send(("event", error("After")))
    assert viewer.json("/issues", q="After")["issues"][0]["total"] == 1
    assert f"{refused} error by the viewer: could not be written" in " ".join(viewer.get("/issues").text.split())
