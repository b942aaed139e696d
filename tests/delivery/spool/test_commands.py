"""Tests of `brain-otel ship` and `brain-otel spool`."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.directory import Bounds, is_empty
from brain_otel.delivery.spool.reader import SpoolQueue
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from tests.delivery.until import until
from tests.support.ingest import SentryIngest
from tests.support.process import PROGRAMS, environment, free_port


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
    return subprocess.run(
        [program, *arguments],
        env=environment({"COLUMNS": "120"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


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
    shipper = subprocess.Popen(
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
        _, errors = shipper.communicate(timeout=10)
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
