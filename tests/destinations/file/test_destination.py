"""The file destination: OTLP JSON lines that are whole, whoever writes beside, and bounded."""

import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.trace import Tracer

from brain_otel.configuration.error import ConfigurationError
from brain_otel.delivery import DeliveryError
from brain_otel.destinations.file import destination as file
from brain_otel.destinations.file import rotating_file
from brain_otel.destinations.file.rotating_file import RotatingFile
from brain_otel.destinations.memory import MEMORY
from brain_otel.runtime.guard import forget_logged_places
from tests.destinations.service import (
    answers_of_both,
    in_child,
    make_spans,
    options,
    serve,
    settings,
    traced,
    write_config,
)
from tests.support import ROOT
from tests.support.otlp_data import log_records_of, metrics_of, read_lines, spans_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

Lines = dict[int, bytes]


@pytest.fixture(autouse=True)
def _clean() -> None:
    forget_logged_places()
    MEMORY.clear()


def files_of(path: Path) -> list[Path]:
    return [each for each in path.parent.iterdir() if each.name.startswith(path.name) and each.suffix != ".lock"]


def span_names(path: Path) -> Counter[str]:
    return Counter(span.name for request in read_lines(*files_of(path)) for span in spans_of(request))


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


def fail(tracer: Tracer) -> None:
    with suppress(ValueError), tracer.start_as_current_span("inner") as span:
        span.add_event("crumb", {"n": 2**40})
        raise ValueError("no")


def test_the_spans_in_the_file_are_the_sdks_spans(tmp_path: Path) -> None:
    """Compared as Protobuf messages."""
    path = tmp_path / "telemetry.jsonl"
    with traced(options("memory"), options("file", path=str(path))) as (provider, (_, used)):
        tracer = provider.get_tracer("test", "1.0")
        with tracer.start_as_current_span("outer", attributes={"a": 1, "b": [1.5, 2.5], "c": "ü", "d": True}):
            fail(tracer)
        assert used.flush(5.0)
    kept: list[ReadableSpan] = list(MEMORY.spans)
    assert sorted(map(repr, (span for request in read_lines(path) for span in spans_of(request)))) == sorted(
        map(repr, spans_of(encode_spans(kept)))
    )
    assert [span.name for span in kept] == ["inner", "outer"]


def test_a_service_writes_traces_logs_and_metrics(tmp_path: Path) -> None:
    """All three to one path."""
    path = tmp_path / "telemetry.jsonl"
    given = [{"file": {"path": str(path)}}]
    with serve(write_config(tmp_path, traces=given, logs=given, metrics=given)) as server:
        answer = server.get("/items/5").json()
        server.terminate(timeout=4.0)
    requests = read_lines(path)
    spans = [span for each in requests if hasattr(each, "resource_spans") for span in spans_of(each)]
    (request,) = [span for span in spans if span.name == "GET /items/{item_id}"]
    assert (request.trace_id, request.span_id) == (answer["trace_id"], answer["span_id"])
    records = [record for each in requests if hasattr(each, "resource_logs") for record in log_records_of(each)]
    (message,) = [record for record in records if record.body == "found"]
    assert message.attributes["brain_otel.event_id"] == answer["event_id"]
    metrics = [metric for each in requests if hasattr(each, "resource_metrics") for metric in metrics_of(each)]
    assert "http.server.request.duration" in {metric.name for metric in metrics}


