"""Tests of delivery from memory, also where the interpreter starts no more threads."""

import errno
import json
import os
import threading
import time
from collections import Counter
from typing import Any

import pytest

from brain_otel.delivery import memory_queue
from brain_otel.delivery.delivery import Delivery
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target
from brain_otel.runtime import guard
from brain_otel.runtime.limited_log import log_counts
from tests.delivery.processes import start_process
from tests.support.ingest import SentryIngest
from tests.support.process import SLACK
from tests.support.threads import no_new_threads
from tests.support.waiting import PATIENCE, until


def record(name: str, category: str = "error") -> Record:
    payload = json.dumps({"message": name}).encode()
    return Record(category, b'{}\n{"type":"event","length":%d}\n%s\n' % (len(payload), payload))


def delivery_to(ingest: SentryIngest, discarded: Counter[str], *, in_process: bool = False) -> Delivery:
    target = Target(kind="sentry", url=f"http://127.0.0.1:{ingest.port}/api/42/envelope/")
    delivery = Delivery(
        target, on_discard=lambda _record, reason: discarded.update([reason]), uses_process=in_process
    )
    if in_process:
        start_process(delivery)
    return delivery


def test_flush_sends_on_the_calling_thread(ingest: SentryIngest) -> None:
    """Each record once, also if one attempt fails; several at once need no threads either."""
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded)
    answers = iter([500])
    ingest.respond = lambda: (next(answers, 200), {})
    names = [str(number) for number in range(20)]
    before = set(threading.enumerate())
    with no_new_threads():
        for name in names:
            delivery.put(record(name))
        assert ingest.envelopes == []
        assert delivery.flush(10.0)
    assert sorted(item.json["message"] for each in ingest.accepted for item in each.items) == sorted(names)
    assert "brain_otel.delivery" not in [each.name for each in set(threading.enumerate()) - before]
    assert discarded == {}


def test_the_first_records_of_many_threads_share_a_queue(
    ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread creates one while the others do; what is in a queue that nobody sends would be lost."""
    create = memory_queue.MemoryQueue

    class Slow(create):  # type: ignore[misc, valid-type]  # the class of the module that was patched
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            time.sleep(0.05)

        def put(self, queued: Record) -> None:
            time.sleep(0.3)
            super().put(queued)

    monkeypatch.setattr(memory_queue, "MemoryQueue", Slow)
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded)
    names = [str(number) for number in range(4)]
    threads = [threading.Thread(target=delivery.put, args=[record(name)]) for name in names]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert delivery.flush(10.0)
    assert sorted(item.json["message"] for each in ingest.accepted for item in each.items) == names
    assert discarded == {}


def test_a_finalizer_may_put_a_record_while_its_thread_looks_at_the_queue() -> None:
    """A collection of garbage may run anywhere. The record keeps its turn, and the bounds of the queue hold."""
    dropped: list[bytes] = []
    queue = memory_queue.MemoryQueue(
        max_items=3, max_bytes=2**20, max_age=60.0, on_discard=lambda each, _: dropped.append(each.body)
    )
    late = iter([record("late", "transaction"), record("later", "transaction")])

    def interrupted(_: object) -> bool:
        for each in late:
            queue.put(each)
        return True

    def look() -> None:
        queue.put(record("first"))
        queue.put(record("second", "transaction"))
        taken.extend(each.record.body for each in queue.take(9, interrupted))

    taken: list[bytes] = []
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert taken == [record("first").body, record("second").body]
    assert len(queue) == 4
    assert [each.body for each in queue.records()] == [record(name).body for name in ("first", "second", "later")]
    assert dropped == [record("late").body]


def test_a_server_that_hangs_does_not_delay_the_flush(ingest: SentryIngest) -> None:
    """The request gets only the time of the flush, not that of the target."""
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded)
    ingest.delay = 20.0
    with no_new_threads():
        delivery.put(record("hangs"))
        started = time.monotonic()
        assert not delivery.flush(0.3)
        assert time.monotonic() - started < 5.0 + SLACK
        delivery.end()
    assert discarded == {"queue_overflow": 1}


def test_a_record_for_which_nothing_can_be_imported_is_discarded(
    ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted, one line says so, and the next record is sent."""
    guard.forget_logged_places()
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded)

    def fail() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as broken:
        broken.setattr(delivery, "_created_memory", fail)
        for name in ("first", "second"):
            delivery.put(record(name))
        assert delivery.flush(10.0)
    assert discarded == {"queue_overflow": 2}
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    delivery.put(record("third"))
    assert delivery.flush(10.0)
    assert [item.json["message"] for each in ingest.accepted for item in each.items] == ["third"]


