"""What a browser asks for: a period and origins, which narrow all screens, and parameters of one screen."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from brain_otel.viewer.rows import Json

PERIODS = {"15m": 900, "1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000, "90d": 7_776_000}
"""Seconds of the periods that a screen offers."""

DEFAULT_PERIOD = "24h"
ORIGINS = ("environment", "release", "service")


class FilterError(Exception):
    """A parameter of the address is wrong; the message says what is allowed."""


class Filters(NamedTuple):
    """The chosen period and origins; empty means all. Times are microseconds since 1970."""

    period: str
    since: int
    until: int
    environment: str = ""
    release: str = ""
    service: str = ""

    def kept(self) -> dict[str, str]:
        """The parameters that a link to another screen keeps."""
        period = self.period if self.period != DEFAULT_PERIOD else ""
        return {"period": period, **{name: getattr(self, name) for name in ORIGINS}}

    def where(self, column: str, prefix: str = "") -> tuple[str, dict[str, Any]]:
        """The condition for a table with the time ``column``, and its parameters."""
        times = f"{prefix}{column} >= :since AND {prefix}{column} <= :until"
        return times + self.origins(prefix), self._asdict()

    def origins(self, prefix: str = "") -> str:
        """The conditions for the chosen origins, each after an ``AND``."""
        return where_given({f"{prefix}{name} = :{name}": getattr(self, name) for name in ORIGINS})

    def slots(self) -> tuple[str, dict[str, Any], int]:
        """The condition for durations, its parameters, and the seconds of a slot."""
        step = 60 if self.until - self.since <= 43_200_000_000 else 3_600
        first = self.since // 1_000_000
        slots = {"step": step, "first": first - first % step, "last": self.until // 1_000_000}
        condition = "step = :step AND slot >= :first AND slot <= :last" + self.origins()
        return condition, {**self._asdict(), **slots}, step


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a browser asked for."""

    connection: sqlite3.Connection
    filters: Filters
    parameters: Mapping[str, str]
    place: Mapping[str, Any]
    """What the address itself names."""
    apdex: int
    """Apdex's threshold in microseconds."""

    def choice(self, name: str, allowed: Mapping[str, Any] | tuple[str, ...], default: str) -> str:
        """The parameter ``name``, which is one of ``allowed``.

        Raises:
            FilterError: it is not.
        """
        value = self.parameters.get(name, default)
        if value not in allowed:
            raise FilterError(f"{name} is {value!r:.50}; allowed: {', '.join(filter(None, allowed))}")
        return value

    def text(self, name: str) -> str:
        """The parameter ``name``, as free text."""
        return self.parameters.get(name, "").strip()[:1_000]

    def number(self, name: str) -> float:
        """The parameter ``name``, 0 by default.

        Raises:
            FilterError: it is no number from 0 to 10^12.
        """
        text = self.parameters.get(name) or "0"
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1e12:
            raise FilterError(f"{name} is {text!r:.50}; allowed: a number from 0 to 10^12")
        return value


def read_filters(parameters: Mapping[str, str], now: float) -> Filters:
    """The filters that an address names.

    Raises:
        FilterError: the period is none of :data:`PERIODS`.
    """
    period = parameters.get("period") or DEFAULT_PERIOD
    if period not in PERIODS:
        raise FilterError(f"period is {period!r:.50}; allowed: {', '.join(PERIODS)}")
    until = int(now * 1e6)
    origins = {name: parameters.get(name, "")[:200] for name in ORIGINS}
    return Filters(period, until - PERIODS[period] * 1_000_000, until + 3_600_000_000, **origins)


def choices(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The environments, releases and services that were seen, the latest first."""
    query = "SELECT {0} FROM origins WHERE {0} <> '' GROUP BY 1 ORDER BY max(last_seen) DESC LIMIT 50"
    return {name: [found for (found,) in connection.execute(query.format(name))] for name in ORIGINS}


def newest_release(connection: sqlite3.Connection) -> str:
    """The release that was seen first most recently; empty without one."""
    query = "SELECT release FROM origins WHERE release <> '' GROUP BY 1 ORDER BY min(first_seen) DESC LIMIT 1"
    row = connection.execute(query).fetchone()
    return row[0] if row else ""


def rows(connection: sqlite3.Connection, query: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Json]:
    """The rows that ``query`` finds, as dictionaries."""
    return [dict(row) for row in connection.execute(query, values)]


def where_given(conditions: Mapping[str, Any]) -> str:
    """The conditions whose value is not empty, each after an ``AND``."""
    return "".join(f" AND {condition}" for condition, value in conditions.items() if value)
