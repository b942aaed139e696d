"""Tests of log lines that may repeat: one a minute at each place, and nothing is left uncounted."""

import logging
import os
import subprocess
import sys
import threading

import pytest

from brain_otel.runtime import limited_log
from brain_otel.runtime.limited_log import MAX_KINDS, CountLog, OutageLog, log_counts
from tests.support.process import environment
from tests.support.waiting import until

logger = logging.getLogger("brain_otel.test")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.name == logger.name]
    caplog.clear()
    return found


def test_the_first_line_comes_at_once_and_the_rest_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The end of the process logs the counts that are left; then there is nothing left."""
    log = CountLog(logger, "%s rejected records: %s", "a server")
    log.add("error (HTTP 413)")
    assert lines(caplog) == ["a server rejected records: 1 error (HTTP 413)"]
    for _ in range(98):
        log.add("error (HTTP 413)")
    log.add("session (HTTP 400)", 2)
    assert lines(caplog) == []
    log_counts()
    assert lines(caplog) == ["a server rejected records: 98 error (HTTP 413), 2 session (HTTP 400)"]
    log_counts()
    assert lines(caplog) == []


def test_the_rest_is_logged_after_the_interval(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if nothing more happens, and again and again while it does."""
    monkeypatch.setattr(limited_log, "INTERVAL", 0.2)
    monkeypatch.setattr(limited_log, "_TICK", 0.01)
    log = CountLog(logger, "dropped: %s")
    for _ in range(2):
        log.add("trace")
    until(lambda: len(caplog.records) == 2)
    for _ in range(3):
        log.add("trace")
    until(lambda: sum(int(each.getMessage().split()[1]) for each in caplog.records) == 5)
    until(lambda: "brain_otel.log" not in {thread.name for thread in threading.enumerate()})


def test_places_do_not_share_their_minute(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        CountLog(logger, "%s: %s", f"place {number}").add("x")
    assert lines(caplog) == [f"place {number}: 1 x" for number in range(3)]


def test_kinds_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A server may write an id into each of its reasons."""
    log = CountLog(logger, "rejected: %s")
    log.add("first")
    for number in range(500):
        log.add(f"id {number}")
    log_counts()
    _, line = lines(caplog)
    assert line.startswith(f"rejected: {500 - MAX_KINDS} others, 1 id 0, ")
    assert line.count(",") == MAX_KINDS


def test_a_kind_is_shown_by_its_first_example(caplog: pytest.LogCaptureFixture) -> None:
    """An answer of a server has a different text each time."""
    log = CountLog(logger, "rejected: %s")
    for number in range(500):
        log.add("HTTP 413", example=f"HTTP 413: id {number}")
    log_counts()
    assert lines(caplog) == ["rejected: 1 HTTP 413: id 0", "rejected: 499 HTTP 413: id 1"]


def test_what_is_said_often_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    log = CountLog(logger, "limits: %s", of_items=False)
    log.add("all for 60 s")
    for _ in range(3):
        log.add("all for 60 s")
    log_counts()
    assert lines(caplog) == ["limits: all for 60 s", "limits: all for 60 s (3 times)"]


def test_a_traceback_is_shown_at_once_or_not_at_all(caplog: pytest.LogCaptureFixture) -> None:
    """It would keep the frames alive for a minute."""
    log = CountLog(logger, "failed: %s", with_traceback=True)
    for _ in range(2):
        try:
            raise ValueError("of the application")
        except ValueError:
            log.add("ValueError")
    log_counts()
    first, second = caplog.records
    assert "of the application" in first.getMessage()
    assert "Traceback" not in second.getMessage()


def outages() -> OutageLog:
    return OutageLog(
        logger, "It", failed="%s fails (%s)", recovered="%s works", repeated="%s failed %d more times", level=40
    )


def test_an_outage_has_two_lines_and_those_that_follow_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """However often it flaps within a minute."""
    log = outages()
    for _ in range(50):
        log.failed("full")
        log.failed("full")
        log.works()
        log.works()
    assert lines(caplog) == ["It fails (full)", "It works"]
    log_counts()
    assert lines(caplog) == ["It failed 49 more times"]


def test_an_outage_that_lasts_is_logged_after_the_interval(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is its end, although it began within a minute of another."""
    monkeypatch.setattr(limited_log, "INTERVAL", 0.2)
    monkeypatch.setattr(limited_log, "_TICK", 0.01)
    log = outages()
    for reason in ("full", "gone", "read-only"):
        log.works()
        log.failed(reason)
    until(lambda: len(caplog.records) == 4)
    assert lines(caplog) == ["It fails (full)", "It works", "It fails (read-only)", "It failed 1 more times"]
    log.works()
    assert lines(caplog) == ["It works"]


PROGRAM = """
import logging, os, sys
from brain_otel.runtime.exit import configure_exit
from brain_otel.runtime.limited_log import CountLog
logging.basicConfig(format="%(process)d %(message)s")
log = CountLog(logging.getLogger("x"), "dropped: %s")
configure_exit(lambda: None, lambda: {}, lambda: None)
log.add("first")
log.add("second")
print(os.getpid(), file=sys.stderr)
if os.fork() == 0:
    log.add("of the child")
    sys.exit()
os.wait()
"""


def test_counts_are_logged_at_the_end_by_the_process_that_has_counted(tmp_path: os.PathLike[str]) -> None:
    """A forked child does not log what its parent has counted."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment({"PYTHONWARNINGS": "ignore"}),
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
    )
    first, parent, of_child, of_parent = done.stderr.splitlines()
    assert first == f"{parent} dropped: 1 first"
    assert of_parent == f"{parent} dropped: 1 second"
    assert of_child.endswith(" dropped: 1 of the child")
    assert not of_child.startswith(parent)


def test_a_handler_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It belongs to the application."""

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError(record.getMessage())

    handler = Failing()
    logger.addHandler(handler)
    log = CountLog(logger, "dropped: %s")
    log.add("one")
    logger.removeHandler(handler)
    log.add("two")
    log_counts()
    assert "dropped: 1 two" in lines(caplog)
