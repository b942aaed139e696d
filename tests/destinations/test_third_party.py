"""Tests of destinations of other packages, found by entry point."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.destinations.plugins import write_plugin
from tests.destinations.service import environment_of, serve, write_config
from tests.support import ROOT
from tests.support.otlp_data import read_lines, spans_of
from tests.support.process import SLACK, run_python
from tests.support.tiers import quick_one_in

GROUP = "brain_otel_destination"

WIDGET = """
import json, threading, time, urllib.request
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import SpanProcessor
from brain_otel.destinations import Destination

SIGNALS = ("traces", "logs")

def hang():
    threading.Event().wait()

class Spans(SpanProcessor):
    def __init__(self, path, mode):
        self.path, self.mode = path, mode

    def on_start(self, span, parent_context=None):
        if self.mode == "start raises":
            raise RuntimeError("on_start")
        span.set_attribute("widget", self.mode)

    def on_end(self, span):
        if self.mode == "end raises":
            raise RuntimeError("on_end")
        if self.mode == "end hangs":
            hang()
        if self.mode == "end is slow":
            time.sleep(0.3)
        with open(self.path, "a") as file:
            file.write(json.dumps(["span", span.name]) + "\\n")

class Logs(LogRecordProcessor):
    def __init__(self, path, mode):
        self.path, self.mode = path, mode

    def on_emit(self, log_record):
        with open(self.path, "a") as file:
            file.write(json.dumps(["log", log_record.log_record.body]) + "\\n")

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=0):
        return True

def create_destination(options, settings):
    path, mode = options.text("path", "/dev/null"), options.text("mode", "fine")
    options.reject_others()
    if mode == "off":
        return None
    if mode == "wrong":
        return "a string"
    if mode == "creation raises":
        raise ZeroDivisionError("by nought")
    traces = options.signal == "traces"
    return Destination(
        name="widget",
        span_processor=Spans(path, mode) if traces else None,
        log_record_processor=None if traces else Logs(path, mode),
        flush=lambda timeout: hang() if mode == "flush hangs" else True,
        shutdown=lambda timeout: hang() if mode == "shutdown hangs" else None,
    )
"""


def widget(folder: Path, source: str = WIDGET, value: str = "widget") -> Path:
    return write_plugin(folder, "widget", source, group=GROUP, value=value)


def heard(path: Path) -> Counter[tuple[str, str]]:
    return Counter((kind, text) for kind, text in map(json.loads, path.read_text().splitlines()))


def test_a_destination_named_in_a_file_gets_everything(tmp_path: Path) -> None:
    """Traces and logs, with its own options, until the process ends."""
    out = tmp_path / "out"
    given = [{"widget": {"path": str(out)}}]
    with serve(write_config(tmp_path, traces=given, logs=given), pythonpath=[widget(tmp_path)]) as server:
        for number in range(5):
            server.get(f"/items/{number}")
        server.terminate(timeout=4.0)
    found = heard(out)
    assert found["span", "GET /items/{item_id}"] == 5
    assert found["span", "SELECT"] == 5
    assert found["log", "found"] == 5


SCRIPT = """
import brain_otel
brain_otel.setup()
with brain_otel.start_span("task", "work"):
    brain_otel.capture_message("said")
