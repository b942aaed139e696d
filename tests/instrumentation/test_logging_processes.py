"""Logging in servers: trace ids on every line and one log record a line, however logging is configured."""

import itertools
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver, refusing
from tests.support.process import PROGRAMS, Server, free_port, run_python, uvicorn_command
from tests.support.tiers import quick_first, quick_one_in

Record = dict[str, Any]

DOORS = ("setup", "launcher")

LINE = re.compile(r"^([\w.]+)\|(\w*)\|(\w*)\|(.*)$", re.MULTILINE)

#: As uvicorn's own, with the ids; its loggers do not propagate.
UVICORN = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"ids": {"format": "%(name)s|%(trace_id)s|%(span_id)s|%(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "ids"}},
    "loggers": {
        "uvicorn": {"handlers": ["out"], "level": "INFO", "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "uvicorn.access": {"handlers": ["out"], "level": "INFO", "propagate": False},
    },
}


class Service:
    """The app that logs, and what it has logged and emitted."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def lines(self, text: str) -> list[tuple[str, str]]:
        """Return the ids of each line with this message."""
        return [(trace, span) for _, trace, span, message in LINE.findall(self.server.output) if message == text]

    def line(self, text: str) -> tuple[str, str]:
        """Return the ids of the one line with this message, once it is there."""
        deadline = time.monotonic() + 5
        while not (found := self.lines(text)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(found) == 1, f"{len(found)} lines {text!r} in\n{self.server.output}"
        return found[0]

    def ask(self, path: str) -> tuple[str, str]:
        """Ask for a path; return the ids of the request's span."""
        assert self.server.get(path).status_code in (200, 500)
        found: list[str] = self.server.get("/records").json()["spans"][f"GET {path}"]
        return found[0], found[1]

    def records(self, scope: str | None = None) -> list[Record]:
        every: list[Record] = self.server.get("/records").json()["records"]
        return [each for each in every if scope in (None, each["scope"])]


@contextmanager
def served(tmp_path: Path, door: str, **variables: str) -> Iterator[Service]:
    file = tmp_path / "uvicorn.json"
    file.write_text(json.dumps(UVICORN))
    port = free_port()
    command = [*uvicorn_command("tests.apps.logged:app", port, launcher=door == "launcher")]
    env = {"SENTRY_ENVIRONMENT": "test", "PYTHONWARNINGS": "error", **variables}
    if door == "setup":
        env["SETUP"] = "1"
    with Server([*command, "--log-config", str(file)], port, env=env, cwd=ROOT, pythonpath=[ROOT]) as server:
        yield Service(server)


@pytest.fixture(params=DOORS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """Give the running app, set up by itself or by the launcher."""
    with served(tmp_path, request.param) as running:
        yield running


def test_every_line_of_a_request_shows_its_trace(service: Service) -> None:
    """By a plain format string, in coroutines, threads, tasks and background tasks; log records have the same ids."""
    assert service.line("imported") == ("", "")
    for path, texts in {
        "/async": ["async"],
        "/sync": ["sync"],
        "/threads": ["to_thread", "with context", "task"],
    }.items():
        ids = service.ask(path)
        for text in texts:
            assert service.line(text) == ids, text
    assert service.line("without context") == ("", "")
    for path, texts in {"/background": ["background sync", "background async"], "/span": ["inner"]}.items():
        trace_id, root = service.ask(path)
        for text in texts:  # each in a span of its own
            assert service.line(text)[0] == trace_id
            assert service.line(text)[1] not in ("", root)
    emitted = {each["body"]: (each["trace_id"], each["span_id"]) for each in service.records("shop")}
    assert emitted == {text: service.line(text) for text in emitted}
    assert len(emitted) == len(service.records("shop")) == 10
    assert "Logging error" not in service.server.output


def test_the_servers_own_lines_show_the_trace(service: Service) -> None:
    """The line of an unhandled error, which follows the end of the request's span, and the access log's."""
    ids = service.ask("/boom")
    assert service.line("Exception in ASGI application") == ids
    accesses = [(t, s) for name, t, s, text in LINE.findall(service.server.output) if "/boom" in text]
    assert accesses == [ids]
    assert service.line("Application startup complete.") == ("", "")


@pytest.mark.parametrize(
    ("door", "sentry"),
    quick_first([*zip(DOORS, (False, True), strict=True), *zip(DOORS, (True, False), strict=True)], 2),
)
def test_a_failure_is_one_record_with_the_event_id(
    tmp_path: Path, ingest: SentryIngest, door: str, sentry: bool
) -> None:
    """Whether it is unhandled, captured or both; a line that the application logs about it is another record."""
    with served(tmp_path, door, **({"SENTRY_DSN": ingest.dsn} if sentry else {})) as service:
        paths = ("/boom", "/captured", "/captured-boom", "/logged", "/logged-boom")
        by_trace = {service.ask(path)[0]: path for path in paths}
        found: dict[str, list[Record]] = {path: [] for path in paths}
        for record in service.records():
            if "exception.type" in record["attributes"]:
                found[by_trace[record["trace_id"]]].append(record)
        for path in ("/boom", "/captured", "/captured-boom"):
            assert [each["scope"] for each in found[path]] == ["brain_otel"]
            assert len(found[path][0]["attributes"]["brain_otel.event_id"]) == 32
        assert [each["scope"] for each in found["/logged"]] == ["shop"]
        # With Sentry the line itself made the event; without it the failure has a record beside the line.
        expected = ["shop"] if sentry else ["shop", "brain_otel"]
        assert [each["scope"] for each in found["/logged-boom"]] == expected
        if sentry:
            ingest.wait_for(lambda it: len(it.events) == len(paths))
            ids = {by_trace[each["contexts"]["trace"]["trace_id"]]: each["event_id"] for each in ingest.events}
            assert ids == {path: found[path][-1]["attributes"]["brain_otel.event_id"] for path in paths}
        for path in paths:
            for record in found[path]:
                assert record["attributes"]["exception.type"] == "RuntimeError"
                assert "tests/apps/logged.py" in record["attributes"]["exception.stacktrace"]


EMITTERS = [
    {"ORDER": "before"},
    {"ORDER": "after"},
    {"ORDER": "force"},
    {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"},
    {"OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION": "true"},
    {"INSTRUMENTOR": "before"},
    {"INSTRUMENTOR": "after"},
    {"INSTRUMENTOR": "after", "ORDER": "before"},
]


@pytest.mark.parametrize(
    ("variables", "door"),
    quick_one_in(5, itertools.product(EMITTERS, DOORS)),
    ids=lambda each: each if isinstance(each, str) else " ".join(map("=".join, each.items())),
)
def test_each_line_is_emitted_once(tmp_path: Path, door: str, variables: dict[str, str]) -> None:
    """However logging is configured, and if the SDK or contrib's instrumentor would emit it too."""
    with served(tmp_path, door, **variables) as service:
        ids = service.ask("/async")
        service.ask("/boom")
        bodies = Counter(each["body"] for each in service.records())
        assert bodies["async"] == 1
        assert bodies["Application startup complete."] == 1  # uvicorn's, which the root logger does not see
        assert bodies["RuntimeError: boom"] == 1
        assert bodies["Exception in ASGI application\n"] == 0
        assert service.line("async") == ids


#: Logs at full level while what takes the logs fails, and prints how many lines came of it, by logger.
TALKATIVE = """
import collections, logging, time
import brain_otel

lines = collections.Counter()

class Counting(logging.Handler):
    def emit(self, record):
        lines[record.name] += 1

brain_otel.setup()
logging.basicConfig(level=logging.DEBUG, handlers=[Counting()], force=True)
logger = logging.getLogger("shop")
logger.setLevel(logging.INFO)
end = time.monotonic() + SECONDS
number = 0
while time.monotonic() < end:
    logger.info("line %d", number)
    number += 1
    time.sleep(0.02)
brain_otel.flush(PATIENCE)
brain_otel.shutdown(PATIENCE / 2)
import json
print(json.dumps([number, lines]))
"""


def talk(endpoint: str, seconds: float, patience: float = 10.0) -> tuple[int, Counter[str]]:
    env = {
        "SENTRY_ENVIRONMENT": "staging",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    done = run_python(
        TALKATIVE.replace("SECONDS", str(seconds)).replace("PATIENCE", str(patience)),
        env,
        pythonpath=[ROOT],
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    number, lines = json.loads(done.stdout.splitlines()[-1])
    return number, Counter(lines)


def test_an_exporter_that_logs_does_not_feed_itself() -> None:
    """All loggers are at DEBUG, the exporter's too, and only the application's lines arrive, each once."""
    with OtlpReceiver() as receiver:
        answers = iter([503, 503])
        receiver.respond = lambda: (next(answers, 200), {})
        number, lines = talk(receiver.endpoint, 3.0)
        assert lines["shop"] == number
        assert Counter(each.body for each in receiver.log_records) == {f"line {n}": 1 for n in range(number)}
        assert sum(lines.values()) > number  # others did log


def test_an_unreachable_collector_logs_few_lines() -> None:
    """The number of lines grows with the attempts, not with the records that could not be sent."""
    with refusing() as endpoint:
        number, lines = talk(endpoint, 4.0, patience=1.0)
    assert lines.pop("shop") == number
    ours = {name: count for name, count in lines.items() if name.split(".")[0] in ("opentelemetry", "brain_otel")}
    assert sum(ours.values()) <= 3, lines  # one for each signal
    assert sum(lines.values()) <= 200, lines


WHO_HANDLES = """
import logging
import brain_otel
brain_otel.setup()
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from brain_otel.destinations.memory import MEMORY
assert not LoggingInstrumentor().is_instrumented_by_opentelemetry
assert logging.getLogRecordFactory() is logging.LogRecord
assert logging.getLogger().handlers == [], logging.getLogger().handlers
logging.getLogger("shop").warning("once")
assert [each.log_record.body for each in MEMORY.log_records] == ["once"]
brain_otel.shutdown()
logging.basicConfig(format="[%(trace_id)s] %(message)s", force=True)
logging.getLogger("shop").warning("at the end")
"""


@pytest.mark.parametrize("sdk", ["true", "false"])
def test_the_launcher_does_not_load_contribs_logging(sdk: str) -> None:
    """Contrib's instrumentor is installed, and no logger gets a handler.

    A format string with the ids still works after `shutdown()`.
    """
    env = {"SENTRY_ENVIRONMENT": "test", "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": sdk}
    done = run_python(PROGRAMS / "opentelemetry-instrument", env, arguments=[sys.executable, "-c", WHO_HANDLES])
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-2:] == ["once", "[] at the end"]
