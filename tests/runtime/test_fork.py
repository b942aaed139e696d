"""Tests of forked and spawned processes: each has its own locks, threads, files and ids."""

import os
import signal
import subprocess
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from brain_otel.delivery.spool.directory import SHIPPER_LOCK, is_empty
from brain_otel.delivery.spool.locks import locked
from brain_otel.delivery.spool.state import read_state
from brain_otel.runtime.fork import reset_in_child
from tests.delivery.application import arrived, shipper_of
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import Server, environment, free_port, gunicorn_command, run_python, uvicorn_command
from tests.support.tiers import quick_first
from tests.support.waiting import until

CHILD_OUTLIVES = """
import os, sys, time
from tests.apps import spooling
import brain_otel
spooling.start()
brain_otel.capture_message("parent")
while True:
    from brain_otel.delivery.spool.state import read_state
    from pathlib import Path
    if read_state(Path(os.environ["SPOOL"])).shipper == os.getpid():
        break
    time.sleep(0.01)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    print(os.getpid(), flush=True)
    while True:
        time.sleep(0.05)
        brain_otel.capture_message("child")
time.sleep(60)
"""


@contextmanager
def running(code: str, ingest: SentryIngest, spool: Path, shipper: str) -> Iterator[subprocess.Popen[str]]:
    variables = {"SENTRY_DSN": ingest.dsn, "SPOOL": str(spool), "SHIPPER": shipper}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(variables, pythonpath=[ROOT]),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_child_that_outlives_its_parent_holds_none_of_its_locks(ingest: SentryIngest, tmp_path: Path) -> None:
    """Like a daemon: it sends the records of both."""
    with running(CHILD_OUTLIVES, ingest, tmp_path, "thread") as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            parent.kill()
            parent.wait()
            until(lambda: read_state(tmp_path).shipper == child)
            before = len(ingest.events)
            until(lambda: len(ingest.events) > before + 5)
        finally:
            os.kill(child, signal.SIGKILL)
    assert {event["logentry"]["message"] if "logentry" in event else event["message"] for event in ingest.events} == {
        "parent",
        "child",
    }


def test_a_child_forked_while_the_directory_is_locked_releases_the_lock(tmp_path: Path) -> None:
    """For example a fork during an eviction."""
    path = tmp_path / SHIPPER_LOCK
    reading, writing = os.pipe()
    with locked(path) as is_ours:
        assert is_ours
        child = os.fork()
        if child == 0:  # no assertion may leave this branch
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    os.close(reading)
    try:
        until(lambda: _is_free(path))
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def _is_free(path: Path) -> bool:
    with locked(path) as is_free:
        return is_free


MANY = """
import os, sys, multiprocessing
from concurrent.futures import ProcessPoolExecutor
from tests.apps import spooling
import brain_otel

def work(number):
    with brain_otel.start_transaction(name=f"work {number}", op="task"):
        captured = brain_otel.capture_exception(ValueError(str(number)))
    os.write(1, f"{captured}\\n".encode())

def set_up_and_work(number):
    spooling.start()
    work(number)

if __name__ == "__main__":
    spooling.start()
    work(0)
    fork, spawn = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
    processes = [fork.Process(target=work, args=(number,)) for number in range(1, 4)]
    processes += [spawn.Process(target=set_up_and_work, args=(number,)) for number in range(4, 6)]
    for process in processes:
        process.start()
    with ProcessPoolExecutor(2, mp_context=fork) as pool:
        list(pool.map(work, range(6, 20)))
    for process in processes:
        process.join()
        assert process.exitcode == 0
    child = os.fork()
    if child == 0:
        work(20)
        brain_otel.shutdown(2.0)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    work(21)
"""


@pytest.mark.parametrize("shipper", quick_first(["process", "thread"]))
def test_every_kind_of_child_spools_for_itself(ingest: SentryIngest, tmp_path: Path, shipper: str) -> None:
    """Forked, spawned, from a pool or by hand: each record arrives once, and each process has its own id."""
    script = tmp_path / "script.py"
    script.write_text(MANY)
    spool = tmp_path / "spool"
    variables = {"SENTRY_DSN": ingest.dsn, "SPOOL": str(spool), "SHIPPER": shipper}
    done = run_python(script, variables, pythonpath=[ROOT], timeout=60.0)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    captured = done.stdout.split()
    assert len(captured) == 22
    until(lambda: read_state(spool).shipper is None)
    with shipper_of(spool):
        until(lambda: is_empty(spool) and len(ingest.transactions) >= 22)
    assert arrived(ingest) == Counter(captured)
    assert Counter(each["transaction"] for each in ingest.transactions) == {f"work {n}": 1 for n in range(22)}
    assert len(set(map(instance_of, ingest.transactions))) == 1 + 3 + 2 + 2 + 1


