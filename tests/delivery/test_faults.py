"""Tests of delivery under faults, with real processes: whatever happens, each captured error arrives once."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from brain_otel.delivery.spool.directory import is_empty, segments, targets
from brain_otel.delivery.spool.state import read_state
from tests.delivery.application import Application, arrived, shipper_of, wait_until_sent
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import SLACK, free_port, run_python
from tests.support.tiers import quick_first
from tests.support.waiting import until


@pytest.mark.parametrize("shipper", ["thread", "process"])
@pytest.mark.parametrize("status", quick_first([500, 429, 0]))
def test_a_server_that_often_fails_gets_everything_in_the_end(
    ingest: SentryIngest, tmp_path: Path, shipper: str, status: int
) -> None:
    """Three of four requests fail; nothing is lost, and nothing is accepted twice."""
    answers = iter(range(10_000))
    ingest.respond = lambda: (200, {}) if next(answers) % 4 == 0 else (status, {"Retry-After": "0"})
    app = Application(ingest.dsn, tmp_path, shipper=shipper, count=40)
    captured = app.captured()
    ingest.respond = None
    assert app.process.returncode == 0
    with shipper_of(tmp_path):
        wait_until_sent(tmp_path, ingest, set(captured))
    assert len(captured) == 40
    assert arrived(ingest) == Counter(captured)


def test_a_server_that_is_down_for_a_whole_run(tmp_path: Path) -> None:
    """The next run of the application sends the records of the first."""
    port = free_port()
    first = Application(f"http://public@127.0.0.1:{port}/42", tmp_path, shipper="thread", count=20)
    captured = first.captured()
    assert first.process.returncode == 0
    assert read_state(tmp_path).records == 40
    with SentryIngest(port=port) as ingest:
        second = Application(ingest.dsn, tmp_path, shipper="thread", count=5)
        captured += second.captured()
        with shipper_of(tmp_path):
            wait_until_sent(tmp_path, ingest, set(captured))
        assert arrived(ingest) == Counter(captured)
        assert len(ingest.transactions) == 25


def test_a_server_that_hangs_delays_no_exit(ingest: SentryIngest, tmp_path: Path) -> None:
    """The application ends in time; the spooled records are sent later."""
    ingest.delay = 20.0
    app = Application(ingest.dsn, tmp_path, shipper="thread", count=1)
    app.wait_for_first()
    begun = time.monotonic()
    captured = app.captured()
    assert time.monotonic() - begun < 10.0 + SLACK
    assert app.process.returncode == 0
    ingest.delay = 0.0
    with shipper_of(tmp_path):
        until(lambda: set(captured) <= set(arrived(ingest)))


def test_a_rejected_record_is_kept_with_the_reason(ingest: SentryIngest, tmp_path: Path) -> None:
    """413 for the errors: the transactions arrive, and the errors stay in the directory."""

    def respond() -> tuple[int, dict[str, str]]:
        return (413, {}) if ingest.envelopes[-1].items[0].type == "event" else (200, {})

    ingest.respond = respond
    app = Application(ingest.dsn, tmp_path, shipper="external", count=3)
    app.captured()
    with shipper_of(tmp_path):
        until(lambda: is_empty(tmp_path))
    (state,) = read_state(tmp_path).targets
    assert [category for category, _ in state.rejected] == ["error"] * 3
    assert all(reason.startswith("HTTP 413") for _, reason in state.rejected)
    assert arrived(ingest) == {}


@pytest.mark.parametrize("rounds", quick_first([3, 50]))
def test_kill_9_at_random_moments_loses_and_corrupts_nothing(
    ingest: SentryIngest, tmp_path: Path, rounds: int
) -> None:
    """The application, the shipper or both are killed; every captured error arrives.

    An error that was in flight when the shipper was killed may arrive twice: Sentry recognizes it by its id.
    """
    moments = random.Random(5)
    captured: set[str] = set()
    kills = 0
    for number in range(rounds):
        app = Application(ingest.dsn, tmp_path, shipper="external")
        with shipper_of(tmp_path) as shipper:
            app.wait_for_first()
            time.sleep(moments.uniform(0.0, 0.15))
            if number % 3 != 0:
                kills += shipper.poll() is None
                shipper.kill()
            if number % 3 != 1:
                app.kill()
            else:
                time.sleep(moments.uniform(0.0, 0.05))
                app.process.terminate()
            captured.update(app.captured())
    with shipper_of(tmp_path):
        wait_until_sent(tmp_path, ingest, captured)
    found = arrived(ingest)
    assert len(captured) > rounds
    assert captured <= set(found)
    assert len(set(found) - captured) <= rounds  # captured by processes that were killed before they printed the id
    assert sum(found.values()) - len(found) <= 4 * kills
    print(f"captured {len(captured)}, arrived {len(found)}, twice {sum(found.values()) - len(found)}")


def test_the_shippers_process_is_restarted_and_ends_with_its_last_user(ingest: SentryIngest, tmp_path: Path) -> None:
    """Two applications share one; a killed one is replaced; without users it ends."""
    apps = [Application(ingest.dsn, tmp_path, shipper="process", pause=0.02) for _ in range(2)]
    try:
        for app in apps:
            app.wait_for_first()
        until(lambda: read_state(tmp_path).shipper is not None)
        first = read_state(tmp_path).shipper
        assert first is not None
        assert first not in {app.process.pid for app in apps}
        os.kill(first, signal.SIGKILL)
        until(lambda: read_state(tmp_path).shipper not in (None, first))
        second = read_state(tmp_path).shipper
        apps[0].kill()
        captured = apps[0].captured()
        assert psutil.pid_exists(second)
    finally:
        for app in apps:
            app.kill()
    captured += apps[1].captured()
    until(lambda: not _is_running(second), what="its end")
    wait_until_sent(tmp_path, ingest, set(captured), 1.0)


def _is_running(pid: int | None) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def test_the_directory_is_removed_while_processes_use_it(ingest: SentryIngest, tmp_path: Path) -> None:
    """Application and shipper go on in a new one; nothing raises."""
    spool = tmp_path / "spool"
    spool.mkdir()
    app = Application(ingest.dsn, spool, shipper="process", pause=0.02)
    app.wait_for_first()
    shutil.rmtree(spool, ignore_errors=True)
    shutil.rmtree(spool, ignore_errors=True)
    until(lambda: spool.exists() and any(segments(folder) for folder in targets(spool)))
    before = len(arrived(ingest))
    until(lambda: len(arrived(ingest)) > before + 20)
    assert app.process.poll() is None
    app.kill()
    app.captured()
    assert b"Traceback" not in app.errors


def test_an_unwritable_spool_is_replaced_by_memory(ingest: SentryIngest, tmp_path: Path) -> None:
    """One log line says so."""
    (tmp_path / "file").write_text("")
    app = Application(ingest.dsn, tmp_path / "file" / "spool", shipper="thread", count=20)
    captured = app.captured()
    assert app.process.returncode == 0
    assert arrived(ingest) == Counter(captured)
    assert app.errors.count(b"cannot be") == 2  # made, and written to


def test_a_run_that_ends_at_once_sends_what_the_last_one_left(ingest: SentryIngest, tmp_path: Path) -> None:
    """The shipper's process starts at the end of the application at the latest."""
    left = Application(ingest.dsn, tmp_path, shipper="external", count=3).captured()
    assert not ingest.envelopes
    variables = {"SENTRY_DSN": ingest.dsn, "SPOOL": str(tmp_path), "SHIPPER": "process"}
    done = run_python("from tests.apps import spooling\nspooling.start()\n", variables, pythonpath=[ROOT])
    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: set(left) <= set(arrived(ingest)))
    until(lambda: read_state(tmp_path).shipper is None)
