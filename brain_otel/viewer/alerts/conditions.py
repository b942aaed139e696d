"""Finds the alerts that start and the open ones that end, for each kind of rule."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from brain_otel.viewer.alerts.rules import CameBack, ErrorRate, Feedback, NewError, Rule, SlowRoute
from brain_otel.viewer.alerts.state import Alert, Look, Occasion, Watched, was_said
from brain_otel.viewer.rows import FEEDBACK_EVENT
from brain_otel.viewer.store.durations import Histogram, lanes_of, percentile
from brain_otel.viewer.store.inserts import OTHER

MINUTE = 60_000_000
DAY = 86_400_000_000
MOST = 100
"""Alerts that one look at a rule may start."""

RELEASE_DAYS = 7
"""Days over which the release before is looked at."""

_ROWS = 50_000
"""Log lines that one look goes through; the next one goes on from there."""


class Question(NamedTuple):
    """A rule, what is remembered of it, and the store."""

    connection: sqlite3.Connection
    rule: Rule
    watched: Watched
    open: Mapping[str, Alert]
    now: int
    """Microseconds since 1970."""

    def is_new(self, key: str) -> bool:
        """Whether there never was such an alert."""
        return key not in self.open and not was_said(self.connection, self.rule.name, key)


def look(question: Question) -> Look:
    """Look at the data once."""
    return _LOOKS[question.rule.kind](question)


def first_mark(connection: sqlite3.Connection) -> int:
    """Where a new rule begins: what was there before it is not said."""
    return int(connection.execute("SELECT ifnull(max(id), 0) FROM logs").fetchone()[0])


def _labels(condition: Any, **more: str) -> dict[str, str]:
    given = {name: getattr(condition, name, "") for name in ("environment", "service", "route")}
    return {name: value for name, value in {**given, **more}.items() if value}


def _origins(condition: Any, route: str) -> tuple[str, dict[str, str]]:
    """The conditions of the rule's filters; ``route`` is the column with the route, or empty."""
    columns = {"environment": "environment", "service": "service", "route": route}
    given = {name: getattr(condition, name, "") for name, column in columns.items() if column}
    parts = [f" AND {columns[name]} = :{name}" for name, value in given.items() if value]
    return "".join(parts), given


def _error_rate(question: Question) -> Look:
    rule: ErrorRate = question.rule.condition
    where, values = _origins(rule, "name")
    first = (question.now - rule.minutes * MINUTE) // MINUTE * 60
    query = f"SELECT histogram FROM durations WHERE step = 60 AND kind = 'route' AND slot >= :first{where}"
    durations = Histogram()
    for (histogram,) in question.connection.execute(query, {**values, "first": first}):
        durations.add(lanes_of(histogram))
    count, failed = (sum(each.values()) for each in durations.split())
    rate = failed / count if count else 0.0
    if question.open:
        is_over = count == 0 or rate <= rule.above
        return Look([], list(question.open) if is_over else [])
    if count < rule.at_least or rate <= rule.above:
        return Look([], [])
    title = f"{failed:,} of {count:,} requests failed in {rule.minutes} min: {rate:.1%}, above {rule.above:.1%}"
    path = "/performance?" + urlencode({"period": "1h", **_page_filters(_labels(rule))})
    return Look([Occasion("", title, path, _labels(rule), rate, rule.above)], [])


def _page_filters(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name in ("environment", "service")}


def _new_error(question: Question) -> Look:
    rule: NewError = question.rule.condition
    first = max(question.watched.since, question.now - DAY)
    started = _issues(question, "first_seen >= :first AND state IN ('open', 'back')", first, "", "is new")
    return Look(started, _quiet_issues(question, "state IN ('open', 'back')", rule.quiet))


def _came_back(question: Question) -> Look:
    rule: CameBack = question.rule.condition
    first = max(question.watched.since, question.now - DAY)
    is_back = "state = 'back' AND last_seen >= :first"
    started = _issues(question, is_back, first, " AND e.at > i.changed_at", "came back")
    return Look(started, _quiet_issues(question, "state = 'back'", rule.quiet))


def _issues(question: Question, condition: str, first: int, event: str, what: str) -> list[Occasion]:
    where, values = _origins(question.rule.condition, "culprit")
    query = f"""
        SELECT id, key, title, culprit, changed_at, first_seen FROM issues i
        WHERE {condition} AND level IN ('error', 'fatal') AND EXISTS (
            SELECT 1 FROM errors e WHERE e.issue = i.id{event}{where}) ORDER BY last_seen DESC"""
    found: list[Occasion] = []
    for row in question.connection.execute(query, {**values, "first": first}):
        key = f"{row['key']}@{row['changed_at'] if event else row['first_seen']}"
        if len(found) < MOST and question.is_new(key):
            labels = _labels(question.rule.condition, culprit=row["culprit"])
            found.append(Occasion(key, f"{row['title']} {what}", f"/issues/{row['id']}", labels))
    return found


def _quiet_issues(question: Question, condition: str, quiet: int) -> list[str]:
    """Open alerts whose issue is gone, in another state, or without an event for ``quiet`` minutes."""
    ended = []
    for key, alert in question.open.items():
        query = f"SELECT last_seen FROM issues WHERE key = ? AND {condition}"
        row = question.connection.execute(query, (key.partition("@")[0],)).fetchone()
        if row is None or row[0] < question.now - quiet * MINUTE:
            ended.append(alert.key)
    return ended