def test_only_the_owner_can_read_the_file_and_a_missing_folder_is_created(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "telemetry.jsonl"
    with traced(options("file", path=str(path))) as (provider, (used,)):
        make_spans(provider, 1)
        assert used.flush(5.0)
    for each in (path, Path(f"{path}.lock")):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_nan_and_infinity_are_written_as_protobuf_json(tmp_path: Path) -> None:
    """A strict reader of JSON accepts them."""
    path = tmp_path / "telemetry.jsonl"
    with traced(options("file", path=str(path))) as (provider, (used,)):
        make_spans(provider, 1, "odd", inf=float("inf"), minus=float("-inf"), nan=float("nan"))
        assert used.flush(5.0)

    def reject(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    json.loads(path.read_text(), parse_constant=reject)
    (span,) = spans_of(read_lines(path)[0])
    assert (span.attributes["inf"], span.attributes["minus"]) == (float("inf"), float("-inf"))
    assert span.attributes["nan"] != span.attributes["nan"]


@pytest.mark.parametrize("backups", [0, 3])
def test_rotation_bounds_the_number_and_size_of_files(backups: int, tmp_path: Path) -> None:
    """The number and size of files stay within their limits, and the latest spans are kept."""
    path = tmp_path / "telemetry.jsonl"
    given = options("file", path=str(path), max_bytes=20_000, backups=backups, max_export_batch_size=4)
    with traced(given) as (provider, (used,)):
        for number in range(30):
            make_spans(provider, 8, f"round {number}", text="x" * 500)
            assert used.flush(5.0)
    names = {path.name, *(f"{path.name}.{number + 1}" for number in range(backups))}
    assert {each.name for each in files_of(path)} == names
    assert all(each.stat().st_size <= 20_000 for each in files_of(path))
    kept = span_names(path)
    assert kept["round 29 7"] == 1
    assert set(kept.values()) == {1}


def test_a_batch_that_is_longer_than_a_file_is_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Only a single span that is too long is lost, wherever in the batch it is."""
    path = tmp_path / "telemetry.jsonl"
    given = options("file", path=str(path), max_bytes=10_000, backups=100, schedule_delay=60_000)
    with traced(given) as (provider, (used,)):
        make_spans(provider, 50, "small", text="x" * 800)
        assert used.flush(5.0)
        assert failures(caplog) == []
        make_spans(provider, 7, "earlier")
        make_spans(provider, 1, "large", text="x" * 20_000)
        make_spans(provider, 20, "later")
        used.flush(5.0)
    expected = {"small": 50, "earlier": 7, "later": 20}
    assert span_names(path) == {f"{name} {index}": 1 for name, number in expected.items() for index in range(number)}
    assert len(failures(caplog)) == 1
    assert "longer than max_bytes" in failures(caplog)[0]


def test_a_log_record_that_is_longer_than_a_file_is_lost_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The others of its batch are written, in their order."""
    path = tmp_path / "telemetry.jsonl"
    given = options("file", "logs", path=str(path), max_bytes=10_000, backups=100, schedule_delay=60_000)
    destination = file.create_destination(given, settings())
    assert destination.log_record_processor is not None
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(destination.log_record_processor)
    bodies = [f"small {number}" for number in range(100)]
    for number, body in enumerate(bodies):
        provider.get_logger("test").emit(body=body)
        if number == 30:
            provider.get_logger("test").emit(body="x" * 20_000)
    destination.flush(5.0)
    destination.shutdown(1.0)
    kept = [record.body for request in read_lines(*files_of(path)) for record in log_records_of(request)]
    assert sorted(kept) == sorted(bodies)
    assert len(failures(caplog)) == 1
    assert "longer than max_bytes" in failures(caplog)[0]


def test_metrics_that_are_longer_than_a_file_are_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By metric and by point. Each arrives once, even of a metric that is too long by itself."""
    path = tmp_path / "telemetry.jsonl"
    destination = file.create_destination(
        options("file", "metrics", path=str(path), max_bytes=10_000, backups=100), settings()
    )
    assert destination.metric_exporter is not None
    reader = PeriodicExportingMetricReader(destination.metric_exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    for scope in ("one", "two"):
        meter = provider.get_meter(scope)
        for name in ("a", "b", "c"):
            meter.create_counter(f"{scope}.{name}").add(1)
        many = meter.create_counter(f"{scope}.many")
        spread = meter.create_histogram(f"{scope}.spread")
        for number in range(200):
            many.add(number, {"key": f"{number}"})
            spread.record(number, {"key": f"{number}"})
    assert provider.force_flush(5_000)
    assert destination.flush(5.0)
    assert failures(caplog) == []
    metrics = [metric for request in read_lines(*files_of(path)) for metric in metrics_of(request)]
    for scope in ("one", "two"):
        assert sorted(each.name for each in metrics if each.scope == scope and each.name[-2] == ".") == [
            f"{scope}.a",
            f"{scope}.b",
            f"{scope}.c",
        ]
        for name in ("many", "spread"):
            points = [point for each in metrics if each.name == f"{scope}.{name}" for point in each.points]
            found = sorted((int(point.attributes["key"]), point.value) for point in points)
            assert found == [(number, number) for number in range(200)]
    provider.shutdown()


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application may change its working directory, as a daemon does."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with traced(options("file", path="telemetry/spans.jsonl")) as (provider, (used,)):
        make_spans(provider, 1, "here")
        assert used.flush(5.0)
        monkeypatch.chdir(tmp_path / "elsewhere")
        make_spans(provider, 1, "there")
        assert used.flush(5.0)
    assert span_names(tmp_path / "telemetry" / "spans.jsonl") == {"here 0": 1, "there 0": 1}
    assert list((tmp_path / "elsewhere").iterdir()) == []


WRITER = """
import sys, threading
from pathlib import Path
from brain_otel.destinations.file.rotating_file import RotatingFile
name, path, bound = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
file = RotatingFile(path, max_bytes=bound, backups=100)
def write(thread):
    for number in range(250):
        text = "x" * (number * 7 % 900)
        file.write(f'{{"writer":"{name}.{thread}","number":{number},"text":"{text}"}}\\n'.encode())
threads = [threading.Thread(target=write, args=(thread,)) for thread in range(3)]
for each in threads: each.start()
for each in threads: each.join()
"""


def test_processes_and_threads_share_a_path_without_lost_or_torn_lines(tmp_path: Path) -> None:
    """Four processes with three threads each write and rotate. Each line is there once, whole, in order."""
    path = tmp_path / "telemetry.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER]
    writers = [
        subprocess.Popen([*command, str(process), str(path), "50000"], env=environment) for process in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    files = sorted(files_of(path), key=lambda each: int(each.suffix[1:]) if each != path else 0, reverse=True)
    assert len(files) > 10
    assert all(each.stat().st_size <= 50_000 for each in files)
    by_writer: dict[str, list[int]] = {}
    for each in files:
        for line in each.read_text().splitlines():
            found: dict[str, Any] = json.loads(line)
            by_writer.setdefault(found["writer"], []).append(found["number"])
    assert by_writer == {f"{process}.{thread}": list(range(250)) for process in range(4) for thread in range(3)}


def test_a_fork_in_the_middle_of_a_write_blocks_nobody(tmp_path: Path) -> None:
    """A child forked while its parent writes holds neither lock, and both go on."""
    # So long a file that it is not rotated meanwhile: the children's lines would go with what is oldest.
    written = RotatingFile(tmp_path / "telemetry.jsonl", max_bytes=2**40, backups=1)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            written.write(b'{"from":"parent"}\n')
            time.sleep(0.0002)  # or a child that polls for the lock could starve

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(20):
            assert in_child(lambda: written.write(b'{"from":"child"}\n')) == "None"
    finally:
        stop.set()
        thread.join(10)
    with written.path.open("rb") as lines:
        found = Counter(lines)
    assert set(found) == {b'{"from":"parent"}\n', b'{"from":"child"}\n'}
    assert found[b'{"from":"child"}\n'] == 20


def test_forked_workers_write_to_one_file(tmp_path: Path) -> None:
    """If gunicorn loads the app before it forks, the spans of each worker are there once."""
    path = tmp_path / "telemetry.jsonl"
    with serve(write_config(tmp_path, traces=[{"file": {"path": str(path)}}]), workers=2) as server:
        answers = answers_of_both(server, lambda _: server.get("/fast").json())
        server.terminate(timeout=5.0)
    spans = [span for request in read_lines(path) for span in spans_of(request) if span.name == "GET /fast"]
    assert sorted(span.span_id for span in spans) == sorted(answer["span_id"] for answer in answers)


def test_half_a_line_of_a_killed_process_harms_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    path.write_bytes(b'{"torn":')
    RotatingFile(path, max_bytes=1_000, backups=1).write(b'{"whole":1}\n')
    assert path.read_bytes() == b'{"torn":\n{"whole":1}\n'


@pytest.mark.parametrize("removed", ["the file", "the folder"])
def test_a_removed_file_or_folder_is_created_again(
    removed: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As tools that rotate by themselves, and people, do."""
    path = tmp_path / "folder" / "telemetry.jsonl"
    with traced(options("file", path=str(path))) as (provider, (used,)):
        make_spans(provider, 1, "before")
        assert used.flush(5.0)
        for each in list(path.parent.iterdir()) if removed == "the folder" else [path]:
            each.unlink()
        if removed == "the folder":
            path.parent.rmdir()
        make_spans(provider, 1, "after")
        assert used.flush(5.0)
    assert span_names(path) == {"after 0": 1}
    assert failures(caplog) == []


def test_a_full_disk_is_one_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However many batches are lost. Each flush returns False, and the other destinations go on."""
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    with traced(options("memory"), options("file", path=str(path))) as (provider, (_, used)):
        for _ in range(5):
            make_spans(provider, 1)
            assert not used.flush(5.0)
    assert len(MEMORY.spans) == 5
    assert failures(caplog) == []
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("file: traces do not arrive")
    assert "No space left on device" in line


def test_half_a_line_on_a_full_disk_is_removed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next line begins where the removed half began."""
    written = RotatingFile(tmp_path / "telemetry.jsonl", max_bytes=1_000, backups=1)
    written.write(b"one\n")
    write, calls = os.write, iter([3, None])

    def fail_after(descriptor: int, data: memoryview) -> int:
        size = next(calls)
        if size is None:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:size])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail_after)
        with pytest.raises(OSError, match="No space left"):
            written.write(b"two, which is longer\n")
    written.write(b"three\n")
    assert written.path.read_bytes() == b"one\nthree\n"


