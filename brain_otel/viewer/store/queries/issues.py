"""The list of issues, and one issue with its events."""

import sqlite3
from collections import Counter

from brain_otel.viewer.event_details import details_of, tags_of
from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.inserts import unpacked
from brain_otel.viewer.store.queries.filters import Filters, Query, newest_release, rows
from brain_otel.viewer.store.queries.traces import read_trace

SORTS = {"events": "events DESC", "users": "users DESC", "first": "first_seen DESC", "last": "last_seen DESC"}
STATES = {
    "open": "state IN ('open', 'back')",
    "back": "state = 'back'",
    "resolved": "state = 'resolved'",
    "ignored": "state = 'ignored'",
    "all": "1",
}
MAX_ISSUES = 100
BARS = 24
BESIDE = 60
"""Spans of a trace that stand beside an error."""

SAMPLE = 100
"""Events of which an issue's tags are counted."""


def list_issues(query: Query) -> Json:
    """The issues with an event in the period, with how often, for whom and since when."""
    sort, state = query.choice("sort", SORTS, "last"), query.choice("state", STATES, "open")
    text, new, connection, filters = query.text("q"), bool(query.text("new")), query.connection, query.filters
    where, values = filters.where("at", "e.")
    release = filters.release or newest_release(connection)
    conditions = [STATES[state], "(:text = '' OR instr(lower(title || ' ' || culprit), lower(:text)) > 0)"]
    if new:
        conditions.append("first_release = :newest")
    statement = f"""
        SELECT i.id, i.title, i.culprit, i.level, i.state, i.first_release, i.total, i.first_seen, i.last_seen,
               n.events, n.users, i.first_release <> '' AND i.first_release = :newest AS is_new
        FROM (SELECT e.issue, count(*) AS events, count(DISTINCT nullif(e.user, '')) AS users
              FROM errors e WHERE {where} GROUP BY e.issue) n JOIN issues i ON i.id = n.issue
        WHERE {" AND ".join(conditions)} ORDER BY {SORTS[sort]}, i.id DESC LIMIT {MAX_ISSUES + 1}"""
    found = rows(connection, statement, {**values, "newest": release, "text": text})
    issues = found[:MAX_ISSUES]
    trends = _trends(connection, filters, [each["id"] for each in issues])
    for each in issues:
        each["trend"] = trends.get(each["id"], [0] * BARS)
        each["is_new"] = bool(each["is_new"])
    shown = {"issues": issues, "more": len(found) > MAX_ISSUES, "newest_release": release}
    return {**shown, "sort": sort, "state": state, "q": text, "new": new}


def _trends(connection: sqlite3.Connection, filters: Filters, issues: list[int]) -> dict[int, list[int]]:
    """The events of each issue in equal parts of the period; each part is a range of the index."""
    last = filters.until - 3_600_000_000  # the hour that clocks may be ahead
    width = max(1, (last - filters.since) // BARS)
    edges = [filters.since + bar * width for bar in range(BARS)] + [filters.until + 1]
    query = f"""
        WITH wanted (id) AS (VALUES {", ".join(f"({each})" for each in issues)}),
             bars (bar, low, high) AS (VALUES {", ".join(f"{bar, *edges[bar : bar + 2]}" for bar in range(BARS))})
        SELECT id, bar, (SELECT count(*) FROM errors INDEXED BY errors_by_issue
                         WHERE issue = wanted.id AND at >= low AND at < high{filters.origins()}) FROM wanted, bars"""
    trends: dict[int, list[int]] = {each: [0] * BARS for each in issues}
    for issue, bar, count in connection.execute(query, filters._asdict()) if issues else ():
        trends[issue][bar] = count
    return trends


def read_issue(query: Query) -> Json | None:
    """An issue with an event, the latest by default, and its trace; None if there is no such issue or event."""
    found = _issue_with_event(query.connection, query.place["issue"], query.text("event"))
    if found is None or found["event"] is None:
        return found
    event = found["event"]
    event["details"] = details_of(event.pop("body"))
    found["trace"] = read_trace(query.connection, event["trace"], BESIDE) if event["trace"] else None
    return found


def _issue_with_event(connection: sqlite3.Connection, issue: int, event_id: str) -> Json | None:
    row = connection.execute("SELECT * FROM issues WHERE id = ?", (issue,)).fetchone()
    if row is None:
        return None
    condition = "issue = :issue" + (" AND event_id = :event" if event_id else "")
    query = f"SELECT * FROM errors WHERE {condition} ORDER BY at DESC, id DESC LIMIT 1"
    event = connection.execute(query, {"issue": issue, "event": event_id}).fetchone()
    if event is None and event_id:
        return None
    users = connection.execute(
        "SELECT count(DISTINCT nullif(user, '')), count(*) FROM errors WHERE issue = ?", (issue,)
    ).fetchone()
    found = {**dict(row), "users": users[0], "kept": users[1], "newest_release": newest_release(connection)}
    if event is None:
        return {"issue": found, "event": None, "shares": {}, "older": None, "newer": None, "latest": []}
    place = {"issue": issue, "at": event["at"], "id": event["id"]}
    return {
        "issue": found,
        "event": {**{key: event[key] for key in event.keys() if key != "body"}, "body": unpacked(event["body"])},  # noqa: SIM118
        "shares": _shares(connection, issue),
        "older": _neighbour(connection, place, "<", "DESC"),
        "newer": _neighbour(connection, place, ">", "ASC"),
        "latest": rows(
            connection,
            "SELECT event_id, at, trace, user, release, environment, title FROM errors WHERE issue = ? "
            "ORDER BY at DESC, id DESC LIMIT 20",
            (issue,),
        ),
    }


def _neighbour(connection: sqlite3.Connection, place: Json, sign: str, order: str) -> str | None:
    row = connection.execute(
        f"SELECT event_id FROM errors WHERE issue = :issue AND (at, id) {sign} (:at, :id) "
        f"ORDER BY at {order}, id {order} LIMIT 1",
        place,
    ).fetchone()
    return row[0] if row else None


def _shares(connection: sqlite3.Connection, issue: int) -> dict[str, list[Json]]:
    """How the tags' values share the latest events."""
    counts: dict[str, Counter[str]] = {}
    query = "SELECT environment, release, service, level, body FROM errors WHERE issue = ? ORDER BY at DESC LIMIT ?"
    for *origin, body in connection.execute(query, (issue, SAMPLE)):
        pairs = dict(zip(("environment", "release", "service", "level"), origin, strict=True))
        for key, value in {**pairs, **tags_of(unpacked(body))}.items():
            if value != "":
                counts.setdefault(key, Counter())[value] += 1
    return {
        key: [
            {"value": value, "count": count, "share": count / values.total()}
            for value, count in values.most_common(5)
        ]
        for key, values in sorted(counts.items())[:40]
    }


def change_state(connection: sqlite3.Connection, issue: int, state: str, at: int) -> None:
    """Mark an issue ``open``, ``resolved`` or ``ignored``."""
    connection.execute("UPDATE issues SET state = ?, changed_at = ? WHERE id = ?", (state, at, issue))
