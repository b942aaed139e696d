"""What is captured while the interpreter exits arrives, and the exit waits for nothing.

From Python 3.12 on the interpreter starts no threads then: 3.12.1 from the end of the main thread on, later versions
while `atexit` handlers run.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brain_otel.delivery.spool.state import read_state
from tests.delivery.application import arrived, shipper_of, wait_until_sent
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import environment
from tests.support.tiers import quick_first, quick_one_in

LONGEST = 1.5
"""Seconds from the last event to the end of the process: less than the two seconds that an exit may take."""

APP = """
import atexit, os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from tests.apps import spooling
import brain_otel

def work(name):
    with brain_otel.start_transaction(name=name, op="task"):
        captured = brain_otel.capture_exception(ValueError(name))
    os.write(1, f"{captured} {time.monotonic()}\\n".encode())

def work_after_main():
    threading.main_thread().join()
    work("late")

def work_in_pool():
    time.sleep(0.3)  # the pool joins its threads before the main thread counts as ended
    work("late")

def work_and_signal():
    work_after_main()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

how = sys.argv[1]
if how == "atexit, registered before setup":
    atexit.register(work, "late")
spooling.start()
if sys.argv[2] == "busy before":
    work("early")
    brain_otel.flush(5.0)
if sys.argv[2] == "hangs before":
    work("early")
if how == "main thread":
    work("late")
elif how == "unhandled exception":
    work("late")
    raise ValueError("ends the script")
elif how == "sys.exit":
    work("late")
    sys.exit(0)
elif how == "thread":
    threading.Thread(target=work_after_main).start()
elif how == "two threads":
    for _ in range(2):
        threading.Thread(target=work_after_main).start()
elif how == "thread pool":
    ThreadPoolExecutor(1).submit(work_in_pool)
elif how == "atexit, registered after setup":
    atexit.register(work, "late")
elif how == "atexit, twice":
    atexit.register(work, "late")
    atexit.register(work, "late")
elif how == "SIGTERM":
    threading.Thread(target=work_and_signal).start()
"""

WAYS = [
    "main thread",
    "unhandled exception",
    "sys.exit",
    "thread",
    "two threads",
    "thread pool",
    "atexit, registered after setup",
    "atexit, registered before setup",
    "atexit, twice",
    "SIGTERM",
]


def end(ingest: SentryIngest, spool: str, shipper: str, *arguments: str) -> tuple[list[str], float, str]:
    """The ids of what was captured, the seconds from the last of it to the end of the process, and its log."""
    env = environment({"SENTRY_DSN": ingest.dsn, "SPOOL": spool, "SHIPPER": shipper}, pythonpath=[ROOT])
    command = [sys.executable, "-c", APP, *arguments]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            process.wait(60.0)
            ended = time.monotonic()
            said, log = process.communicate()
        finally:
            process.kill()
    lines = [line.split() for line in said.splitlines()]
    return [captured for captured, _ in lines], ended - max(float(at) for _, at in lines), log


CASES = [
    *((how, "none", "idle before") for how in WAYS),
    *((how, "none", "busy before") for how in ("main thread", "thread", "atexit, registered before setup")),
    *((how, "thread", "idle before") for how in ("main thread", "thread", "atexit, registered before setup")),
    *((how, "process", "idle before") for how in ("main thread", "thread", "atexit, registered before setup")),
]


AFTER = ["thread", "main thread", "atexit, registered before setup", "atexit, twice"]


@pytest.mark.parametrize(("how", "shipper", "before"), quick_one_in(4, CASES))
def test_what_is_captured_at_the_end_arrives(
    ingest: SentryIngest, tmp_path: Path, how: str, shipper: str, before: str
) -> None:
    """Error and transaction, each once, with and without a spool, whether threads had been started before or not."""
    count = (before == "busy before") + (2 if how in ("two threads", "atexit, twice") else 1)
    slow = []
    for attempt in range(3):  # the machine may be busy
        ingest.clear()
        spool = "" if shipper == "none" else str(tmp_path / str(attempt))
        captured, seconds, log = end(ingest, spool, "thread" if shipper == "none" else shipper, how, before)
        assert len(captured) == count, log
        assert "brain_otel failed" not in log
        if spool:  # on disk at least; a shipper's process, or the next run, sends it
            with shipper_of(Path(spool)):
                wait_until_sent(Path(spool), ingest, set(captured))
                ingest.wait_for(lambda it: len(it.transactions) >= count)
        found = arrived(ingest)
        assert {event_id: found.pop(event_id, 0) for event_id in captured} == dict.fromkeys(captured, 1)
        assert found.total() == (how == "unhandled exception")  # which sentry-sdk's hook captures
        assert len(ingest.transactions) == count
        slow.append(seconds)
        if seconds < LONGEST:
            return
    raise AssertionError(f"the exit took {slow} s")


@pytest.mark.parametrize("how", quick_first(AFTER))
@pytest.mark.parametrize("shipper", ["none", "external"])
def test_what_is_captured_after_the_time_is_used_up_is_counted_or_kept(
    tmp_path: Path, how: str, shipper: str
) -> None:
    """The server hangs: the last lines count every error and transaction, or they are on disk."""
    with SentryIngest() as hanging:
        hanging.delay = 60.0
        spool = "" if shipper == "none" else str(tmp_path / "spool")
        captured, _, log = end(hanging, spool, "thread" if shipper == "none" else shipper, how, "hangs before")
    expected = 2 * len(captured)
    assert len(captured) == (3 if how == "atexit, twice" else 2)
    if spool:
        assert read_state(Path(spool)).records == expected, log
        return
    counts = re.findall(r"(\d+) records for .* were not sent in time", log)
    assert sum(map(int, counts)) == expected, log


@pytest.mark.parametrize("how", quick_first(["thread", "atexit, registered before setup"]))
def test_the_exit_is_bounded_while_the_server_hangs(how: str) -> None:
    """No thread sends, so the request itself has to end in time; a log line counts what is lost."""
    slow = []
    with SentryIngest() as hanging:
        hanging.delay = 60.0
        for _ in range(3):  # the machine may be busy
            _, seconds, log = end(hanging, "", "thread", how, "idle before")
            assert re.search(r"\d records for .* were not sent in time", log)
            assert "brain_otel failed" not in log
            slow.append(seconds)
            if seconds < 3.0:
                return
    raise AssertionError(f"the exit took {slow} s")
