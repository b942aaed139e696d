"""Tests of the retry loop: retries, rate limits and rejected records, against a server that fails."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from brain_otel.delivery import retry_loop
from brain_otel.delivery.http import HttpClient
from brain_otel.delivery.memory_queue import MemoryQueue, MemoryRecord
from brain_otel.delivery.rate_limits import RateLimits
from brain_otel.delivery.record import Record
from brain_otel.delivery.retry_loop import LONGEST_PAUSE, RetryLoop
from brain_otel.delivery.target import Target
from brain_otel.runtime.limited_log import log_counts
from tests.delivery.processes import started_process
from tests.support.ingest import SentryIngest


class Bench:
    """A queue in memory, its retry loop, and the server."""

    def __init__(
        self, ingest: SentryIngest, connections: int = 4, timeout: float = 5.0, *, in_process: bool = False
    ) -> None:
        self.ingest = ingest
        self.lost: Counter[tuple[str, str]] = Counter()
        self.left: list[int] = []
        """Records in the queue whenever limits begin to hold."""
        self.queue = MemoryQueue(max_items=100, max_bytes=100_000, max_age=3_600.0, on_discard=self._lost)
        url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
        self.target = Target(kind="sentry", url=url, timeout=timeout)
        create = started_process if in_process else HttpClient
        self.retry_loop: RetryLoop[MemoryRecord] = RetryLoop(
            url,
            self.queue,
            create(self.target, connections=connections),
            on_discard=self._lost,
            on_limits=lambda _: self.left.append(len(self.queue)),
            connections=connections,
        )

    def put(self, *names: str, category: str = "error") -> None:
        for name in names:
            kind = {"error": "event", "transaction": "transaction"}.get(category, category)
            payload = json.dumps({"message": name}).encode()
            body = b'{}\n{"type":"%s","length":%d}\n%s\n' % (kind.encode(), len(payload), payload)
            self.queue.put(Record(category, body))

    def run(self) -> float | None:
        """Send until there is nothing to do now."""
        pause: float | None = 0.0
        while pause == 0.0:
            pause = self.retry_loop.step()
        return pause

    def accepted(self) -> list[str]:
        return [item.json["message"] for envelope in self.ingest.accepted for item in envelope.items]

    def _lost(self, record: Record, reason: str) -> None:
        self.lost[record.category, reason] += 1


@pytest.fixture(params=["thread", "process"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with SentryIngest() as ingest:
        yield Bench(ingest, in_process=request.param == "process")


@pytest.mark.parametrize("status", [200, 400])
def test_an_answered_record_has_left_before_its_limits_hold(bench: Bench, status: int) -> None:
    """A flush would take it for one that the limits keep back."""
    bench.ingest.respond = lambda: (status, {"X-Sentry-Rate-Limits": "60:transaction"})
    bench.put("a", category="transaction")
    assert bench.run() is None
    assert bench.left == [0]


def test_every_record_is_sent_once_errors_first(bench: Bench) -> None:
    bench.put(*"abc", category="transaction")
    bench.put(*"defghij")
    assert bench.run() is None
    assert sorted(bench.accepted()) == list("abcdefghij")
    assert bench.accepted()[0] == "d"
    assert set(bench.accepted()[:7]) == set("defghij")


@pytest.mark.parametrize("status", [500, 503, 0])
def test_a_server_that_fails_gets_everything_later(bench: Bench, status: int) -> None:
    """After pauses that double, up to a bound; a random part of up to a half is taken off."""
    bench.put("a", "b")
    bench.ingest.respond = lambda: (status, {})
    pauses = [bench.retry_loop.step() or 0.0 for _ in range(10)]
    for number, pause in enumerate(pauses):
        longest = min(LONGEST_PAUSE, 0.5 * 2**number)
        assert longest / 2 <= pause <= longest
    assert bench.retry_loop.failure
    bench.ingest.respond = None
    assert bench.run() is None
    assert sorted(bench.accepted()) == ["a", "b"]
    assert not bench.retry_loop.failure
    assert bench.lost == {}


def test_a_failing_server_can_set_the_pause(bench: Bench) -> None:
    """With 503 and `Retry-After`."""
    bench.put("a")
    bench.ingest.respond = lambda: (503, {"Retry-After": "50"})
    pause = bench.retry_loop.step()
    assert pause is not None
    assert pause >= 50.0


def test_limited_categories_wait_and_others_are_sent(bench: Bench) -> None:
    """Errors are sent while transactions are limited, and the other way round."""
    bench.put("t", category="transaction")
    bench.ingest.respond = lambda: (429, {"X-Sentry-Rate-Limits": "100:transaction:organization"})
    pause = bench.run()
    assert pause is not None
    assert 90.0 < pause <= 100.0
    bench.ingest.respond = None
    bench.put("e")
    bench.run()
    assert bench.accepted() == ["e"]
    bench.retry_loop.limits.update({"transaction": 0.0, "error": 100.0})
    bench.put("f")
    bench.run()
    assert bench.accepted() == ["e", "t"]
    assert len(bench.queue) == 1
    assert bench.lost == {}


@pytest.mark.parametrize(
    ("header", "dropped"),
    [
        ("86400:transaction:organization:unsupported", {"transaction"}),
        ("3601:transaction;span:key", {"transaction"}),
        ("60:error, 7200:transaction", {"transaction"}),
        ("86400:error", {"error"}),
        ("86400", {"error", "transaction"}),
        ("86400::organization, 60:error", {"error", "transaction"}),
        ("3600:transaction;error", set()),
        ("60", set()),
    ],
)
@pytest.mark.parametrize("status", [200, 429])
def test_refused_categories_are_dropped(bench: Bench, header: str, dropped: set[str], status: int) -> None:
    """What the server limits for more than an hour does not wait; it is counted, and the loop is at rest."""
    bench.ingest.respond = lambda: (status, {"X-Sentry-Rate-Limits": header})
    bench.put("first", category="session")
    bench.run()
    bench.lost.clear()
    bench.put(*"ab", category="transaction")
    bench.put(*"cd", category="error")
    pause = bench.run()
    assert bench.lost == {(category, "ratelimit_backoff"): 2 for category in dropped}
    assert len(bench.queue) == 4 - 2 * len(dropped) - len(bench.accepted()[status == 200 :])
    assert (pause is None) == (len(bench.queue) == 0)


def test_a_refusal_lasts_until_its_end(bench: Bench) -> None:
    """A record does not begin to wait when little of a long limit is left."""
    limits = RateLimits(max_wait=0.1)
    limits.update({"transaction": 0.4, "error": 0.05})
    assert (limits.is_refused("transaction"), limits.is_refused("error")) == (True, False)
    time.sleep(0.35)
    assert limits.is_refused("transaction")
    assert not limits.pauses()
    time.sleep(0.1)
    assert not limits.is_refused("transaction")
    limits.update({"": 0.4})
    assert limits.is_refused("transaction")


def test_a_client_report_outlives_a_refusal(bench: Bench) -> None:
    """It holds the counts of what the rejection costs."""
    bench.retry_loop.limits.update({"": 86_400.0})
    bench.put("report", category="internal")
    assert (bench.run() or 0.0) > 80_000
    assert len(bench.queue) == 1
    assert bench.lost == {}


def test_limited_sessions_are_dropped(bench: Bench) -> None:
    """As in sentry-sdk; they are counted."""
    bench.put("s", category="session")
    bench.ingest.respond = lambda: (429, {"Retry-After": "100"})
    bench.run()
    assert bench.lost == {("session", "ratelimit_backoff"): 1}
    assert len(bench.queue) == 0


def test_a_429_that_limits_other_categories_pauses_this_one_too(bench: Bench) -> None:
    """The answer to an error limits transactions."""
    bench.put("e")
    bench.ingest.respond = lambda: (429, {"X-Sentry-Rate-Limits": "100:transaction"})
    pause = bench.run()
    assert pause is not None
    assert len(bench.ingest.envelopes) == 1
    assert len(bench.queue) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_rejected_record_is_not_retried(bench: Bench, status: int) -> None:
    """It is counted, and other records are sent."""
    bench.put("a")
    bench.ingest.respond = lambda: (status, {})
    assert bench.run() is None
    assert len(bench.ingest.envelopes) == 1
    bench.ingest.respond = None
    bench.put("b")
    bench.run()
    assert bench.accepted() == ["b"]
    assert bench.lost == {("error", "send_error"): 1}


def test_a_record_that_makes_the_server_fail_delays_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is retried after growing pauses while others succeed, then rejected."""
    monkeypatch.setattr(retry_loop, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(retry_loop, "MAX_BACKOFF", 0.002)
    poison = json.dumps({"message": "poison"}).encode()

    def respond() -> tuple[int, dict[str, str]]:
        with bench.ingest._arrival:
            latest = {envelope.items[0].payload for envelope in bench.ingest.envelopes[-1:]}
        return (500, {}) if latest == {poison} else (200, {})

    monkeypatch.setattr(retry_loop, "MAX_FAILURES", 20)
    alone = Bench(bench.ingest, connections=1)
    alone.put("poison")
    bench.ingest.respond = respond
    assert alone.retry_loop.step() != 0.0  # without others, the server seems to fail
    number = 0
    while not alone.lost:
        alone.put(str(number))
        number += 1
        alone.retry_loop.step()
        threading.Event().wait(0.002)
    alone.run()
    assert set(alone.accepted()) == set(map(str, range(number)))
    assert number < 400
    assert alone.lost == {("error", "send_error"): 1}
    assert sum(item.payload == poison for item in alone.ingest.items()) >= 20


@pytest.mark.parametrize("status", [500, 0])
def test_several_such_records_delay_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """The first attempts fail as if the server were down; later attempts send others, and these are rejected."""
    monkeypatch.setattr(retry_loop, "MAX_FAILURES", 5)
    monkeypatch.setattr(retry_loop, "FIRST_PAUSE", 0.0005)
    monkeypatch.setattr(retry_loop, "MAX_BACKOFF", 0.001)
    monkeypatch.setattr(retry_loop, "LONGEST_PAUSE", 0.01)

    one = Bench(bench.ingest, connections=1)
    one.put("poison 1", "poison 2", "poison 3")
    one.put(*map(str, range(40)))

    def by_payload() -> tuple[int, dict[str, str]]:
        with bench.ingest._arrival:
            latest = bench.ingest.envelopes[-1].items[0].json["message"]
        return (status, {}) if latest.startswith("poison") else (200, {})

    bench.ingest.respond = by_payload
    number = 40
    while one.lost["error", "send_error"] != 3:
        pause = one.retry_loop.step()
        threading.Event().wait(min(pause or 0.0, 0.01))
        one.put(str(number))
        number += 1
        assert number < 500
    bench.ingest.respond = None
    one.run()
    assert set(map(str, range(number))) <= set(one.accepted())


def test_memory_is_bounded_in_number_and_keeps_errors(bench: Bench) -> None:
    """The oldest traces are dropped first, then the oldest errors."""
    bench.put(*map(str, range(90)), category="transaction")
    bench.put(*map(str, range(60)))
    assert len(bench.queue) == 100
    assert bench.lost == {("transaction", "queue_overflow"): 50}
    bench.put(*map(str, range(60, 120)))
    assert bench.lost == {("transaction", "queue_overflow"): 90, ("error", "queue_overflow"): 20}
    kept = [json.loads(each.record.body.split(b"\n")[2])["message"] for each in bench.queue.take(200, lambda _: True)]
    assert kept == list(map(str, range(20, 120)))


def test_memory_is_bounded_in_bytes(bench: Bench) -> None:
    """Ten records of a tenth of the bound fit."""
    for _ in range(50):
        bench.queue.put(Record("transaction", b"x" * 10_000))
    assert len(bench.queue) == 10
    assert bench.queue.is_full


def warnings(bench: Bench, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines so far about the server, with the counts that are left."""
    log_counts()
    lines = [record.getMessage() for record in caplog.records]
    return [line for line in lines if line.startswith(bench.target.address)]


def test_rejections_are_one_line_and_a_count(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred requests are answered with 413 or 400."""
    for number in range(100):
        bench.put(f"{number}")
    answers = iter([413] * 97 + [400] * 3)
    bench.ingest.respond = lambda: (next(answers), {})
    bench.run()
    first, rest = warnings(bench, caplog)
    assert "rejected records: 1 error (HTTP 413" in first
    assert "rejected records: 96 error (HTTP 413" in rest
    assert ", 3 error (HTTP 400" in rest


def test_rate_limits_are_one_line_and_a_count(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The server sets one again as soon as the last has ended."""
    bench.put("a")
    bench.ingest.respond = lambda: (429, {"X-Sentry-Rate-Limits": "0.01:error:key"})
    for _ in range(20):
        bench.run()
        time.sleep(0.02)
    first, rest = warnings(bench, caplog)
    assert first.endswith("has set rate limits, and records wait: error for 0.01 s")
    assert re.search(r": error for 0.01 s \(1\d times\)$", rest)


def test_outages_that_follow_each_other_are_counted(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The first is two lines; ten that follow within a minute are one."""
    for number in range(11):
        bench.put(f"{number}")
        bench.ingest.respond = lambda: (500, {})
        for _ in range(3):
            bench.retry_loop.step()
        bench.ingest.respond = None
        bench.run()
    begin, end, rest = warnings(bench, caplog)
    assert "cannot be reached" in begin
    assert "can be reached again" in end
    assert rest.endswith("could not be reached 10 more times within a minute")


def test_old_records_in_memory_are_dropped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour here."""
    bench.put("old")
    now = threading.TIMEOUT_MAX / 2
    monkeypatch.setattr("brain_otel.delivery.memory_queue.time.monotonic", lambda: now)
    bench.put("new")
    bench.run()
    assert bench.accepted() == ["new"]
    assert bench.lost == {("error", "queue_overflow"): 1}


def test_an_outage_is_two_log_lines(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """One at the beginning, one at the end."""
    caplog.set_level("INFO", logger="brain_otel")
    bench.put("a", "b")
    bench.ingest.respond = lambda: (500, {})
    for _ in range(5):
        bench.retry_loop.step()
    bench.ingest.respond = None
    bench.run()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "cannot be reached" in lines[0]
    assert "HTTP 500" in lines[0]
    assert "can be reached again" in lines[1]
