"""Tests of the bounds of a spool: every dropped event is reported to Sentry, whichever process dropped it."""

import logging
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from brain_otel.delivery import retry_loop
from brain_otel.delivery.delivery import Delivery
from brain_otel.delivery.http import HttpClient
from brain_otel.delivery.memory_queue import MemoryQueue
from brain_otel.delivery.record import MAX_BODY, PRIORITIES, Record
from brain_otel.delivery.spool import shipper
from brain_otel.delivery.spool.directory import Bounds, segments, targets
from brain_otel.delivery.spool.discarded import take_discarded
from brain_otel.delivery.spool.eviction import evict
from brain_otel.delivery.spool.reader import AHEAD, SpoolQueue
from brain_otel.delivery.spool.shipper import Shipper, drain
from brain_otel.delivery.spool.shipper_process import ShipperSupervisor
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from tests.support.ingest import SentryIngest
from tests.support.process import environment, free_port
from tests.support.tiers import thorough
from tests.support.waiting import until

BOUNDS = Bounds(max_bytes=2**20)


def envelope(kind: str, size: int = 1_000) -> bytes:
    payload = b'{"message":"%s"}' % (b"x" * size)
    return b'{}\n{"type":"%s","length":%d}\n%s\n' % (kind.encode(), len(payload), payload)


def sentry(port: int) -> Target:
    return Target(kind="sentry", url=f"http://127.0.0.1:{port}/api/42/envelope/", timeout=5.0)


def reported(ingest: SentryIngest) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for report in ingest.client_reports:
        for each in report["discarded_events"]:
            counts[each["category"], each["reason"]] += each["quantity"]
    return counts


def wait_for_eviction(spool: Spool) -> None:
    """Wait for the thread that evicts."""
    if spool._evicting is not None:
        spool._evicting.join(10)


def test_events_dropped_by_another_service_are_reported(ingest: SentryIngest, tmp_path: Path) -> None:
    """OTLP requests displace transactions; the shipper reports these to Sentry."""
    for_sentry = Spool(tmp_path, sentry(ingest.port), BOUNDS)
    for _ in range(10):
        for_sentry.append(Record("transaction", envelope("transaction"), 4))
    for_sentry.close()
    otlp = Spool(tmp_path, Target(kind="otlp", url=f"http://127.0.0.1:{free_port()}/v1/traces"), BOUNDS)
    for _ in range(2_000):
        otlp.append(Record("otlp_traces", b"x" * 1_000))
    wait_for_eviction(otlp)
    assert segments(for_sentry.folder) == []
    assert not (otlp.folder / "losses.json").exists()
    otlp.close()
    drain(tmp_path, 1.0)
    assert reported(ingest) == {("transaction", "cache_overflow"): 10, ("span", "cache_overflow"): 40}
    assert take_discarded(for_sentry.folder) == {}