def test_the_wait_for_another_processs_lock_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been stopped in the middle of a write."""
    monkeypatch.setattr(rotating_file, "LOCK_TIMEOUT", 0.1)
    written = RotatingFile(tmp_path / "telemetry.jsonl", max_bytes=1_000, backups=1)
    other = RotatingFile(written.path, max_bytes=1_000, backups=1)
    with other._locked(), pytest.raises(BlockingIOError):
        written.write(b"one\n")
    written.write(b"two\n")
    assert written.path.read_bytes() == b"two\n"


@pytest.mark.parametrize("path", ["", "/proc/none/telemetry.jsonl", "/dev/null/telemetry.jsonl"])
def test_a_path_that_cannot_be_written_is_an_error(path: str) -> None:
    with pytest.raises(ConfigurationError, match="path is"):
        file.create_destination(options("file", path=path), settings())


def test_a_probe_creates_no_file(tmp_path: Path) -> None:
    """A file would belong to the user who runs doctor, and the service could not write it."""
    for path in (tmp_path / "spans.jsonl", tmp_path / "deeper" / "still" / "spans.jsonl"):
        assert file.probe(options("file", path=str(path)), settings(), 1.0) == f"{path} can be written"
    assert list(tmp_path.iterdir()) == []


def test_a_probe_says_why_the_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "in the way" / "spans.jsonl", "Not a directory")):
        with pytest.raises(DeliveryError, match=why):
            file.probe(options("file", path=str(path)), settings(), 1.0)