print(brain_otel.flush())
"""


def test_a_destination_can_be_named_in_the_variables(tmp_path: Path) -> None:
    """`OTEL_TRACES_EXPORTER` and its like replace the destinations of the packaged file with it, without options."""
    out = tmp_path / "out"
    source = WIDGET.replace("/dev/null", str(out))
    names = {"OTEL_TRACES_EXPORTER": "widget", "OTEL_LOGS_EXPORTER": "widget", "SENTRY_ENVIRONMENT": "test"}
    done = run_python(SCRIPT, names, pythonpath=[widget(tmp_path, source), ROOT])
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert heard(out) == {("span", "work"): 1, ("log", "said"): 1}


@pytest.mark.parametrize(
    ("source", "mode", "words"),
    [
        ("raise ImportError('no such thing')", "fine", "no such thing"),
        ("1 / 0", "fine", "ZeroDivisionError"),
        ("SIGNALS = ('traces',)", "fine", "create_destination"),
        (WIDGET, "creation raises", "by nought"),
        (WIDGET, "wrong", "widget"),
        (WIDGET.replace('("traces", "logs")', '("logs",)'), "fine", "traces"),
    ],
    ids=["import", "module", "no function", "creation", "no destination", "signal"],
)
def test_a_destination_that_cannot_be_created_is_a_configuration_error(
    source: str, mode: str, words: str, tmp_path: Path
) -> None:
    """The error names the destination and says what is wrong."""
    config = write_config(tmp_path, traces=[{"widget": {"mode": mode}}])
    code = """
import brain_otel
try:
    brain_otel.setup()
except brain_otel.ConfigurationError as error:
    print(error)
"""
    done = run_python(code, environment_of(config), pythonpath=[widget(tmp_path, source), ROOT])
    assert done.returncode == 0, done.stderr
    assert "widget" in done.stdout
    assert words in done.stdout
    assert "allowed:" in done.stdout


def test_an_unknown_option_is_an_error(tmp_path: Path) -> None:
    config = write_config(tmp_path, traces=[{"widget": {"colour": "red"}}])
    done = run_python(SCRIPT, environment_of(config), pythonpath=[widget(tmp_path), ROOT])
    assert done.returncode != 0
    assert "widget.colour is 'red'; allowed: the keys path, mode" in done.stderr


def test_a_destination_that_is_off_is_left_out(tmp_path: Path) -> None:
    config = write_config(tmp_path, traces=[{"widget": {"mode": "off"}}])
    done = run_python(SCRIPT, environment_of(config), pythonpath=[widget(tmp_path), ROOT])
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


@pytest.mark.parametrize(
    "mode",
    quick_one_in(3, ["start raises", "end raises", "end hangs", "end is slow", "flush hangs", "shutdown hangs"]),
)
def test_a_bad_destination_affects_nobody_else(mode: str, tmp_path: Path) -> None:
    """The application answers as quickly as before, the others get everything, and the process ends in time."""
    kept = tmp_path / "kept.jsonl"
    given = [{"widget": {"mode": mode, "path": str(tmp_path / "out")}}, {"file": {"path": str(kept)}}]
    with serve(write_config(tmp_path, traces=given), pythonpath=[widget(tmp_path)]) as server:
        started = time.monotonic()
        for _ in range(20):
            assert server.get("/fast").status_code == 200
        assert time.monotonic() - started < 5.0  # with 0.3 s for each: 6 s
        server.terminate(timeout=4.0 + SLACK)
        output = server.output
    names = Counter(span.name for request in read_lines(kept) for span in spans_of(request))
    assert names["GET /fast"] == 20
    assert output.count("brain_otel failed while") == (1 if "raises" in mode else 0)


TIMED = """
import time
import brain_otel
brain_otel.setup()
for _ in range(5):
    with brain_otel.start_span("task", "work"):
        pass
for call in (brain_otel.flush, brain_otel.flush, brain_otel.shutdown):
    started = time.monotonic()
    complete = call(1.0)
    print(complete, time.monotonic() - started)
"""


@pytest.mark.parametrize("mode", ["end hangs", "flush hangs", "shutdown hangs"])
def test_flush_and_shutdown_keep_their_time_bound(mode: str, tmp_path: Path) -> None:
    """Whatever hangs, they return in time, and say that not everything was accepted."""
    config = write_config(tmp_path, traces=[{"widget": {"mode": mode}}])
    started = time.monotonic()
    done = run_python(TIMED, environment_of(config), pythonpath=[widget(tmp_path), ROOT])
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 10 + SLACK
    for line in done.stdout.splitlines():
        complete, seconds = line.split()
        assert complete == ("True" if mode == "shutdown hangs" else "False")
        assert float(seconds) < 1.5 + SLACK
