"""What is written: each span once, each failure once; and what happens when it cannot be."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from brain_otel.viewer.ingest.envelopes import read_envelope
from brain_otel.viewer.ingest.otlp import read_logs, read_traces
from brain_otel.viewer.rows import Batch
from brain_otel.viewer.store.durations import packed
from brain_otel.viewer.store.schema import PAGE_SIZE, STEPS, TABLES, StoreError, open_file, open_reader
from brain_otel.viewer.store.writer import MAX_WAITING, FullError, Writer
from tests.support.viewer import (
    RunningViewer,
    attributes,
    envelope,
    error,
    new_id,
    otlp_span,
    otlp_traces,
    span,
    transaction,
)

if TYPE_CHECKING:
    from pathlib import Path

NOW = time.time()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    found = Writer(tmp_path / "view.db", 64 << 20)
    yield found
    found.close()


def write(writer: Writer, *batches: Batch) -> None:
    for batch in batches:
        writer.submit(batch).result(10)


def ask(path: Path, query: str) -> list[Any]:
    with closing(open_reader(path)) as connection:
        return [tuple(row) for row in connection.execute(query)]


def executing(statement: str) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute(statement)

    return work


def sentry(*items: tuple[str, Any]) -> Batch:
    return read_envelope(envelope(items))


def otlp(*spans: dict[str, Any]) -> Batch:
    return read_traces(json.dumps(otlp_traces(spans, service__name="shop")).encode(), is_json=True)


@pytest.mark.parametrize("sentry_first", [True, False])
def test_a_span_by_both_protocols_is_one_row(writer: Writer, tmp_path: Path, sentry_first: bool) -> None:
    """What the second adds is merged, and the request counts once."""
    trace, root = new_id(), new_id(16)
    request = transaction("GET /a", at=NOW, trace=trace, span=root, tags={"plan": "free"})
    child = span(request, "SELECT 1")
    request["spans"] = [child]
    batches = [
        sentry(("transaction", request)),
        otlp(
            otlp_span(
                "GET /a", trace=trace, span=root, kind=2, start=NOW, seconds=0.1, attributes=attributes({"k": "v"})
            ),
            otlp_span("SELECT 1", trace=trace, span=child["span_id"], parent=root, start=NOW, seconds=0.01),
        ),
    ]
    write(writer, *(batches if sentry_first else reversed(batches)))
    rows = ask(tmp_path / "view.db", "SELECT source, root, data FROM spans ORDER BY root DESC")
    assert [row[:2] for row in rows] == [(3, 1), (3, 0)]
    assert json.loads(rows[0][2])["k"] == "v"
    assert ask(tmp_path / "view.db", "SELECT count(*) FROM roots") == [(1,)]
    assert ask(tmp_path / "view.db", "SELECT count(*) FROM durations WHERE kind = 'route' AND step = 60") == [(1,)]


def exception_span(trace: str, root: str) -> Batch:
    given = attributes({"exception__type": "ValueError", "exception__message": "no"})
    event = {"name": "exception", "timeUnixNano": str(int(NOW * 1e9)), "attributes": given}
    return otlp(otlp_span("GET", trace=trace, span=root, kind=2, start=NOW, seconds=0.1, events=[event]))


def exception_log(trace: str, root: str) -> Batch:
    given = attributes({"exception__type": "ValueError", "exception__message": "no"})
    record = {"timeUnixNano": str(int(NOW * 1e9)), "traceId": trace, "spanId": root, "attributes": given}
    return read_logs(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode(), is_json=True)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_a_failure_by_both_protocols_is_one_event(writer: Writer, tmp_path: Path, order: tuple[int, ...]) -> None:
    """Sentry's says more, and stands."""
    trace, root = new_id(), new_id(16)
    event = error("ValueError", "no", contexts={"trace": {"trace_id": trace, "span_id": root}})
    batches = [sentry(("event", event)), exception_span(trace, root), exception_log(trace, root)]
    write(writer, *(batches[number] for number in order))
    assert ask(tmp_path / "view.db", "SELECT event_id, source FROM errors") == [(event["event_id"], 3)]
    assert ask(tmp_path / "view.db", "SELECT total, title FROM issues") == [(1, "ValueError: no")]


