"""Tests that the targets of a spool do not affect each other."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool import shipper
from brain_otel.delivery.spool.directory import DISCARDED, MAX_TARGETS, TARGET, Bounds, is_sent, targets
from brain_otel.delivery.spool.shipper import Shipper, drain
from brain_otel.delivery.spool.shipper_process import ShipperSupervisor
from brain_otel.delivery.spool.state import is_limited_for, read_state
from brain_otel.delivery.spool.stored_limits import read_limits
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import SLACK, run_python
from tests.support.tiers import quick_first, quick_one_in
from tests.support.waiting import PATIENCE, until

BOUNDS = Bounds()
ENVELOPE = b'{}\n{"type":"event","length":2}\n{}\n'


def spooled(directory: Path, url: str, count: int = 3) -> Spool:
    spool = Spool(directory, Target(kind="sentry", url=url, timeout=20.0), Bounds())
    for _ in range(count):
        spool.append(Record("error", ENVELOPE))
    spool.close()
    return spool


def wrong(**values: object) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        path.write_text(json.dumps({"kind": "sentry", "url": "http://127.0.0.1:9/", **values}))

    return write


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


BAD_TARGETS: dict[str, Callable[[Path], object]] = {
    "a number": lambda path: path.write_text("4711"),
    "a list of targets": lambda path: path.write_text('[{"kind": "sentry"}]'),
    "deep nesting": lambda path: path.write_text('{"headers":' * 50_000),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link": link_to_itself,
    "a large file": lambda path: path.write_bytes(b" " * 2**20 + b"{}"),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "an URL that is a number": wrong(url=5),
    "an URL that is a list": wrong(url=["http://x"]),
    "headers that are a text": wrong(headers="X-Sentry-Auth"),
    "a header that is a number": wrong(headers={"a": 1}),
    "an endless timeout": wrong(timeout=1e400),
    "a timeout that is a text": wrong(timeout="5"),
    "a timeout that is no number": wrong(timeout=float("nan")),
    "a proxy that is a mapping": wrong(proxy={}),
    "a proxy of another kind": wrong(proxy="ftp://127.0.0.1:9"),
    "a proxy without a host": wrong(proxy="http://"),
    "certificates that are a number": wrong(url="https://127.0.0.1:9/", ca_certs=3),
    "certificates with a zero byte": wrong(url="https://127.0.0.1:9/", cert_file="a\0b"),
    "an URL without a host": wrong(url="http://"),
    "an URL with a wrong port": wrong(url="http://[::1]:x/"),
    "a field of another version": wrong(tenant="x"),
}


@pytest.mark.parametrize("bad", quick_one_in(4, BAD_TARGETS))
def test_a_bad_target_stops_no_other(ingest: SentryIngest, tmp_path: Path, bad: str) -> None:
    """Neither for a shipper nor for a drain nor for the state; its records stay."""
    first, second = (f"http://127.0.0.1:{ingest.port}/api/{number}/envelope/" for number in (1, 2))
    spooled(tmp_path, first)
    for name in ("0000000000000000", "ffffffffffffffff"):  # before and after the others
        spoiled = spooled(tmp_path, "http://127.0.0.1:9/")
        spoiled.folder.rename(tmp_path / name)
        (tmp_path / name / TARGET).unlink()
        BAD_TARGETS[bad](tmp_path / name / TARGET)
    shipping = Shipper(tmp_path)
    thread = threading.Thread(target=shipping.run, daemon=True)
    thread.start()
    until(lambda: len(ingest.items("event")) == 3)
    spooled(tmp_path, second)
    until(lambda: len(ingest.items("event")) == 6)
    shipping.stop()
    thread.join(10)
    assert not thread.is_alive()
    spooled(tmp_path, second)
    assert drain(tmp_path, 1.0) is not None
    assert len(ingest.items("event")) == 9
    assert read_state(tmp_path).records in (0, 6)  # those of a target that is understood count
    assert not is_sent(tmp_path / "ffffffffffffffff")


@pytest.fixture
def silent() -> Iterator[int]:
    """Give the port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


