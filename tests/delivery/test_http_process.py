"""Tests of the process that makes the requests: whatever becomes of it, records arrive as without it."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from brain_otel.configuration.sections.delivery import CONNECTIONS
from brain_otel.delivery import http_process, retry_loop
from brain_otel.delivery.delivery import Delivery
from brain_otel.delivery.posting import GRACE
from brain_otel.delivery.target import Target
from tests.delivery.processes import pid_of, sender_of, start_process
from tests.delivery.test_delivery import delivery_to, record
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, environment, free_port, gunicorn_command, uvicorn_command
from tests.support.tiers import quick_first
from tests.support.waiting import PATIENCE, until


def sent(ingest: SentryIngest) -> Counter[str]:
    """How many times each record was accepted."""
    with ingest._arrival:
        return Counter(item.json["message"] for each in ingest.accepted for item in each.items)


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def never_here(delivery: Delivery) -> None:
    """Make a record that this process sends itself fail."""
    client = sender_of(delivery)._process
    assert client is not None
    client._here = None  # type: ignore[assignment]


def test_the_process_sends_every_record_once(ingest: SentryIngest) -> None:
    """Errors and transactions, small and large ones; it ends with its last user."""
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded, in_process=True)
    pid = pid_of(delivery)
    never_here(delivery)
    for number in range(300):
        name = f"{number}" + ("x" * 400_000 if number % 100 == 7 else "")
        delivery.put(record(name, "error" if number % 5 == 0 else "transaction"))
    assert delivery.flush(PATIENCE)
    found = sent(ingest)
    assert sorted(int(each.rstrip("x")) for each in found.elements()) == list(range(300))
    assert pid_of(delivery) == pid
    delivery.end()
    until(lambda: not is_running(pid))
    assert discarded == {}


def test_it_starts_when_many_records_come(ingest: SentryIngest) -> None:
    """A few are sent by this process; the start delays none."""
    delivery = Delivery(
        Target(kind="sentry", url=f"http://127.0.0.1:{ingest.port}/api/42/envelope/"),
        on_discard=lambda *_: None,
        uses_process=True,
    )
    for number in range(http_process.BUSY_RECORDS - 1):
        delivery.put(record(f"few {number}"))
    assert delivery.flush(PATIENCE)
    client = sender_of(delivery)._process
    assert client is not None
    assert client._process is None
    names = iter(range(100_000))

    def starts() -> bool:
        delivery.put(record(f"many {next(names)}"))
        return bool(pid_of(delivery))

    until(starts)
    assert delivery.flush(PATIENCE)
    assert set(sent(ingest).values()) == {1}
    assert sent(ingest).total() == http_process.BUSY_RECORDS - 1 + next(names)
    delivery.close()


def test_traces_are_answered_together(ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred transactions that come together take a few exchanges: each wakes a thread of the application."""
    delivery = delivery_to(ingest, Counter(), in_process=True)
    exchanges = []
    real = http_process._Process.send

    def send(self: http_process._Process, records: list[object], *args: object, **kwargs: object) -> None:
        exchanges.append(len(records))
        real(self, records, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(http_process._Process, "send", send)
    monkeypatch.setattr("brain_otel.delivery.memory_sender.GATHER", 5.0)
    for number in range(96):
        delivery.put(record(f"{number}", "transaction"))
    until(lambda: sent(ingest).total() == 96)
    assert max(exchanges) > 1
    monkeypatch.undo()
    delivery.put(record("last", "transaction"))
    assert delivery.flush(PATIENCE)
    delivery.close()


def test_an_error_does_not_wait_for_traces(ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brain_otel.delivery.memory_sender.GATHER", 3600.0)
    delivery = delivery_to(ingest, Counter(), in_process=True)
    delivery.put(record("trace", "transaction"))
    delivery.put(record("error"))
    until(lambda: sent(ingest) == Counter(["trace", "error"]))
    delivery.put(record("another", "transaction"))
    assert delivery.flush(PATIENCE)
    delivery.close()


def test_a_killed_process_loses_nothing(ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at random moments, and started again; only the four in flight at such a moment may come twice."""
    monkeypatch.setattr(http_process, "RESTART_SECONDS", 0.0)
    moments = random.Random(3)
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded, in_process=True)
    kills = count = 0
    for _ in range(5):
        start_process(delivery)
        until_killed = time.monotonic() + moments.uniform(0.0, 0.1)
        while time.monotonic() < until_killed:
            delivery.put(record(f"{count}", moments.choice(["error", "transaction"])))
            count += 1
            time.sleep(0.001)
        if pid := pid_of(delivery):
            os.kill(pid, signal.SIGKILL)
            kills += 1
    assert delivery.flush(PATIENCE)
    found = sent(ingest)
    assert kills
    assert discarded == {}
    assert found.keys() == {f"{number}" for number in range(count)}
    assert found.total() - count <= CONNECTIONS * kills
    delivery.close()


def test_a_process_that_hangs_loses_nothing(ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while this process sends the records itself."""
    monkeypatch.setattr(http_process, "ANSWER_SECONDS", 0.0)
    target = Target(kind="sentry", url=f"http://127.0.0.1:{ingest.port}/api/42/envelope/", timeout=1.0)
    delivery = Delivery(target, on_discard=lambda *_: None, uses_process=True)
    pid = start_process(delivery)
    os.kill(pid, signal.SIGSTOP)
    try:
        for number in range(10):
            delivery.put(record(f"{number}"))
        assert delivery.flush(PATIENCE)
        assert sent(ingest) == Counter(f"{number}" for number in range(10))
    finally:
        os.kill(pid, signal.SIGKILL)
        delivery.close()


def test_signals_do_not_end_it(ingest: SentryIngest) -> None:
    """A terminal and a service manager signal every process; the application decides what is still sent."""
    delivery = delivery_to(ingest, Counter(), in_process=True)
    pid = pid_of(delivery)
    never_here(delivery)
    assert os.getsid(pid) != os.getsid(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    delivery.put(record("after"))
    assert delivery.flush(PATIENCE)
    assert pid_of(delivery) == pid
    delivery.close()


def test_it_has_no_secret_no_file_and_no_parent_here(ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no child: `os.wait()` of the application never sees it."""
    monkeypatch.setenv("SENTRY_DSN", "http://sosecret@127.0.0.1/42")
    url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    target = Target(kind="sentry", url=url, headers={"X-Sentry-Auth": "sosecret"})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        delivery = Delivery(target, on_discard=lambda *_: None, uses_process=True)
        process = psutil.Process(start_process(delivery))
        assert process.pid not in {each.pid for each in psutil.Process().children(recursive=True)}
        assert "sosecret" not in str(process.cmdline())
        assert "sosecret" not in str(process.environ())
        assert not [each for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
        assert process.num_fds() <= 4
    delivery.close()


@pytest.mark.parametrize("kind", ["missing", "broken", "frozen", "embedded"])
def test_a_thread_sends_where_no_process_can_start(
    ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """One log line says so, and the rest is as without it."""
    program = tmp_path / ("server" if kind == "embedded" else "python")
    if kind != "missing":
        program.write_text("#!/bin/sh\nexit 3\n")
        program.chmod(0o700)
    if kind == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(http_process, "BUSY_RECORDS", 1)
    delivery = Delivery(
        Target(kind="sentry", url=f"http://127.0.0.1:{ingest.port}/api/42/envelope/"),
        on_discard=lambda *_: None,
        uses_process=True,
    )
    names = iter(range(100_000))

    def is_logged() -> bool:
        delivery.put(record(f"{next(names)}"))
        return "a thread sends instead" in caplog.text

    until(is_logged)
    for _ in range(10):
        is_logged()
    assert delivery.flush(PATIENCE)
    assert sent(ingest) == Counter(f"{number}" for number in range(next(names)))
    assert caplog.text.count("a thread sends instead") == 1
    delivery.close()


def test_bounds_hold_while_it_waits(ingest: SentryIngest) -> None:
    """What it holds is counted: the records stay in the queue until they are answered."""
    discarded: Counter[str] = Counter()
    target = Target(kind="sentry", url=f"http://127.0.0.1:{ingest.port}/api/42/envelope/")
    delivery = Delivery(
        target, on_discard=lambda _record, reason: discarded.update([reason]), max_items=5, uses_process=True
    )
    start_process(delivery)
    ingest.delay = 60.0
    for number in range(50):
        delivery.put(record(f"{number}"))
    assert discarded == {"queue_overflow": 45}
    began = time.monotonic()
    assert not delivery.flush(0.1)
    delivery.end()
    assert time.monotonic() - began < PATIENCE / 2
    assert discarded == {"queue_overflow": 50}


def test_an_end_counts_exactly_what_was_not_sent(ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server hangs in the middle of a batch: what it had accepted before is not counted as lost."""
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded, in_process=True)
    pid = pid_of(delivery)
    arrivals = iter(range(100))
    is_over = threading.Event()
    monkeypatch.setattr(retry_loop, "FAST", 3600.0)  # a busy machine must not make it send four at once

    def respond() -> tuple[int, dict[str, str]]:
        if next(arrivals) == 10:
            is_over.wait(PATIENCE)
        return 200, {}

    ingest.respond = respond
    for number in range(30):
        delivery.put(record(f"{number}", "transaction"))
    until(lambda: len(ingest.envelopes) == 11)
    delivery.end()
    is_over.set()
    assert discarded == {"queue_overflow": 20}
    until(lambda: not is_running(pid))
    assert sent(ingest) == Counter(f"{number}" for number in range(11))  # the last was unanswered at the end


def test_a_forked_child_has_a_process_of_its_own(ingest: SentryIngest) -> None:
    """Parent and child send at the same time; each record arrives once, and the parent's process goes on."""
    delivery = delivery_to(ingest, Counter(), in_process=True)
    pid = pid_of(delivery)
    delivery.put(record("first"))
    assert delivery.flush(PATIENCE)
    descriptor = sender_of(delivery)._process._process._socket.fileno()  # type: ignore[union-attr]
    child = os.fork()
    if not child:
        code = 1
        try:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)
            code = 2
            own = start_process(delivery)
            assert own != pid
            for number in range(100):
                delivery.put(record(f"child {number}"))
            code = 0 if delivery.flush(PATIENCE) else 3
        finally:
            os._exit(code)
    never_here(delivery)
    for number in range(100):
        delivery.put(record(f"parent {number}"))
    assert delivery.flush(PATIENCE)
    assert os.waitpid(child, 0)[1] == 0
    delivery.put(record("last"))
    assert delivery.flush(PATIENCE)
    assert pid_of(delivery) == pid
    assert sent(ingest) == Counter(
        ["first", "last", *(f"{who} {number}" for who in ("parent", "child") for number in range(100))]
    )
    delivery.end()
    until(lambda: not is_running(pid))


APP = """
import os, sys, time
from tests.delivery.processes import started_process
from tests.delivery.test_delivery import record
from brain_otel.delivery.target import Target
client = started_process(Target(kind="sentry", url=sys.argv[1]), connections=1)
try:
    os.wait()
except ChildProcessError:
    print(client._process.pid, flush=True)
records = [record(f"{number}", "transaction") for number in range(20)]
while records:  # a slow answer ends a batch, and the next one has all that are left
    del records[: len(client.send_in_turn(records))]
time.sleep(3600)
"""


def test_it_sends_its_batch_after_the_application_was_killed(ingest: SentryIngest) -> None:
    """Then it ends; without it, all but one of the records would be lost. It has some seconds for that."""
    arrivals = iter(range(100))
    killed_at = float("inf")

    def respond() -> tuple[int, dict[str, str]]:
        nonlocal killed_at
        if next(arrivals) == 3:
            app.kill()
            app.wait()
            killed_at = time.monotonic()
        return 200, {}

    ingest.respond = respond
    url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    app = subprocess.Popen(
        [sys.executable, "-c", APP, url], env=environment(pythonpath=[ROOT]), stdout=subprocess.PIPE, text=True
    )
    try:
        assert app.stdout is not None
        pid = int(app.stdout.readline())
        until(lambda: not is_running(pid), what="its end")
        took = time.monotonic() - killed_at
    finally:
        app.kill()
        app.communicate()
    count = sent(ingest).total()
    assert sent(ingest) == Counter(f"{number}" for number in range(count))
    assert count == 20 or (count > 4 and took >= GRACE)  # it has some seconds


def senders(mark: str) -> list[psutil.Process]:
    """The processes that make requests for the server with this mark."""
    found = psutil.process_iter(["cmdline", "environ"])
    return [
        each
        for each in found
        if "brain_otel.delivery.posting" in " ".join(each.info["cmdline"] or ())
        and (each.info["environ"] or {}).get("STARTED_BY") == mark
    ]


@pytest.mark.parametrize("server", quick_first(["gunicorn preload", "uvicorn", "uvicorn, two workers"]))
def test_servers_send_everything_and_leave_nothing_behind(ingest: SentryIngest, server: str) -> None:
    """Ctrl-C reaches the whole group: every error and transaction arrives once, and each process ends."""
    port = free_port()
    workers = 1 if server == "uvicorn" else 2
    app = "tests.apps.spooling_service:app"
    if server == "gunicorn preload":
        command = gunicorn_command(app, port, workers=workers, preload=True)
    else:
        command = uvicorn_command(app, port, workers=None if workers == 1 else workers)
    mark = f"{port}"
    env = {"SENTRY_DSN": ingest.dsn, "SPOOL": "", "SHIPPER": "process", "STARTED_BY": mark}
    with Server(command, port, env=env, pythonpath=[ROOT], ready_path="/work/0") as running:
        count = 0
        deadline = time.monotonic() + PATIENCE
        while count < 300 or (not senders(mark) and time.monotonic() < deadline):
            running.get(f"/tell/{count}")
            count += 1
        assert senders(mark)
        os.killpg(running.pid, signal.SIGINT)
        until(lambda: running.returncode is not None)
        until(lambda: not senders(mark))
        assert "Traceback" not in running.output
    assert len(ingest.events) == len({each["event_id"] for each in ingest.events}) == count
    told = [each for each in ingest.transactions if "/tell/" in each["transaction"]]
    assert len(told) == len({each["event_id"] for each in told}) == count