def test_records_without_room_are_one_line_and_a_count(
    ingest: SentryIngest, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is discarded and counted; those that are left at the end have a line of their own."""
    log_counts()  # of other tests
    caplog.clear()
    discarded: Counter[str] = Counter()
    target = Target(kind="sentry", url=f"http://127.0.0.1:{ingest.port}/api/42/envelope/")
    delivery = Delivery(target, on_discard=lambda _record, reason: discarded.update([reason]), max_items=5)
    with no_new_threads():
        for number in range(50):
            delivery.put(record(f"{number}"))
        delivery.end()
    log_counts()
    lines = [each.getMessage().partition("/envelope/")[2] for each in caplog.records]
    assert lines == [
        " are dropped for lack of room: 1 error (queue_overflow)",
        " were not sent in time",
        " are dropped for lack of room: 44 error (queue_overflow)",
    ]
    assert discarded == {"queue_overflow": 50}


def test_a_thread_takes_over_when_one_can_start(ingest: SentryIngest) -> None:
    delivery = delivery_to(ingest, Counter())
    with no_new_threads():
        delivery.put(record("first"))
    delivery.put(record("second"))
    assert delivery.flush(10.0)
    assert len(ingest.events) == 2
    delivery.close()


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize(("seconds", "is_complete"), [(86_400, True), (1_800, False)])
def test_a_flush_does_not_wait_for_what_is_limited(
    ingest: SentryIngest, seconds: int, is_complete: bool, in_process: bool
) -> None:
    """A refused record is counted, a limited one stays; an error that comes meanwhile is sent."""
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded, in_process=in_process)
    ingest.respond = lambda: (200, {"X-Sentry-Rate-Limits": f"{seconds}:transaction"})
    delivery.put(record("first", "transaction"))
    assert delivery.flush(PATIENCE)
    for number in range(50):
        delivery.put(record(str(number), "transaction"))
    delivery.put(record("error"))
    started = time.monotonic()
    assert delivery.flush(PATIENCE) is is_complete
    assert time.monotonic() - started < PATIENCE / 2
    assert [item.json["message"] for each in ingest.accepted for item in each.items] == ["first", "error"]
    assert discarded == ({"ratelimit_backoff": 50} if is_complete else {})
    assert delivery.is_healthy() is is_complete  # a refused category is no reason to sample less
    delivery.end()


@pytest.mark.parametrize("in_process", [False, True])
def test_what_is_held_is_sent_with_the_next_record(ingest: SentryIngest, in_process: bool) -> None:
    """A hold waits for the answers in flight, and nothing else is sent then; the end says nothing more of it."""
    discarded: Counter[str] = Counter()
    delivery = delivery_to(ingest, discarded, in_process=in_process)
    ingest.delay = 0.2
    for number in range(3):
        delivery.put(record(f"{number}"))
    until(lambda: ingest.envelopes)
    delivery.hold(10.0)
    assert delivery.save() == Counter(error=2)
    ingest.delay = 0.0
    assert not delivery.flush(10.0)
    assert len(ingest.envelopes) == 1
    delivery.put(record("next"))
    assert delivery.flush(10.0)
    assert len(ingest.envelopes) == 4
    delivery.hold(10.0)
    delivery.resume()
    assert delivery.flush(0.0)
    delivery.end()
    assert discarded == {}
