"""Routes and operations: how often, how long, how many failed. All is read from the histograms."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.durations import Histogram, distribution, lanes_of, percentile
from brain_otel.viewer.store.queries.filters import Filters, rows

MAX_NAMES = 200
POINTS = 60
"""Points of a curve over the period."""

REPEATS = 5
"""Equal statements of one parent that count as repeated."""

STATEMENTS = 20_000
"""The latest spans in which repeated statements are looked for."""

OPERATIONS = ("db", "http", "cache")


def seconds_of(filters: Filters) -> float:
    """The length of the period; clocks of senders may be an hour ahead of it."""
    return (filters.until - filters.since) / 1e6 - 3_600


def list_routes(connection: sqlite3.Connection, filters: Filters, threshold: int, *, sort: str = "total") -> Json:
    """All routes with their figures, the whole with its curve, the operations, and repeated statements."""
    found: dict[tuple[Any, ...], Histogram] = defaultdict(Histogram)
    parts: dict[int, Histogram] = defaultdict(Histogram)
    for (slot, *key), lanes in _slots(connection, filters, "route", ("name", "service")):
        found[tuple(key)].add(lanes)
        parts[slot].add(lanes)
    whole = Histogram()
    whole.add_all(parts.values())
    seconds = seconds_of(filters)
    routes = [
        {"route": name, "service": service, **histogram.figures(seconds, threshold)}
        for (name, service), histogram in found.items()
    ]
    routes.sort(key=lambda each: (each[sort] or 0, each["route"]), reverse=sort != "apdex")
    return {
        "whole": whole.figures(seconds, threshold),
        "curve": _curve(filters, parts),
        "routes": routes[:MAX_NAMES],
        "more": len(routes) > MAX_NAMES,
        "operations": _operations(connection, filters, threshold),
        "repeated": _repeated(connection, filters),
    }


def read_route(connection: sqlite3.Connection, filters: Filters, threshold: int, *, route: str, service: str) -> Json:
    """One route: its figures, distribution, curve and slowest traces."""
    filters = filters._replace(service=service)
    histogram = Histogram()
    parts: dict[int, Histogram] = defaultdict(Histogram)
    for (slot,), lanes in _slots(connection, filters, "route", (), route):
        histogram.add(lanes)
        parts[slot].add(lanes)
    where, values = filters.where("start")
    query = f"SELECT * FROM roots WHERE route = :route AND {where} ORDER BY duration DESC LIMIT 20"
    return {
        "route": route,
        "service": service,
        "figures": histogram.figures(seconds_of(filters), threshold),
        "distribution": distribution(histogram.split()[0]),
        "curve": _curve(filters, parts),
        "slowest": rows(connection, query, {**values, "route": route}),
    }


def _slots(
    connection: sqlite3.Connection, filters: Filters, kind: str, by: tuple[str, ...], name: str = ""
) -> Iterator[tuple[tuple[Any, ...], int]]:
    """The slot, the columns ``by`` and the lanes of each stored histogram."""
    where, values, _ = filters.slots()
    columns = ", ".join(["slot", *by])
    only = " AND name = :name" if name else ""
    query = f"SELECT {columns}, histogram FROM durations WHERE kind = :kind AND {where}{only}"
    for *key, histogram in connection.execute(query, {**values, "kind": kind, "name": name}):
        yield tuple(key), lanes_of(histogram)


def _histograms(
    connection: sqlite3.Connection, filters: Filters, kind: str, by: tuple[str, ...]
) -> Mapping[tuple[Any, ...], Histogram]:
    """The whole period's histograms by the columns ``by``."""
    found: dict[tuple[Any, ...], Histogram] = defaultdict(Histogram)
    for (_, *key), lanes in _slots(connection, filters, kind, by):
        found[tuple(key)].add(lanes)
    return found


def _curve(filters: Filters, slots: Mapping[int, Histogram]) -> list[Json]:
    """Equal parts of the period: requests, failures and percentiles of each."""
    _, values, step = filters.slots()
    seconds = seconds_of(filters)
    width = max(step, -(-int(seconds) // POINTS) // step * step)
    first = values["first"]
    parts: dict[int, Histogram] = defaultdict(Histogram)
    for slot, histogram in slots.items():
        parts[(slot - first) // width].add_all([histogram])
    last = max([int(seconds) // width, *parts])
    return [_point(first + number * width, width, parts.get(number)) for number in range(last + 1)]


def _point(at: int, width: int, histogram: Histogram | None) -> Json:
    buckets, failed = (histogram or Histogram()).split()
    return {
        "at": at * 1_000_000,
        "seconds": width,
        "count": sum(buckets.values()),
        "failed": sum(failed.values()),
        "p50": percentile(buckets, 0.5),
        "p95": percentile(buckets, 0.95),
        "p99": percentile(buckets, 0.99),
    }


def _operations(connection: sqlite3.Connection, filters: Filters, threshold: int) -> list[Json]:
    seconds = seconds_of(filters)
    found = [
        {"kind": kind, "name": name, "service": service, **histogram.figures(seconds, threshold)}
        for kind in OPERATIONS
        for (name, service), histogram in _histograms(connection, filters, kind, ("name", "service")).items()
    ]
    return sorted(found, key=lambda each: -each["total"])[:50]


def _repeated(connection: sqlite3.Connection, filters: Filters) -> list[Json]:
    """Statements that one parent made at least :data:`REPEATS` times, among the latest ones."""
    where, values = filters.where("start")
    query = f"""
        SELECT name, service, count(*) AS traces, max(n) AS most, sum(duration) AS total, max(trace) AS example FROM (
            SELECT trace, parent, name, service, count(*) AS n, sum(duration) AS duration FROM (
                SELECT trace, parent, name, service, duration FROM spans
                WHERE id > (SELECT max(id) - 100000 FROM spans) AND kind = 'db' AND {where}
                ORDER BY id DESC LIMIT {STATEMENTS}
            ) GROUP BY trace, parent, name, service HAVING n >= {REPEATS}
        ) GROUP BY name, service ORDER BY total DESC LIMIT 20"""
    return rows(connection, query, values)


def figures_by(connection: sqlite3.Connection, filters: Filters, threshold: int, column: str) -> dict[str, Json]:
    """The figures of all requests, for each value of ``column``."""
    found = _histograms(connection, filters, "route", (column,))
    return {key[0]: histogram.figures(seconds_of(filters), threshold) for key, histogram in found.items()}
