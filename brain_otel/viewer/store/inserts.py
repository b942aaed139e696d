"""Writes batches of rows inside one transaction: each span once, each failure once, each event in its issue."""

import json
import sqlite3
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from brain_otel.viewer.grouping import template_of
from brain_otel.viewer.rows import OTLP, SENTRY, Batch, Error, Json, Log, Profile, Sessions, Span
from brain_otel.viewer.store.durations import STEPS, key_of
from brain_otel.viewer.store.durations import packed as histogram

MAX_NAMES = 1_000
"""Names of routes, or of operations of one kind, an hour; more are ``(other)``."""

MAX_KINDS = 500
"""Kinds of counts a day."""

OTHER = "(other)"
SECOND = 1_000_000
DAY = 86_400

_INSERT_SPAN = f"INSERT INTO spans VALUES (NULL{', ?' * len(Span._fields)})"
_MERGE_SPAN = """
UPDATE spans SET parent = CASE parent WHEN '' THEN :parent ELSE parent END, root = max(root, :root),
    op = CASE :source WHEN 1 THEN :op ELSE op END, name = CASE :source WHEN 1 THEN :name ELSE name END,
    kind = CASE kind WHEN '' THEN :kind ELSE kind END, failed = max(failed, :failed),
    user = CASE user WHEN '' THEN :user ELSE user END, source = source | :source, data = json_patch(data, :data),
    events = CASE events WHEN '[]' THEN :events ELSE events END
WHERE trace = :trace AND span = :span
"""
_INSERT_ROOT = f"INSERT INTO roots VALUES (NULL{', ?' * 11})"
_ADD_DURATIONS = """
INSERT INTO durations VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET histogram = joined(histogram, excluded.histogram)
"""
_INSERT_ISSUE = """
INSERT INTO issues (key, title, culprit, level, first_seen, last_seen, first_release, total)
VALUES (:group, :title, :culprit, :level, :at, :at, :release, 1)
ON CONFLICT (key) DO UPDATE SET
    title = excluded.title, level = excluded.level, total = total + 1,
    culprit = CASE excluded.culprit WHEN '' THEN culprit ELSE excluded.culprit END,
    first_release = CASE WHEN excluded.first_seen < first_seen THEN excluded.first_release ELSE first_release END,
    first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen),
    state = CASE WHEN state = 'resolved' AND excluded.last_seen > changed_at THEN 'back' ELSE state END
RETURNING id
"""
_INSERT_ERROR = f"INSERT INTO errors VALUES (NULL{', ?' * 15})"
_INSERT_LOG = f"INSERT INTO logs VALUES (NULL{', ?' * len(Log._fields)})"
_INSERT_PROFILE = f"INSERT INTO profiles VALUES (NULL{', ?' * len(Profile._fields)})"
_ADD_SESSIONS = """
INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    exited = exited + excluded.exited, errored = errored + excluded.errored,
    crashed = crashed + excluded.crashed, abnormal = abnormal + excluded.abnormal
"""
_ADD_ORIGIN = """
INSERT INTO origins VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)
"""
_ADD_COUNT = """
INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    count = count + excluded.count, represented = represented + excluded.represented
"""