def _slow_route(question: Question) -> Look:
    rule: SlowRoute = question.rule.condition
    current = _buckets(question, 60, question.now - rule.minutes * MINUTE, question.now + DAY)
    if rule.against == "hour":
        until = question.now - rule.minutes * MINUTE
        current = _without_release(current)
        hour = _without_release(_buckets(question, 60, until - 60 * MINUTE, until))
        pairs = {key: (buckets, hour.get(key, {})) for key, buckets in current.items()}
    else:
        pairs = _by_release(question, current)
    started = []
    for (name, service, release), (now, before) in pairs.items():
        key = json.dumps([service, name, release])
        if key in question.open or min(sum(now.values()), sum(before.values())) < rule.at_least:
            continue
        p95, bound = percentile(now, 0.95) or 0.0, (percentile(before, 0.95) or 0.0) * rule.times
        if p95 > max(bound, rule.above_ms * 1_000):
            started.append(_slow(rule, (name, service, release), p95, bound))
    return Look(started[:MOST], _fast_again(question, pairs))


_Buckets = dict[tuple[str, str, str], dict[int, int]]


def _buckets(question: Question, step: int, since: int, until: int) -> _Buckets:
    where, values = _origins(question.rule.condition, "name")
    query = f"""
        SELECT name, service, release, histogram FROM durations
        WHERE step = {step} AND kind = 'route' AND slot >= :first AND slot < :last AND name <> :other{where}"""
    slots = {"first": since // MINUTE * 60, "last": until // MINUTE * 60, "other": OTHER}
    found: dict[tuple[str, str, str], Histogram] = defaultdict(Histogram)
    for *key, histogram in question.connection.execute(query, {**values, **slots}):
        found[tuple(key)].add(lanes_of(histogram))
    return {key: histogram.split()[0] for key, histogram in found.items()}


def _without_release(found: _Buckets) -> _Buckets:
    joined: _Buckets = defaultdict(lambda: defaultdict(int))
    for (name, service, _), buckets in found.items():
        for bucket, count in buckets.items():
            joined[name, service, ""][bucket] += count
    return joined


def _by_release(question: Question, current: _Buckets) -> dict[Any, tuple[dict[int, int], dict[int, int]]]:
    """The newest release of each service with the one before it."""
    where, values = _origins(question.rule.condition, "")
    query = f"SELECT service, release FROM origins WHERE release <> ''{where} GROUP BY 1, 2 ORDER BY min(first_seen)"
    releases: dict[str, list[str]] = defaultdict(list)
    for service, release in question.connection.execute(query, values):
        releases[service].append(release)
    before = _buckets(question, 3_600, question.now - RELEASE_DAYS * DAY, question.now + DAY)
    return {
        (name, service, release): (buckets, before.get((name, service, releases[service][-2]), {}))
        for (name, service, release), buckets in current.items()
        if len(releases[service]) > 1 and release == releases[service][-1]
    }


def _slow(rule: SlowRoute, place: tuple[str, str, str], p95: float, bound: float) -> Occasion:
    name, service, release = place
    labels = _labels(rule, service=service, route=name, release=release)
    base = "the release before" if release else "the hour before"
    title = f"{name}: p95 is {p95 / 1_000:.0f} ms, above {rule.times:g} times that of {base} ({bound / 1_000:.0f} ms)"
    page = {"route": name, "service": service, "release": release, "period": "6h"}
    path = "/performance/route?" + urlencode({key: value for key, value in page.items() if value})
    return Occasion(json.dumps([service, name, release]), title, path, labels, p95 / 1_000, bound / 1_000)


def _fast_again(question: Question, pairs: Mapping[Any, tuple[dict[int, int], Any]]) -> list[str]:
    """Open alerts whose route has no requests, or a p95 that is not above the bound of their start."""
    rule: SlowRoute = question.rule.condition
    ended = []
    for key, alert in question.open.items():
        service, name, release = json.loads(key)
        p95 = percentile(pairs.get((name, service, release), ({}, {}))[0], 0.95) or 0.0
        if p95 / 1_000 <= max(alert.data["bound"], rule.above_ms):
            ended.append(key)
    return ended


def _feedback(question: Question) -> Look:
    rule: Feedback = question.rule.condition
    last = first_mark(question.connection)
    mark = min(question.watched.mark, last)  # an emptied table begins at 1 again
    where, values = _origins(rule, "")
    query = f"""
        SELECT id, service, environment, message, trace, at, json_extract(data, '$."{FEEDBACK_EVENT}"') AS feedback
        FROM logs WHERE id > :mark AND id <= :last AND instr(data, '"{FEEDBACK_EVENT}"') > 0{where}"""
    last = min(last, mark + _ROWS)
    found: list[Occasion] = []
    for row in question.connection.execute(query, {**values, "mark": mark, "last": last}):
        key = str(row["feedback"] or row["id"])
        if question.is_new(key) and key not in [each.key for each in found]:
            labels = _labels(rule, service=row["service"], environment=row["environment"])
            path = "/logs?" + urlencode({"q": row["message"][:100]})
            found.append(Occasion(key, f"Feedback: {row['message'][:1_000]}", path, labels))
    query = "SELECT key FROM alerts WHERE rule = ? AND ended_at IS NULL AND started_at < ?"
    quiet = question.connection.execute(query, (question.rule.name, question.now - rule.quiet * MINUTE))
    return Look(found, [key for (key,) in quiet], last)


_LOOKS: Mapping[str, Callable[[Question], Look]] = {
    "error_rate": _error_rate,
    "new_error": _new_error,
    "came_back": _came_back,
    "slow_route": _slow_route,
    "feedback": _feedback,
}