def test_the_same_event_twice_counts_once(writer: Writer, tmp_path: Path) -> None:
    """And two events of one trace by Sentry are two."""
    place = {"trace": {"trace_id": new_id(), "span_id": new_id(16)}}
    one, other = error(contexts=place), error(contexts=place)
    write(writer, sentry(("event", one)), sentry(("event", one)), sentry(("event", other)))
    assert ask(tmp_path / "view.db", "SELECT total FROM issues") == [(2,)]


@pytest.mark.parametrize(
    ("state", "at", "becomes"),
    [("resolved", 10, "back"), ("resolved", -10, "resolved"), ("ignored", 10, "ignored"), ("open", 10, "open")],
)
def test_a_resolved_issue_comes_back_with_a_later_event(
    writer: Writer, tmp_path: Path, state: str, at: int, becomes: str
) -> None:
    write(writer, sentry(("event", error(at=NOW - 100))))
    change = f"UPDATE issues SET state = '{state}', changed_at = {int(NOW * 1e6)}"
    writer.submit(executing(change)).result(10)
    write(writer, sentry(("event", error(at=NOW + at))))
    assert ask(tmp_path / "view.db", "SELECT state FROM issues") == [(becomes,)]


def test_the_file_stays_below_its_bound(tmp_path: Path) -> None:
    """The oldest goes first, and the newest is there."""
    path, most = tmp_path / "view.db", 8 << 20
    writer = Writer(path, most)
    for number in range(60):
        requests = []
        for _ in range(20):
            requests.append(request := transaction(f"GET /{number}", at=NOW + number))
            request["spans"] = [span(request, f"SELECT {'x' * 900}") for _ in range(10)]
        write(writer, sentry(*(("transaction", each) for each in requests)))
        assert path.stat().st_size <= most
    writer.close()
    names = [row[0] for row in ask(path, "SELECT DISTINCT route FROM roots ORDER BY start")]
    assert names[-1] == "GET /59"
    assert "GET /0" not in names
    assert len(names) > 15


def test_rows_of_one_batch_that_cannot_be_written_do_not_stop_the_others(writer: Writer, tmp_path: Path) -> None:
    """As rows that SQLite cannot store."""
    bad, good = sentry(("event", error())), sentry(("event", error("Good")))
    bad.errors[0] = bad.errors[0]._replace(at=1 << 70)
    futures = [writer.submit(each) for each in (bad, good)]
    assert isinstance(futures[0].exception(10), OverflowError)
    assert futures[1].result(10) is None
    write(writer, sentry())
    counted = ask(
        tmp_path / "view.db", "SELECT category, outcome, count FROM counts WHERE category = 'error' ORDER BY 2"
    )
    assert counted == [("error", "accepted", 1), ("error", "dropped", 1)]


def test_what_waits_is_bounded(writer: Writer, tmp_path: Path) -> None:
    """What is refused is counted."""
    many = Batch(logs=[None] * MAX_WAITING)  # type: ignore[list-item]
    many.accept("log", 5)
    with closing(sqlite3.connect(tmp_path / "view.db")) as other:
        other.execute("BEGIN IMMEDIATE")  # the writer waits for this one
        first = writer.submit(sentry(("event", error())))
        with pytest.raises(FullError):
            writer.submit(many)
        other.execute("ROLLBACK")
    first.result(10)
    write(writer, sentry())
    query = "SELECT category, count FROM counts WHERE outcome = 'dropped' AND reason = 'viewer is busy'"
    assert ask(tmp_path / "view.db", query) == [("log", 5)]