def test_a_report_that_hangs_delays_no_other_target(
    ingest: SentryIngest, tmp_path: Path, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target has nothing but counts to report, and its server does not answer."""
    monkeypatch.setattr(shipper, "REPORT_INTERVAL", -1.0)
    hanging = spooled(tmp_path, f"http://127.0.0.1:{silent}/", count=0)
    hanging.prepare()
    (hanging.folder / DISCARDED).write_text('[["error", "cache_overflow", 1]]')
    shipping = Shipper(tmp_path)
    thread = threading.Thread(target=shipping.run, daemon=True)
    thread.start()
    until(lambda: not (hanging.folder / DISCARDED).exists())
    spooled(tmp_path, f"http://127.0.0.1:{ingest.port}/api/1/envelope/")
    until(lambda: len(ingest.items("event")) == 3, 5.0 + SLACK)
    shipping.stop()


def test_a_server_that_hangs_takes_no_time_from_others_in_a_drain(
    ingest: SentryIngest, tmp_path: Path, silent: int
) -> None:
    """The drain ends in its time; only the records for that server are left."""
    for number in range(3):
        spooled(tmp_path, f"http://127.0.0.1:{silent}/{number}")
        spooled(tmp_path, f"http://127.0.0.1:{ingest.port}/api/{number}/envelope/")
    started = time.monotonic()
    left = drain(tmp_path, 2.0)
    assert time.monotonic() - started < 6.0 + SLACK
    assert left is not None
    assert sorted(left) == [f"http://127.0.0.1:{silent}/{number}" for number in range(3)]
    assert len(ingest.items("event")) == 9


def test_many_targets_are_bounded_and_the_latest_come_first(tmp_path: Path) -> None:
    """Each takes a thread."""
    spooled(tmp_path, "http://127.0.0.1:9/old")
    for number in range(MAX_TARGETS + 20):
        folder = tmp_path / f"{number:016x}"
        folder.mkdir(mode=0o700)
        (folder / TARGET).write_text(json.dumps({"kind": "otlp", "url": f"http://127.0.0.1:9/{number}"}))
        os.utime(folder, (0, number))
    found = targets(tmp_path)
    assert len(found) == MAX_TARGETS
    assert {each.url for each in found.values()} == {
        "http://127.0.0.1:9/old",
        *(f"http://127.0.0.1:9/{number}" for number in range(21, MAX_TARGETS + 20)),
    }


IN_A_FOLDER_OF_ITS_OWN = """
import sys
from pathlib import Path
sys.path.insert(0, Path("/nowhere"))  # the import system ignores what is no text
from brain_otel.delivery.spool.shipper_process import without_instrumentation
print(without_instrumentation({})["PYTHONPATH"])
"""


def test_an_odd_import_path_does_not_stop_the_shippers_process(tmp_path: Path) -> None:
    """An application may put a `Path` into `sys.path`."""
    done = run_python(IN_A_FOLDER_OF_ITS_OWN, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "/nowhere" not in done.stdout


def transactions(folder: Path, url: str, count: int, bounds: Bounds = BOUNDS) -> Spool:
    spool = Spool(folder, Target(kind="sentry", url=url), bounds)
    for _ in range(count):
        spool.append(Record("transaction", b'{}\n{"type":"transaction","length":2}\n{}\n'))
    return spool


@pytest.mark.parametrize(
    ("limit", "max_age", "is_dropped"), [(86_400, 86_400.0, True), (1_200, 1_000.0, True), (1_200, 86_400.0, False)]
)
def test_refused_records_leave_the_spool(
    ingest: SentryIngest, tmp_path: Path, limit: int, max_age: float, is_dropped: bool
) -> None:
    """What is limited for longer than a record is kept is dropped and counted; no flush waits for the rest."""
    ingest.respond = lambda: (200, {"X-Sentry-Rate-Limits": f"{limit}:transaction"})
    spool = transactions(tmp_path, f"http://127.0.0.1:{ingest.port}/api/1/envelope/", 100, Bounds(max_age=max_age))
    supervisor = ShipperSupervisor(tmp_path, "thread")
    supervisor.start()
    try:
        until(lambda: read_limits(spool.folder))
        spool.append(Record("error", ENVELOPE))
        started = time.monotonic()
        supervisor.wait(spool.folder, PATIENCE)
        assert time.monotonic() - started < PATIENCE / 2
        assert [item.type for item in ingest.items("event")] == ["event"]
        assert is_limited_for(spool.folder, limit / 2)
        if is_dropped:
            until(lambda: is_sent(spool.folder))
    finally:
        supervisor.stop()
    (state,) = read_state(tmp_path).targets
    kept = len(ingest.transactions)
    assert state.records == ({} if is_dropped else {"transaction": 100 - kept})
    assert state.discarded["transaction", "ratelimit_backoff"] == (100 - kept if is_dropped else 0)


def test_a_drain_leaves_nothing_of_a_refused_category(ingest: SentryIngest, tmp_path: Path) -> None:
    """`brain-otel spool --drain` ends with an empty spool, and says nothing about the limit."""
    ingest.respond = lambda: (429, {"X-Sentry-Rate-Limits": "86400:transaction"})
    transactions(tmp_path, f"http://127.0.0.1:{ingest.port}/api/1/envelope/", 20).close()
    assert drain(tmp_path, PATIENCE) == {}
    assert read_state(tmp_path).records == 0


SPOOLING_IN_A_FOLDER = """
import sys, time
import brain_otel
from tests.apps import spooling
spooling.start()
brain_otel.capture_message("from a folder with modules of its own")
time.sleep(2)
"""


def test_modules_in_the_working_directory_are_not_the_shippers(ingest: SentryIngest, tmp_path: Path) -> None:
    """It is started with `-m`, which would put the working directory before the standard library."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("json", "urllib3", "brain_otel", "signal"):
        (folder / f"{name}.py").write_text("import os; os.mkdir('imported'); raise SystemExit(1)")
    (tmp_path / "script.py").write_text(SPOOLING_IN_A_FOLDER)
    env = {"SENTRY_DSN": ingest.dsn, "SPOOL": str(tmp_path / "spool"), "SHIPPER": "process"}
    done = run_python(tmp_path / "script.py", env, cwd=folder, pythonpath=[ROOT])
    assert (done.returncode, done.stderr) == (0, "")
    until(lambda: [each["message"] for each in ingest.events] == ["from a folder with modules of its own"])
    assert not (folder / "imported").exists()


HOSTILE = """
import json, os, re, sys, time
from pathlib import Path
from brain_otel.delivery.record import HEADER, MAGIC, MAX_BODY, Record, framed
from brain_otel.delivery.spool.commands import show
from brain_otel.delivery.spool.directory import Bounds, segment_name
from brain_otel.delivery.spool.eviction import evict
from brain_otel.delivery.spool.reader import SpoolQueue
from brain_otel.delivery.spool.shipper import drain
from brain_otel.delivery.spool.state import read_state
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from brain_otel.runtime.limited_log import log_counts

name, address, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
BOUNDS = Bounds()
BAD = Target(kind="sentry", url="http://127.0.0.1:9/", timeout=5.0)
ENVELOPE = b'{}\\n{"type":"event","length":2}\\n{}\\n'

def spooled(directory, target):
    spool = Spool(directory, target, BOUNDS)
    spool.append(Record("error", ENVELOPE))
    spool.close()
    return spool.folder

def write(folder, number, data, kind="errors", size=0):
    with (folder / segment_name(kind, number)).open("wb") as file:
        file.write(data)
        if size:
            file.truncate(size)

def frame(size):
    payload = b'{"message":"%b"}' % (b"x" * (size - 60))
    return framed(Record("error", b'{}\\n{"type":"event","length":%d}\\n%b\\n' % (len(payload), payload)))

def many(count, make):
    return lambda folder: [make(folder, number) for number in range(count)]

CASES = {
    "a record of 60 MiB": lambda folder: write(folder, 1, frame(60 * 2**20)),
    "the largest records": many(6, lambda folder, number: write(folder, number, frame(MAX_BODY))),
    "records of a mebibyte": lambda folder: write(folder, 1, frame(2**20) * 64),
    "records of a mebibyte in many files": many(64, lambda folder, number: write(folder, number, frame(2**20))),
    "sparse files": many(5, lambda folder, number: write(folder, number, frame(99), size=2**36)),
    "overlapping headers": lambda folder: write(folder, 1, HEADER.pack(MAGIC, 1, 0, 1, 1, MAX_BODY, 5) * 50_000),
    "magic alone": lambda folder: write(folder, 1, MAGIC * 2**18),
    "rejected records": many(
        3_000,
        lambda folder, number: write(folder, number, b'{"category":"a","reason":"%b"}' % (b"x" * 9_000), "refused"),
    ),
    "many files": many(6_000, lambda folder, number: write(folder, number, frame(99) if number % 100 == 0 else b"")),
    "other files": many(20_000, lambda folder, number: (folder / f"{number:0200}").touch()),
    "large small files": lambda folder: [
        (folder / each).write_bytes(b" " * 2**28) for each in ("losses.json", "reported.json", "limits.json")
    ],
}

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def use(directory, folder):
    read_state(directory)
    for as_json in (False, True):
        show(directory, drain_for=None, as_json=as_json)
    queue = SpoolQueue(folder)
    for _ in range(20):
        queue.take(4, lambda _: False)
        queue.take(4, lambda _: True)
    queue.close()
    evict(directory, BOUNDS)
    drain(directory, 3.0)

good = Target(kind="sentry", url=address, timeout=5.0)
use(directory.parent / "warm", spooled(directory.parent / "warm", good))
folder = spooled(directory, good)
CASES[name](folder)
Path("/proc/self/clear_refs").write_text("5")
before = peak()
use(directory, folder)
print(f"\\ngrown by {peak() - before:.1f} MiB")
sys.stdout.flush()
os._exit(0)
"""

HOSTILE_CASES = re.findall(r'^    "([\w ]+)":', HOSTILE, re.MULTILINE)


@pytest.mark.parametrize("name", quick_first(HOSTILE_CASES))
def test_a_hostile_folder_takes_little_memory(ingest: SentryIngest, tmp_path: Path, name: str) -> None:
    """To show it, to read it while nothing may be sent, to evict from it, and to send it."""
    address = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    done = run_python(HOSTILE, arguments=[name, address, str(tmp_path / "spool")], pythonpath=[ROOT], cwd=tmp_path)
    found = re.search(r"grown by ([\d.]+) MiB", done.stdout)
    assert found is not None, done.stderr
    print(name, found[0])
    assert float(found[1]) < 16


def test_a_target_for_which_no_worker_can_be_made_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at each look for new targets, once a second."""
    spooled(tmp_path, "http://127.0.0.1:9/api/1/envelope/")

    def fail(*_: object) -> None:
        raise ValueError("no certificates")

    monkeypatch.setattr(shipper, "TargetWorker", fail)
    shipping = Shipper(tmp_path)
    for _ in range(3):
        shipping._start_workers(threading.Event())
    assert [each.levelname for each in caplog.records if "Nothing can be sent" in each.getMessage()] == ["ERROR"]
