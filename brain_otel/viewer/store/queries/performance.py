"""Routes and operations: how often, how long, how many failed. All is read from the histograms."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from brain_otel.viewer.store.durations import apdex, distribution, percentile, value_of
from brain_otel.viewer.store.queries.filters import Filters, rows

Json = dict[str, Any]

MAX_NAMES = 200
POINTS = 60
"""Points of a curve over the period."""

REPEATS = 5
"""Equal statements of one parent that count as repeated."""

STATEMENTS = 20_000
"""The latest spans in which repeated statements are looked for."""

OPERATIONS = ("db", "http", "cache")


@dataclass
class Histogram:
    """Durations by bucket, and the failed ones among them."""

    buckets: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    failed: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, bucket: int, failed: int, count: int) -> None:
        """Count durations."""
        self.buckets[bucket] += count
        if failed:
            self.failed[bucket] += count

    def figures(self, seconds: float, threshold: int) -> Json:
        """What a screen shows; durations are microseconds, ``threshold`` is Apdex's."""
        count = sum(self.buckets.values())
        return {
            "count": count,
            "per_minute": count / seconds * 60,
            "p50": percentile(self.buckets, 0.5),
            "p95": percentile(self.buckets, 0.95),
            "p99": percentile(self.buckets, 0.99),
            "failed": sum(self.failed.values()),
            "failure_rate": sum(self.failed.values()) / count if count else None,
            "apdex": apdex(self.buckets, self.failed, threshold),
            "total": sum(value_of(bucket) * each for bucket, each in self.buckets.items()),
        }


def seconds_of(filters: Filters) -> float:
    """The length of the period; clocks of senders may be an hour ahead of it."""
    return (filters.until - filters.since) / 1e6 - 3_600


def list_routes(connection: sqlite3.Connection, filters: Filters, threshold: int, *, sort: str = "total") -> Json:
    """All routes with their figures, the whole with its curve, the operations, and repeated statements."""
    found = _histograms(connection, filters, "route", ("name", "service"))
    whole = Histogram()
    for histogram in found.values():
        for bucket, count in histogram.buckets.items():
            whole.add(bucket, 0, count)
        for bucket, count in histogram.failed.items():
            whole.failed[bucket] += count
    seconds = seconds_of(filters)
    routes = [
        {"route": name, "service": service, **histogram.figures(seconds, threshold)}
        for (name, service), histogram in found.items()
    ]
    routes.sort(key=lambda each: (each[sort] or 0, each["route"]), reverse=sort != "apdex")
    return {
        "whole": whole.figures(seconds, threshold),
        "curve": _curve(connection, filters),
        "routes": routes[:MAX_NAMES],
        "more": len(routes) > MAX_NAMES,
        "operations": _operations(connection, filters, threshold),
        "repeated": _repeated(connection, filters),
    }


def read_route(connection: sqlite3.Connection, filters: Filters, threshold: int, *, route: str, service: str) -> Json:
    """One route: its figures, distribution, curve and slowest traces."""
    filters = filters._replace(service=service)
    (histogram,) = _histograms(connection, filters, "route", (), route).values() or (Histogram(),)
    where, values = filters.where("start")
    slowest = connection.execute(
        f"SELECT * FROM roots WHERE route = :route AND {where} ORDER BY duration DESC LIMIT 20",
        {**values, "route": route},
    )
    return {
        "route": route,
        "service": service,
        "figures": histogram.figures(seconds_of(filters), threshold),
        "distribution": distribution(histogram.buckets),
        "curve": _curve(connection, filters, route),
        "slowest": rows(slowest),
    }


def _histograms(
    connection: sqlite3.Connection, filters: Filters, kind: str, by: tuple[str, ...], name: str = ""
) -> Mapping[tuple[Any, ...], Histogram]:
    where, values, _ = filters.slots()
    columns = ", ".join([*by, "bucket", "failed"])
    only = " AND name = :name" if name else ""
    query = f"SELECT {columns}, sum(count) FROM durations WHERE kind = :kind AND {where}{only}"
    found: dict[tuple[Any, ...], Histogram] = defaultdict(Histogram)
    for *key, bucket, failed, count in connection.execute(
        f"{query} GROUP BY {columns}", {**values, "kind": kind, "name": name}
    ):
        found[tuple(key)].add(bucket, failed, count)
    return found


def _curve(connection: sqlite3.Connection, filters: Filters, name: str = "") -> list[Json]:
    """Equal parts of the period: requests, failures and percentiles of each."""
    where, values, step = filters.slots()
    seconds = seconds_of(filters)
    width = max(step, -(-int(seconds) // POINTS) // step * step)
    first = values["first"]
    query = f"""
        SELECT (slot - :first) / {width} AS part, bucket, failed, sum(count) FROM durations
        WHERE kind = 'route' AND {where}{" AND name = :name" * bool(name)} GROUP BY 1, 2, 3"""
    parts: dict[int, Histogram] = defaultdict(Histogram)
    for part, bucket, failed, count in connection.execute(query, {**values, "name": name}):
        parts[part].add(bucket, failed, count)
    last = max([int(seconds) // width, *parts])
    return [_point(first + number * width, width, parts.get(number)) for number in range(last + 1)]


def _point(at: int, width: int, histogram: Histogram | None) -> Json:
    found = histogram or Histogram()
    return {
        "at": at * 1_000_000,
        "seconds": width,
        "count": sum(found.buckets.values()),
        "failed": sum(found.failed.values()),
        "p50": percentile(found.buckets, 0.5),
        "p95": percentile(found.buckets, 0.95),
        "p99": percentile(found.buckets, 0.99),
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
    return rows(connection.execute(query, values))


def figures_by(connection: sqlite3.Connection, filters: Filters, threshold: int, column: str) -> dict[str, Json]:
    """The figures of all requests, for each value of ``column``."""
    found: Iterable[tuple[tuple[Any, ...], Histogram]] = _histograms(connection, filters, "route", (column,)).items()
    return {key[0]: histogram.figures(seconds_of(filters), threshold) for key, histogram in found}
