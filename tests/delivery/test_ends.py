"""Tests of the end of a process: it is in time whatever hangs, and no record is lost silently."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from brain_otel.delivery.spool.shipper import drain
from brain_otel.delivery.spool.state import read_state
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, environment, free_port, uvicorn_command
from tests.support.waiting import until

MARGIN = 0.1
"""Seconds by which a time bound may be exceeded."""

PATIENCE = 10.0
"""More seconds for a busy machine; less than any hang in these tests."""

APP = """
import os, sys, threading, time
import brain_otel
from tests.apps import spooling

HANGS = threading.Event()
if "disk" in sys.argv[2]:
    real = os.write
    def write(descriptor, data):
        if HANGS.is_set() and data[:4] == b"BOR1":
            time.sleep(3600)
        return real(descriptor, data)
    os.write = write
spooling.start()
for number in range(20):
    with brain_otel.start_transaction(name=f"work {number}", op="task"):
        if not HANGS.is_set():
            brain_otel.capture_message(f"message {number}")
    if number == 10:
        HANGS.set()
print("captured", flush=True)
how = sys.argv[1]
if how == "shutdown":
    begun = time.monotonic()
    brain_otel.shutdown(0.5)
    print(time.monotonic() - begun, flush=True)
    os._exit(0)
elif how == "signal":
    sys.stdin.readline()
    time.sleep(3600)
elif how == "exit":
    begun = time.monotonic()
    import atexit
    atexit._run_exitfuncs()
    print(time.monotonic() - begun, flush=True)
    os._exit(0)
"""


@pytest.fixture
def hanging() -> Iterator[SentryIngest]:
    with SentryIngest() as server:
        server.delay = 60.0
        yield server


def run(ingest: SentryIngest, spool: Path | str, shipper: str, how: str, hangs: str) -> tuple[float, str]:
    """The seconds that the end took, and the log."""
    env = environment({"SENTRY_DSN": ingest.dsn, "SPOOL": str(spool), "SHIPPER": shipper}, pythonpath=[ROOT])
    command = [sys.executable, "-c", APP, how, hangs]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "captured\n"
        seconds = process.stdout.readline()
        process.wait(30)
        return float(seconds), process.communicate()[1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("how", "shipper", "hangs"),
    [
        ("shutdown", "memory, thread", "server"),
        ("shutdown", "memory, process", "server"),
        ("shutdown", "thread", "server"),
        ("shutdown", "process", "disk"),
        ("exit", "thread", "server and disk"),
    ],
)
def test_the_end_is_in_time(hanging: SentryIngest, tmp_path: Path, how: str, shipper: str, hangs: str) -> None:
    """0.5 s for `shutdown(0.5)`, 2 s for the exit, and a tenth of a second more."""
    in_memory = shipper.startswith("memory")
    bound = 0.5 if how == "shutdown" else 2.0
    seconds, said = run(hanging, "" if in_memory else tmp_path, shipper.removeprefix("memory, "), how, hangs)
    print(f"{how}, {shipper}, {hangs} hangs: {seconds:.3f} s of {bound} s")
    assert seconds < bound + MARGIN + PATIENCE
    assert "Traceback" not in said
    if in_memory:
        assert "31 records for " in said  # 20 transactions and 11 messages
        assert "were not sent in time" in said
    elif hangs == "server":
        assert "in time" not in said
        assert read_state(tmp_path).records == 31


@pytest.mark.parametrize("shipper", ["thread", "process"])
def test_sigterm_ends_in_time_and_logs_what_is_lost(hanging: SentryIngest, shipper: str) -> None:
    """Also if the process would otherwise run forever."""
    env = environment({"SENTRY_DSN": hanging.dsn, "SPOOL": "", "SHIPPER": shipper}, pythonpath=[ROOT])
    command = [sys.executable, "-c", APP, "signal", "server"]
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "captured\n"
        until(lambda: hanging.envelopes)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=2.0 + PATIENCE)
        assert process.returncode == -signal.SIGTERM
        assert "31 records for " in said
    finally:
        process.kill()
        process.communicate()


@pytest.mark.thorough
def test_what_a_server_has_sent_at_its_end_is_not_sent_again(tmp_path: Path) -> None:
    """A signal ends its workers, and the shipper's thread with them: the answers in flight are awaited before."""
    port, spool = free_port(), tmp_path / "spool"
    with SentryIngest() as ingest:
        ingest.delay = 0.2
        env = {"SENTRY_DSN": ingest.dsn, "SPOOL": str(spool), "SHIPPER": "thread"}
        command = uvicorn_command("tests.apps.spooling_service:app", port, workers=2)
        with Server(command, port, env=env, pythonpath=[ROOT]) as server:
            until(lambda: server.output.count("Application startup complete") == 2)
            for number in range(150):
                server.request("GET", f"/tell/{number}")
            server.terminate(timeout=20.0)
        ingest.delay = 0.0
        assert 0 < len(ingest.events) + len(ingest.transactions) < 300  # some were left, and some in flight
        assert drain(spool, 60.0) == {}
        assert len({each["event_id"] for each in ingest.events}) == len(ingest.events) == 150
        assert len({each["event_id"] for each in ingest.transactions}) == len(ingest.transactions) == 150