def test_the_words_of_clients_are_bounded(writer: Writer, tmp_path: Path) -> None:
    """Every count stays in the sum."""
    discarded = [{"reason": f"r{number}", "category": "error", "quantity": 2} for number in range(900)]
    write(writer, sentry(("client_report", {"discarded_events": discarded})))
    counted = ask(tmp_path / "view.db", "SELECT count(*), sum(count) FROM counts WHERE by = 'client'")
    assert counted[0][0] <= 501
    assert counted[0][1] == 1_800


def test_a_full_disk_is_told_and_ends(tmp_path: Path) -> None:
    """The sender may send again; nothing is lost in silence."""
    path = tmp_path / "view.db"
    writer = Writer(path, 64 << 20)
    write(writer, sentry(("event", error())))
    pages = ask(path, "PRAGMA page_count")[0][0]
    writer.submit(executing(f"PRAGMA max_page_count = {pages}")).result(10)
    big = sentry(("event", error(extra={"k": os.urandom(100_000).hex()})))
    assert isinstance(writer.submit(big).exception(10), sqlite3.OperationalError)
    writer.submit(executing(f"PRAGMA max_page_count = {pages * 100}")).result(10)
    write(writer, big)
    assert len(ask(path, "SELECT id FROM errors")) >= 1
    assert ask(path, "SELECT count FROM counts WHERE reason = 'could not be written'") == [(1,)]
    writer.close()


def test_kill_9_while_writing_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    """Each answer of 200 means a row in the file, which opens again."""
    sent = []
    with RunningViewer(tmp_path) as viewer:
        for number in range(30):
            event = error()
            viewer.send(("event", event))
            sent.append(event["event_id"])
            if number == 29:
                os.kill(viewer.server.pid, signal.SIGKILL)
    with RunningViewer(tmp_path) as viewer:
        assert [each["total"] for each in viewer.json("/issues")["issues"]] == [30]
        assert viewer.json("/issues/1")["issue"]["kept"] == len(sent)


def test_two_viewers_share_one_file(tmp_path: Path) -> None:
    """Each shows what the other took."""
    with RunningViewer(tmp_path) as one, RunningViewer(tmp_path) as other:
        for number in range(10):
            (one if number % 2 else other).send(("event", error()))
        assert one.json("/issues") == other.json("/issues")
        assert one.json("/issues")["issues"][0]["events"] == 10


def test_a_file_of_an_earlier_version_is_taken(tmp_path: Path) -> None:
    """With its data, and with the tables that are new."""
    path = tmp_path / "view.db"
    with closing(sqlite3.connect(path)) as connection:
        for statement in TABLES.split(";"):
            connection.execute(statement)
        for bucket, failed, count in ((7, 0, 3), (9, 1, 2)):
            row = (60, 120, "route", "GET /", "shop", "test", "1", bucket, failed, count)
            connection.execute(f"INSERT INTO durations VALUES ({', '.join('?' * len(row))})", row)
        connection.execute("INSERT INTO counts VALUES (1, 'error', 'accepted', '', '', 7, 0)")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    Writer(path, 64 << 20).close()
    assert ask(path, "SELECT count FROM counts") == [(7,)]
    assert ask(path, "SELECT count(*) FROM profiles") == [(0,)]
    durations = ask(path, "SELECT step, kind, slot, name, release, histogram FROM durations")
    assert durations == [(60, "route", 120, "GET /", "1", packed({14: 3, 19: 2}))]
    assert ask(path, "PRAGMA user_version") == [(len(STEPS),)]


@pytest.mark.parametrize("content", [b"not a database at all" * 100, None], ids=["text", "other version"])
def test_a_file_of_others_is_rejected(tmp_path: Path, content: bytes | None) -> None:
    """And stays as it is."""
    path = tmp_path / "view.db"
    if content is None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
            connection.execute("CREATE TABLE mine (a)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=str(path)):
        open_file(path, 1 << 20)
    assert content is None or path.read_bytes() == before
    assert PAGE_SIZE == 4_096