def instance_of(transaction: dict[str, Any]) -> str:
    return str(transaction["contexts"]["otel"]["resource"]["service.instance.id"])


FILE = """
file_format: "1.1"
resource:
  attributes: [{{name: service.name, value: shop}}]
  {more}
tracer_provider:
  processors: [{{sentry: {{}}}}, {{otlp: {{endpoint: "{endpoint}", schedule_delay: 50}}}}]
logger_provider: {{processors: [{{otlp: {{endpoint: "{endpoint}", schedule_delay: 50}}}}]}}
meter_provider: {{readers: [{{periodic: {{interval: 60000, exporter: {{otlp: {{endpoint: "{endpoint}"}}}}}}}}]}}
distribution: {{brain_otel: {{sentry: {{dsn: "{dsn}"}}}}}}
"""

SERVERS = {
    "uvicorn": lambda port: uvicorn_command("tests.apps.servers:app", port, workers=2),
    "gunicorn preload": lambda port: gunicorn_command("tests.apps.servers:app", port, workers=2, preload=True),
}

DETECTED = "detection/development: {detectors: [{service: }]}"


@pytest.mark.parametrize(
    ("name", "more"), quick_first([*((name, "") for name in SERVERS), ("gunicorn preload", DETECTED)])
)
def test_each_worker_has_an_instance_id(ingest: SentryIngest, tmp_path: Path, name: str, more: str) -> None:
    """The same on all data of one worker, for every destination, and different from the other's."""
    with OtlpReceiver() as receiver:
        file = tmp_path / "telemetry.yaml"
        file.write_text(FILE.format(endpoint=receiver.endpoint, dsn=ingest.dsn, more=more))
        port = free_port()
        env = {"OTEL_CONFIG_FILE": str(file), "SETUP": "module"}
        with Server(SERVERS[name](port), port, env=env, pythonpath=[ROOT]) as server:
            number = 0
            while len(set(map(instance_of, ingest.transactions))) < 2 and number < 400:
                server.get(f"/items/{number}")
                assert server.get(f"/boom/{number}").status_code == 500
                number += 1
            server.terminate()
            instances = set(map(instance_of, ingest.transactions))
            assert len(instances) == 2
            assert {str(span.resource["service.instance.id"]) for span in receiver.spans} == instances
            logged = [each for each in receiver.log_records if each.trace_id]
            assert logged
            assert {str(each.resource["service.instance.id"]) for each in logged} <= instances
            assert {str(each.resource["service.instance.id"]) for each in receiver.metrics} >= instances