class Inserts:
    """Writes batches; remembers how many names an hour has."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int], set[str]] = {}

    def write(self, connection: sqlite3.Connection, batch: Batch, now: float) -> None:
        """Write one batch; the caller has begun the transaction."""
        self._add_spans(connection, batch.spans)
        for error in batch.errors:
            _add_error(connection, error)
        connection.executemany(_INSERT_LOG, batch.logs)
        connection.executemany(_INSERT_PROFILE, [(*each[:-1], packed(each.body)) for each in batch.profiles])
        _add_sessions(connection, batch.sessions)
        _add_origins(connection, batch)
        add_counts(connection, batch, now)

    def _add_spans(self, connection: sqlite3.Connection, spans: Sequence[Span]) -> None:
        known = _known_spans(connection, sorted({each.trace for each in spans}))
        new: list[Span] = []
        merged: list[Span] = []
        roots: list[Span] = []
        for each in spans:
            key = (each.trace, each.span)
            was_root = known.get(key)
            (new if was_root is None else merged).append(each)
            if each.root and not was_root:
                roots.append(each)
            known[key] = bool(was_root or each.root)
        connection.executemany(_INSERT_SPAN, new)
        for each in merged:
            connection.execute(_MERGE_SPAN, each._asdict())
        connection.executemany(_INSERT_ROOT, map(_root, roots))
        self._add_durations(connection, new, roots)

    def _add_durations(self, connection: sqlite3.Connection, new: Iterable[Span], roots: Iterable[Span]) -> None:
        counts: dict[tuple[Any, ...], Counter[int]] = defaultdict(Counter)
        rows = [("route", each.name, each) for each in roots]
        rows += [(each.kind, operation_of(each.name), each) for each in new if each.kind]
        for kind, name, each in rows:
            second = each.start // SECOND
            name = self._bounded(kind, second // 3_600, name)
            origin = (each.service, each.environment, each.release)
            for step in STEPS:
                slot = second - second % step
                counts[step, kind, slot, name, *origin][key_of(each.duration, each.failed)] += 1
        connection.executemany(_ADD_DURATIONS, [(*key, histogram(each)) for key, each in counts.items()])

    def _bounded(self, kind: str, hour: int, name: str) -> str:
        names = self._names.get((kind, hour))
        if names is None:
            if len(self._names) >= 100:
                self._names.clear()
            names = self._names[kind, hour] = set()
        if name not in names:
            if len(names) >= MAX_NAMES:
                return OTHER
            names.add(name)
        return name


@lru_cache(4_096)
def operation_of(name: str) -> str:
    """A statement or an address without what varies."""
    return template_of(name.partition("?")[0] if name[:8].find(" ") > 0 and "://" in name else name)[:300]


def _known_spans(connection: sqlite3.Connection, traces: Sequence[str]) -> dict[tuple[str, str], bool]:
    known: dict[tuple[str, str], bool] = {}
    for place in range(0, len(traces), 500):
        part = traces[place : place + 500]
        query = f"SELECT trace, span, root FROM spans WHERE trace IN ({', '.join('?' * len(part))})"
        known.update({(trace, span): bool(root) for trace, span, root in connection.execute(query, part)})
    return known


def _root(span: Span) -> tuple[Any, ...]:
    place = (span.trace, span.span, span.start, span.duration, span.service, span.environment, span.release)
    return (*place, span.name, span.op, span.failed, span.user)


def _add_error(connection: sqlite3.Connection, error: Error) -> None:
    source = error.source
    if connection.execute("SELECT 1 FROM errors WHERE event_id = ?", (error.event_id,)).fetchone():
        return
    if error.twin:
        query = "SELECT id, issue, source FROM errors WHERE twin = ? ORDER BY source DESC LIMIT 1"
        twin = connection.execute(query, (error.twin,)).fetchone()
        if twin and source == OTLP:
            connection.execute("UPDATE errors SET source = source | ? WHERE id = ?", (OTLP, twin[0]))
            return
        if twin and twin[2] == OTLP:  # Sentry's event says more
            source = SENTRY | OTLP
            _remove(connection, twin[0], twin[1])
    row = error._asdict()
    (issue,) = connection.execute(_INSERT_ISSUE, {**row, "body": None}).fetchone()
    body = packed(error.body)
    place = (error.trace, error.span, error.service, error.environment, error.release, error.level, error.user)
    values = (error.event_id, issue, error.at, *place, error.title, error.culprit, error.twin, source, body)
    connection.execute(_INSERT_ERROR, values)


def packed(body: object) -> bytes:
    """JSON, compressed."""
    return zlib.compress(json.dumps(body, default=str).encode("utf-8", "replace"), 1)


def unpacked(body: bytes) -> Json:
    """An event as it was received."""
    value = json.loads(zlib.decompress(body))
    return value if isinstance(value, dict) else {}


def _remove(connection: sqlite3.Connection, error: int, issue: int) -> None:
    connection.execute("DELETE FROM errors WHERE id = ?", (error,))
    connection.execute("UPDATE issues SET total = total - 1 WHERE id = ?", (issue,))
    connection.execute("DELETE FROM issues WHERE id = ? AND total = 0", (issue,))


def _add_sessions(connection: sqlite3.Connection, sessions: Iterable[Sessions]) -> None:
    rows = []
    for each in sessions:
        second = each.at // SECOND
        rows.append((second - second % 60, *each[1:]))
    connection.executemany(_ADD_SESSIONS, rows)


def _add_origins(connection: sqlite3.Connection, batch: Batch) -> None:
    times: dict[tuple[str, str, str], tuple[int, int]] = {}
    rows: list[tuple[Span | Error | Log, int]] = [(each, each.start) for each in batch.spans]
    rows += [(each, each.at) for each in batch.errors]
    rows += [(each, each.at) for each in batch.logs]
    for row, at in rows:
        key = (row.environment, row.release, row.service)
        first, last = times.get(key, (at, at))
        times[key] = (min(first, at), max(last, at))
    connection.executemany(_ADD_ORIGIN, [(*key, *time) for key, time in times.items()])


def add_counts(connection: sqlite3.Connection, batch: Batch, now: float) -> None:
    """Add what the batch counted to today's counts."""
    day = int(now) // DAY
    rows: list[tuple[Any, ...]] = []
    kinds = connection.execute("SELECT count(*) FROM counts WHERE day = ?", (day,)).fetchone()[0]
    for key, count in batch.counts.items():
        is_transactions = key.category == "transaction" and key.outcome == "accepted"
        if kinds + len(rows) >= MAX_KINDS and key.by == "client":  # its words are the client's
            key = key._replace(category="other", reason=OTHER)
        rows.append((day, *key, count, batch.represented if is_transactions else 0.0))
    connection.executemany(_ADD_COUNT, rows)