def test_the_next_shipper_reports_what_one_has_not(
    ingest: SentryIngest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record is rejected, and the shipper stops before it reports."""
    spool = Spool(tmp_path, sentry(ingest.port), BOUNDS)
    spool.append(Record("error", envelope("event")))
    ingest.respond = lambda: (413, {})
    first = Shipper(tmp_path)
    thread = threading.Thread(target=first.run, daemon=True)
    thread.start()
    until(lambda: segments(spool.folder, "refused"))
    first.stop()
    thread.join(10)
    assert ingest.client_reports == []
    ingest.respond = None
    monkeypatch.setattr(shipper, "REPORT_INTERVAL", -1.0)
    second = Shipper(tmp_path)
    thread = threading.Thread(target=second.run, daemon=True)
    thread.start()
    until(lambda: reported(ingest) == {("error", "send_error"): 1})
    second.stop()
    thread.join(10)


WRITER = """
import sys
from pathlib import Path
from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.directory import Bounds
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
spool = Spool(Path(sys.argv[1]), Target(kind="otlp", url="http://x"), Bounds(max_bytes=2**20))
for _ in range(2_000):
    spool.append(Record("otlp_traces", b"x" * 1_000))
"""


@thorough
def test_many_writers_stay_within_the_bound_together(tmp_path: Path) -> None:
    """Eight processes write two megabytes each, and one fits.

    A process that waits for another's eviction exceeds the bound for a moment.
    """
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, env=environment()) for _ in range(8)]
    most = 0
    while any(writer.poll() is None for writer in writers):
        most = max(most, sum(each.size() for folder in targets(tmp_path) for each in segments(folder)))
    assert [writer.returncode for writer in writers] == [0] * 8
    print(f"at most {most / BOUNDS.max_bytes:.2f} of the bound")
    assert BOUNDS.max_bytes / 2 < most <= BOUNDS.max_bytes * 1.25


@pytest.mark.parametrize("size", [2**20, 2**27])
def test_a_record_that_is_too_large_displaces_no_other(tmp_path: Path, size: int) -> None:
    """On disk and in memory; it is counted."""
    lost: Counter[tuple[str, str]] = Counter()

    def count(record: Record, reason: str) -> None:
        lost[record.category, reason] += 1

    spool = Spool(tmp_path, sentry(free_port()), BOUNDS)
    delivery = Delivery(spool._target, on_discard=count, spool=(spool, ShipperSupervisor(tmp_path, "external")))
    delivery.put(Record("transaction", envelope("transaction")))
    delivery.put(Record("error", b"x" * size))
    assert lost == {("error", "cache_overflow"): 1}
    assert len(SpoolQueue(spool.folder).take(10, lambda _: True)) == 1
    memory = MemoryQueue(max_items=10, max_bytes=size - 1, max_age=60.0, on_discard=count)
    memory.put(Record("transaction", envelope("transaction")))
    memory.put(Record("error", b"x" * size))
    assert lost["error", "queue_overflow"] == 1
    assert len(memory) == 1


def test_a_record_too_large_for_the_disk_is_sent_from_memory(ingest: SentryIngest, tmp_path: Path) -> None:
    """An envelope with a large attachment, say: it displaces no others, and reading it back would take too much."""
    lost: Counter[str] = Counter()
    bounds = Bounds(max_bytes=2**28)
    spool = Spool(tmp_path, sentry(ingest.port), bounds)
    delivery = Delivery(
        spool._target,
        on_discard=lambda _, reason: lost.update([reason]),
        spool=(spool, ShipperSupervisor(tmp_path, "external")),
    )
    delivery.put(Record("error", envelope("event", MAX_BODY)))
    delivery.put(Record("error", envelope("event", MAX_BODY - 1_000)))
    assert delivery.flush(30.0)
    assert len(ingest.events) == 1
    assert len(SpoolQueue(spool.folder).take(10, lambda _: True)) == 1
    ingest.delay = 20.0
    delivery.put(Record("error", envelope("event", MAX_BODY)))
    delivery.put(Record("error", envelope("event")))
    delivery.end()
    assert lost == {"queue_overflow": 1}


def test_records_in_flight_are_not_dropped() -> None:
    """They may have arrived, and would be counted as lost."""
    lost: list[bytes] = []
    memory = MemoryQueue(
        max_items=2, max_bytes=2**20, max_age=60.0, on_discard=lambda record, _: lost.append(record.body)
    )
    memory.put(Record("transaction", b"1"))
    memory.take(1, lambda _: True)
    for body in (b"2", b"3", b"4"):
        memory.put(Record("transaction", body))
    assert lost == [b"2", b"3"]
    memory.take(2, lambda _: True)
    memory.put(Record("transaction", b"5"))
    assert lost == [b"2", b"3", b"5"]


def test_dropped_events_are_logged_once_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, sentry(free_port()), BOUNDS)
    for _ in range(5_000):
        spool.append(Record("error", envelope("event")))
    wait_for_eviction(spool)
    (line,) = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert re.search(r"exceeds its bounds; dropped: [1-9]\d* error$", line)


def test_limited_categories_are_not_sent(ingest: SentryIngest, tmp_path: Path) -> None:
    """Sessions are dropped and counted; reports wait."""
    lost: Counter[tuple[str, str]] = Counter()
    queue = MemoryQueue(max_items=10, max_bytes=2**20, max_age=60.0, on_discard=lambda *_: None)
    sending = retry_loop.RetryLoop(
        "sentry",
        queue,
        HttpClient(sentry(ingest.port), connections=1),
        on_discard=lambda record, reason: lost.update([(record.category, reason)]),
    )
    sending.limits.update({"session": 100.0, "internal": 100.0})
    for category in ("session", "internal", "error"):
        queue.put(Record(category, envelope("event")))
    while sending.step() == 0.0:
        pass
    assert len(ingest.envelopes) == 1
    assert lost == {("session", "ratelimit_backoff"): 1}
    assert len(queue) == 1  # the report


def test_only_a_few_segments_are_opened(tmp_path: Path) -> None:
    """Many runs of a program have left a record each, and the server accepts none of them."""
    target = sentry(free_port())
    for _ in range(AHEAD + 50):
        spool = Spool(tmp_path, target, BOUNDS)
        spool.append(Record("error", envelope("event", 10)))
        spool.close()
    queue = SpoolQueue(spool.folder)
    assert queue.take(1, lambda _: False) == []
    assert len(queue._readers) == AHEAD


def test_an_unreadable_segment_delays_no_other(tmp_path: Path) -> None:
    """A directory and a pipe with a segment's name, and a segment that the disk cannot read."""
    spool = Spool(tmp_path, sentry(free_port()), BOUNDS)
    spool.append(Record("error", b"first"))
    spool.close()
    (spool.folder / "00000000000000000001-00000000-0000000001-1-1.errors.v1").mkdir()
    os.mkfifo(spool.folder / "00000000000000000002-00000000-0000000001-1-1.errors.v1")
    spool.append(Record("error", b"second"))
    queue = SpoolQueue(spool.folder)
    (first,) = queue.take(1, lambda _: True)
    os.close(first.reader.descriptor)
    first.reader.descriptor = os.open(tmp_path, os.O_RDONLY)  # reading it is an error
    first.reader.pending.clear()
    first.reader._read_to = -1
    assert [each.record.body for each in queue.take(5, lambda _: True)] == [b"second"]
    assert {each.priority for each in segments(spool.folder, *PRIORITIES)} == {"errors"}


def test_a_segment_dropped_during_sending_leaves_no_file(tmp_path: Path) -> None:
    """The next eviction removes its acknowledgement."""
    spool = Spool(tmp_path, sentry(free_port()), BOUNDS)
    spool.append(Record("error", b"first"))
    until(lambda: spool._evicting is None or not spool._evicting.is_alive())  # it would evict here too
    queue = SpoolQueue(spool.folder)
    (in_flight,) = queue.take(1, lambda _: True)
    evict(tmp_path, Bounds(max_bytes=0, max_age=3600.0))
    queue.done(in_flight)
    assert [path.name for path in spool.folder.glob("*.ack")] != []
    evict(tmp_path, BOUNDS)
    assert [path.name for path in spool.folder.glob("*.ack")] == []


def test_a_segment_sealed_during_reading_is_read_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows beyond the window between two checks, and is closed: its last record is not torn."""
    monkeypatch.setattr("brain_otel.delivery.spool.reader.WINDOW", 500)
    spool = Spool(tmp_path, sentry(free_port()), BOUNDS)
    spool.append(Record("error", b"x" * 100))
    queue = SpoolQueue(spool.folder)
    real = os.fstat
    looks: list[int] = []

    def fstat(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if queue._readers and descriptor == next(iter(queue._readers.values())).descriptor:
            looks.append(descriptor)
        if len(looks) == 2:
            looks.append(0)
            for _ in range(8):
                spool.append(Record("error", b"y" * 100))
            spool.close()
        return status

    monkeypatch.setattr("brain_otel.delivery.spool.reader.os.fstat", fstat)
    sent = []
    while batch := queue.take(5, lambda _: True):
        for each in batch:
            sent.append(each.record.body[:1])
            queue.done(each)
    assert sent == [b"x", *[b"y"] * 8]
    assert queue.damaged == 0


def test_counts_of_discarded_events_survive_an_outage(ingest: SentryIngest, tmp_path: Path) -> None:
    """Every event that overflowed memory while Sentry was down is reported when it is up."""
    code = """
import sys, time
from tests.apps import spooling
import brain_otel, brain_otel.sentry.transport as transport
transport.REPORT = 0.0  # report with each envelope
spooling.start()
for number in range(2_000):
    with brain_otel.start_transaction(name=f"work {number}", op="task"):
        pass
    if number % 100 == 0:
        brain_otel.flush(0.02)
print("captured", flush=True)
sys.stdin.readline()
deadline = time.monotonic() + 20.0
while not brain_otel.flush(1.0) and time.monotonic() < deadline:
    pass
brain_otel.capture_message("the last")
brain_otel.shutdown(5.0)
"""
    answers = {"status": 500}
    ingest.respond = lambda: (answers["status"], {})
    env = environment(
        {"SENTRY_DSN": ingest.dsn, "SPOOL": "", "SHIPPER": "thread"}, pythonpath=[Path(__file__).parents[2]]
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "captured\n"
    answers["status"] = 200
    process.communicate("\n", timeout=60)
    items = [item for each in ingest.accepted for item in each.items]
    arrived = len({item.json["event_id"] for item in items if item.type == "transaction"})
    assert 0 < arrived < 2_000
    counts = reported(ingest)
    assert counts["transaction", "queue_overflow"] > 0
    assert arrived + sum(count for (category, _), count in counts.items() if category == "transaction") == 2_000