def test_a_configured_instance_id_is_kept_in_a_child(tmp_path: Path) -> None:
    """It is the user's to make it unique."""
    code = """
import os, brain_otel
from opentelemetry import trace
brain_otel.setup()
def show():
    os.write(1, trace.get_tracer_provider().resource.attributes["service.instance.id"].encode() + b"\\n")
show()
if os.fork() == 0:
    show()
    os._exit(0)
os.wait()
"""
    done = run_python(code, {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=first"})
    assert done.stdout.split() == ["first", "first"]
    done = run_python(code)
    assert len(set(done.stdout.split())) == 2


def test_a_fork_while_threads_capture_does_not_block_the_child(ingest: SentryIngest, tmp_path: Path) -> None:
    """The threads hold each of our locks at some time; twenty children capture one message each."""
    code = """
import os, threading, brain_otel
from tests.apps import spooling
spooling.start()
stop = threading.Event()
def work():
    while not stop.is_set():
        with brain_otel.start_transaction(name="busy", op="task"):
            brain_otel.capture_message("busy")
threads = [threading.Thread(target=work) for _ in range(3)]
for each in threads: each.start()
for number in range(20):
    child = os.fork()
    if child == 0:
        captured = brain_otel.capture_message(f"child {number}")
        os.write(1, f"{captured}\\n".encode())
        os._exit(0)
    os.waitpid(child, 0)
stop.set()
for each in threads: each.join()
"""
    variables = {"SENTRY_DSN": ingest.dsn, "SPOOL": str(tmp_path), "SHIPPER": "external"}
    done = run_python(code, variables, pythonpath=[ROOT], timeout=60.0)
    assert done.returncode == 0, done.stderr
    captured = done.stdout.split()
    assert len(captured) == 20
    with shipper_of(tmp_path):
        until(lambda: is_empty(tmp_path))
    assert set(captured) <= set(arrived(ingest))
    assert set(arrived(ingest).values()) == {1}


def test_a_child_reports_nothing_that_its_parent_discards(ingest: SentryIngest) -> None:
    """Each process reports its own counts, so that none is reported twice."""
    code = """
import os, brain_otel, sentry_sdk
from tests.apps import spooling
spooling.start()
count = sentry_sdk.get_client().transport.record_lost_event
count("parent", "error")
child = os.fork()
if child == 0:
    count("child", "error")
    brain_otel.flush(5)
    os._exit(0)
os.waitpid(child, 0)
brain_otel.flush(5)
"""
    done = run_python(code, {"SENTRY_DSN": ingest.dsn, "SPOOL": "", "SHIPPER": "thread"}, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    discarded = [each for report in ingest.client_reports for each in report["discarded_events"]]
    assert sorted((each["reason"], each["quantity"]) for each in discarded) == [("child", 1), ("parent", 1)]


IMPORTING = """
import os, sys, threading, time
import brain_otel
thread = threading.Thread(target=__import__, args=("slow",))
thread.start()
while "slow" not in sys.modules: time.sleep(0.001)
began = time.monotonic()
child = os.fork()
if child == 0:
    import slow
    os.write(1, f"child {slow.VALUE}\\n".encode())
    os._exit(0)
os.write(1, f"{time.monotonic() - began < 1.0}\\n".encode())
began = time.monotonic()
while time.monotonic() - began < 10.0 and os.waitpid(child, os.WNOHANG) == (0, 0): time.sleep(0.01)
if time.monotonic() - began >= 10.0: os.kill(child, 9)
"""


def test_a_fork_waits_for_imports_on_other_threads(tmp_path: Path) -> None:
    """Otherwise the child waits forever for the import of a thread that it does not have."""
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.3)\nVALUE = 1\n")
    done = run_python(IMPORTING, pythonpath=[tmp_path], timeout=30.0)
    assert sorted(done.stdout.splitlines()) == ["True", "child 1"], done.stderr


def test_a_fork_does_not_wait_for_its_own_import_or_forever(tmp_path: Path) -> None:
    """A module that forks while it is imported, and an import that hangs."""
    (tmp_path / "forks.py").write_text("import os\nif os.fork() == 0: os._exit(0)\nos.wait()\n")
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(60)\n")
    code = """
import os, sys, threading, time
import brain_otel
began = time.monotonic()
import forks
quick = time.monotonic() - began
threading.Thread(target=__import__, args=("hangs",), daemon=True).start()
while "hangs" not in sys.modules: time.sleep(0.001)
began = time.monotonic()
if os.fork() == 0: os._exit(0)
bounded = time.monotonic() - began
os.wait()
os.write(1, f"{quick < 0.5} {0.9 < bounded < 5.0}\\n".encode())
os._exit(0)
"""
    done = run_python(code, pythonpath=[tmp_path], timeout=30.0)
    assert done.stdout == "True True\n", done.stderr


class _Resettable:
    """Records each reset, and may fail."""

    def __init__(self, notes: list[str], name: str, *, fails: bool = False) -> None:
        self.notes, self.name, self.fails = notes, name, fails

    def _reset(self) -> None:
        self.notes.append(self.name)
        if self.fails:
            raise ValueError(self.name)


def _notes_of_a_child(notes: list[str]) -> list[str]:
    """The ``notes`` of a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no assertion may leave this branch
        os.write(writing, " ".join(notes).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text.split()


def test_a_child_resets_objects_in_their_order_even_if_one_fails() -> None:
    notes: list[str] = []
    objects = [_Resettable(notes, "first"), _Resettable(notes, "second", fails=True), _Resettable(notes, "third")]
    for each in objects:
        reset_in_child(each)
    assert _notes_of_a_child(notes) == ["first", "second", "third"]
    assert notes == []


def test_the_hook_keeps_no_object_alive() -> None:
    notes: list[str] = []
    kept, dropped = _Resettable(notes, "kept"), _Resettable(notes, "dropped")
    reset_in_child(kept)
    reset_in_child(dropped)
    reference = weakref.ref(dropped)
    del dropped
    assert reference() is None
    assert _notes_of_a_child(notes) == ["kept"]
