"""Tests of `brain-otel ship` and `brain-otel spool`."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.directory import REPORTED, SHIPPER_LOCK, Bounds, is_empty, segment_name
from brain_otel.delivery.spool.discarded import keep_discarded, keep_reported
from brain_otel.delivery.spool.locks import locked
from brain_otel.delivery.spool.reader import SpoolQueue
from brain_otel.delivery.spool.stored_limits import write_limits
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from tests.support import forked
from tests.support.ingest import SentryIngest
from tests.support.process import PROGRAMS, environment, free_port
from tests.support.waiting import PATIENCE, until


def spooled(directory: Path, port: int) -> Spool:
    """A spool with an error, a transaction and a rejected error."""
    url = f"http://127.0.0.1:{port}/api/42/envelope/"
    spool = Spool(directory, Target(kind="sentry", url=url, headers={"X-Sentry-Auth": "hunter2"}), Bounds())
    spool.prepare()
    for name, kind in (("error", "event"), ("error", "event"), ("transaction", "transaction")):
        payload = b'{"message":"hello"}'
        body = b'{}\n{"type":"%s","length":%d}\n%s\n' % (kind.encode(), len(payload), payload)
        spool.append(Record(name, body))
    if spool._evicting is not None:  # the first record makes it check the directory's size
        spool._evicting.join(10)
    queue = SpoolQueue(spool.folder)
    queue.reject(queue.take(1, lambda _: True)[0], "HTTP 413: too large [bold]")
    queue.close()
    return spool


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(PROGRAMS / "brain-otel")
    return forked.run([program, *arguments], env=environment({"COLUMNS": "120"}), timeout=60)


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    with SentryIngest() as server:
        yield server


def test_queued_records_are_shown(tmp_path: Path) -> None:
    """With counts, sizes, ages, and rejected records with reasons; no secrets, and no file changes."""
    port = free_port()
    spooled(tmp_path, port)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    shown = command("spool", str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    assert f"{tmp_path}: 2 queued; no process sends them; at most 256.0 MiB and 1.0 d" in shown.stdout
    assert "1 error, 1 transaction" in shown.stdout
    assert f"http://127.0.0.1:{port}/api/42/envelope/: error (HTTP 413: too large [bold])" in shown.stdout
    data = json.loads(command("spool", str(tmp_path), "--json").stdout)
    (target,) = data["targets"]
    assert (target["records"], target["kind"]) == ({"error": 1, "transaction": 1}, "sentry")
    assert target["rejected"] == [{"category": "error", "reason": "HTTP 413: too large [bold]"}]
    assert "hunter2" not in shown.stdout + json.dumps(data)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


HOSTILE = "\x1b[2Jred\x1b]0;title\x07\r\n\u202e\udc80"


def test_nothing_that_is_shown_acts_on_the_terminal_or_holds_a_secret(tmp_path: Path) -> None:
    """Whatever is in the files: addresses, reasons, categories of limits, and the files of other targets."""
    url = f"http://user:hunter2@127.0.0.1:{free_port()}/api/42/{HOSTILE}?token=hunter3#hunter4"
    spool = Spool(tmp_path, Target(kind="sentry", url=url), Bounds())
    for _ in range(2):
        spool.append(Record("error", b"{}"))
    queue = SpoolQueue(spool.folder)
    queue.reject(queue.take(1, lambda _: True)[0], f"HTTP 400: {HOSTILE} password=hunter5")
    queue.close()
    write_limits(spool.folder, {HOSTILE: 100.0})
    (tmp_path / "00000000000000ff").mkdir()
    (tmp_path / "00000000000000ff" / "target.json").write_text(json.dumps({HOSTILE: "http://a:hunter6@b"}))
    (damaged := spool.folder / segment_name("refused", 7)).write_text(json.dumps(["hunter7"] * 9))
    for options in ((), ("--json",), ("--drain", "--timeout", "0.3"), ("--drain", "--timeout", "0.3", "--json")):
        shown = command("spool", str(tmp_path), *options)
        printed = shown.stdout + shown.stderr
        if "--json" in options:
            assert all("\x1b" not in text and "hunter" not in text for text in texts(json.loads(shown.stdout)))
        assert "hunter" not in printed
        assert all(each.isprintable() or each == "\n" for each in printed), printed
        assert "its file is damaged" in printed
        assert "00000000000000ff" in printed
    assert damaged.exists()


def texts(data: Any) -> Iterator[str]:
    """The texts in ``data``, as a reader of the JSON gets them."""
    match data:
        case str():
            yield data
        case dict():
            for key, value in data.items():
                yield from (key, *texts(value))
        case list():
            for each in data:
                yield from texts(each)


def test_a_directory_of_another_user_is_shown_and_not_changed(tmp_path: Path) -> None:
    """As root sees it: `spool` reads it, `ship` and `--drain` say who may."""
    directory = tmp_path / "spool"
    spooled(directory, free_port()).close()
    shutil.copytree(directory, tmp_path / "theirs")
    for path in (tmp_path / "theirs", *(tmp_path / "theirs").rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
    before = {path: path.stat() for path in (tmp_path / "theirs").rglob("*")}
    assert ": 2 queued" in command("spool", str(tmp_path / "theirs")).stdout
    if os.geteuid() == 0:
        for arguments in (("ship",), ("spool", "--drain")):
            refused = command(*arguments, str(tmp_path / "theirs"))
            assert refused.returncode == 1
            assert "it belongs to another user, with the id 65534" in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == {
        path: each.st_mtime_ns for path, each in before.items()
    }


def test_discarded_events_are_shown_reported_or_not(tmp_path: Path) -> None:
    """Those of a day, by kind and reason."""
    folder = spooled(tmp_path, free_port()).folder
    keep_reported(folder, {("transaction", "queue_overflow"): 12, ("span", "queue_overflow"): 120})
    keep_reported(folder, {("transaction", "queue_overflow"): 1})
    keep_discarded(folder, {("error", "cache_overflow"): 2})
    shown = command("spool", str(tmp_path)).stdout
    assert "120 span (queue_overflow), 13 transaction (queue_overflow), 2 error (cache_overflow)" in shown
    (target,) = json.loads(command("spool", str(tmp_path), "--json").stdout)["targets"]
    assert {"category": "transaction", "reason": "queue_overflow", "quantity": 13} in target["discarded"]
    data = json.loads((folder / REPORTED).read_text())
    (folder / REPORTED).write_text(json.dumps({**data, "since": data["since"] - 90_000}))
    shown = command("spool", str(tmp_path)).stdout
    assert "queue_overflow" not in shown
    assert "2 error (cache_overflow)" in shown


def test_a_shipper_without_an_id_is_shown(tmp_path: Path) -> None:
    """The disk was full when it started."""
    spooled(tmp_path, free_port())
    with locked(tmp_path / SHIPPER_LOCK) as is_ours:
        assert is_ours
        assert "a process sends them" in command("spool", str(tmp_path)).stdout
        assert json.loads(command("spool", str(tmp_path), "--json").stdout)["shipper"] == 0
        assert "Not drained: a process sends already" in command("spool", str(tmp_path), "--drain").stdout


def test_a_drain_sends_everything(tmp_path: Path, ingest: SentryIngest) -> None:
    spooled(tmp_path, ingest.port).close()
    drained = command("spool", str(tmp_path), "--drain")
    assert drained.returncode == 0, drained.stderr
    assert ": 0 queued" in drained.stdout
    assert sorted(item.type for item in ingest.items()) == ["event", "transaction"]
    assert is_empty(tmp_path)


def test_a_drain_says_why_records_are_left(tmp_path: Path) -> None:
    """Within its timeout, with exit code 1."""
    spooled(tmp_path, free_port())
    drained = command("spool", str(tmp_path), "--drain", "--timeout", "0.5")
    assert drained.returncode == 1
    assert ": 2 queued" in drained.stdout
    assert "NewConnectionError" in drained.stdout


def test_a_drain_leaves_records_to_a_running_shipper(tmp_path: Path, ingest: SentryIngest) -> None:
    """It names the shipper's process; SIGTERM ends the shipper."""
    ingest.delay = 1.0
    spooled(tmp_path, ingest.port)
    shipper = forked.start(
        [sys.executable, "-c", "from brain_otel.cli import main; main()", "ship", str(tmp_path)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: ingest.items("event"))
        drained = command("spool", str(tmp_path), "--drain", "--timeout", "1")
        assert f"process {shipper.pid} sends" in drained.stdout
        until(lambda: is_empty(tmp_path))
        shipper.send_signal(signal.SIGTERM)
        _, errors = shipper.communicate(timeout=PATIENCE)
        assert shipper.returncode == 0
        assert f"Sending the records in {tmp_path}" in errors
        assert "Traceback" not in errors
    finally:
        shipper.kill()
        shipper.communicate()


@pytest.mark.parametrize("name", ["spool", "ship"])
def test_a_path_that_cannot_be_a_directory_is_an_error(tmp_path: Path, name: str) -> None:
    """One line says what is allowed."""
    (tmp_path / "file").write_text("")
    refused = command(name, str(tmp_path / "file" / "spool"))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "allowed: " in refused.stderr


def test_ship_makes_the_directory(tmp_path: Path) -> None:
    """The shipper may start before the first service; it needs neither rich nor OpenTelemetry nor sentry-sdk."""
    code = (
        "import sys, threading, os, signal, time\n"
        "for name in ('rich', 'sentry_sdk', 'opentelemetry.sdk', 'fastapi'): sys.modules[name] = None\n"
        f"sys.argv[1:] = ['ship', {str(tmp_path / 'spool')!r}]\n"
        "def stop():\n"
        "    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL: time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=stop).start()\n"
        "from brain_otel.delivery.spool.commands import ship\n"
        "from pathlib import Path\n"
        "ship(Path(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
