"""Routes and operations: how often, how long, how many failed. All is read from the histograms."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.durations import Histogram, distribution, lanes_of, summary
from brain_otel.viewer.store.queries.filters import Filters, Query, rows

MAX_NAMES = 200
POINTS = 60
"""Points of a curve over the period."""

REPEATS = 5
"""Equal statements of one parent that count as repeated."""

STATEMENTS = 20_000
"""The latest spans in which repeated statements are looked for."""

OPERATIONS = ("db", "http", "cache")
SORTS = ("total", "count", "p50", "p95", "p99", "failure_rate", "apdex")


def seconds_of(filters: Filters) -> float:
    """The length of the period; clocks of senders may be an hour ahead of it."""
    return (filters.until - filters.since) / 1e6 - 3_600


def list_routes(query: Query) -> Json:
    """All routes with their figures, the whole with its curve, the operations, and repeated statements."""
    sort, threshold, seconds = query.choice("sort", SORTS, "total"), query.apdex, seconds_of(query.filters)
    found: dict[tuple[Any, ...], Histogram] = defaultdict(Histogram)
    parts: dict[int, Histogram] = defaultdict(Histogram)
    for (slot, *key), lanes in _slots(query, "route", ("name", "service")):
        found[tuple(key)].add(lanes)
        parts[slot].add(lanes)
    whole = Histogram()
    whole.add_all(parts.values())
    routes = [
        {"route": name, "service": service, **histogram.figures(seconds, threshold)}
        for (name, service), histogram in found.items()
    ]
    routes.sort(key=lambda each: (each[sort] or 0, each["route"]), reverse=sort != "apdex")
    return {
        "whole": whole.figures(seconds, threshold),
        "curve": _curve(query.filters, parts),
        "routes": routes[:MAX_NAMES],
        "more": len(routes) > MAX_NAMES,
        "operations": _operations(query),
        "repeated": _repeated(query),
        "sort": sort,
        "threshold": threshold,
    }


def read_route(query: Query) -> Json | None:
    """One route, whose name may hold slashes: its figures, distribution, curve and slowest traces."""
    route, service = query.text("route"), query.text("service")
    if not route:
        return None
    query = replace(query, filters=query.filters._replace(service=service))
    histogram = Histogram()
    parts: dict[int, Histogram] = defaultdict(Histogram)
    for (slot,), lanes in _slots(query, "route", (), route):
        histogram.add(lanes)
        parts[slot].add(lanes)
    where, values = query.filters.where("start")
    statement = f"SELECT * FROM roots WHERE route = :route AND {where} ORDER BY duration DESC LIMIT 20"
    return {
        "route": route,
        "service": service,
        "figures": histogram.figures(seconds_of(query.filters), query.apdex),
        "distribution": distribution(histogram.split()[0]),
        "curve": _curve(query.filters, parts),
        "slowest": rows(query.connection, statement, {**values, "route": route}),
        "threshold": query.apdex,
    }


def _slots(query: Query, kind: str, by: tuple[str, ...], name: str = "") -> Iterator[tuple[tuple[Any, ...], int]]:
    """The slot, the columns ``by`` and the lanes of each stored histogram."""
    where, values, _ = query.filters.slots()
    columns = ", ".join(["slot", *by])
    only = " AND name = :name" if name else ""
    statement = f"SELECT {columns}, histogram FROM durations WHERE kind = :kind AND {where}{only}"
    for *key, histogram in query.connection.execute(statement, {**values, "kind": kind, "name": name}):
        yield tuple(key), lanes_of(histogram)


def _histograms(query: Query, kind: str, by: tuple[str, ...]) -> Mapping[tuple[Any, ...], Histogram]:
    """The whole period's histograms by the columns ``by``."""
    found: dict[tuple[Any, ...], Histogram] = defaultdict(Histogram)
    for (_, *key), lanes in _slots(query, kind, by):
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
    return [
        {
            "at": (first + number * width) * 1_000_000,
            "seconds": width,
            **summary(*parts[number].split()),
        }
        for number in range(last + 1)
    ]


def _operations(query: Query) -> list[Json]:
    seconds = seconds_of(query.filters)
    found = [
        {"kind": kind, "name": name, "service": service, **histogram.figures(seconds, query.apdex)}
        for kind in OPERATIONS
        for (name, service), histogram in _histograms(query, kind, ("name", "service")).items()
    ]
    return sorted(found, key=lambda each: -each["total"])[:50]


def _repeated(query: Query) -> list[Json]:
    """Statements that one parent made at least :data:`REPEATS` times, among the latest ones."""
    where, values = query.filters.where("start")
    statement = f"""
        SELECT name, service, count(*) AS traces, max(n) AS most, sum(duration) AS total, max(trace) AS example FROM (
            SELECT trace, parent, name, service, count(*) AS n, sum(duration) AS duration FROM (
                SELECT trace, parent, name, service, duration FROM spans
                WHERE id > (SELECT max(id) - 100000 FROM spans) AND kind = 'db' AND {where}
                ORDER BY id DESC LIMIT {STATEMENTS}
            ) GROUP BY trace, parent, name, service HAVING n >= {REPEATS}
        ) GROUP BY name, service ORDER BY total DESC LIMIT 20"""
    return rows(query.connection, statement, values)


def figures_by(query: Query, column: str) -> dict[str, Json]:
    """The figures of all requests, for each value of ``column``."""
    found, seconds = _histograms(query, "route", (column,)), seconds_of(query.filters)
    return {key[0]: histogram.figures(seconds, query.apdex) for key, histogram in found.items()}
