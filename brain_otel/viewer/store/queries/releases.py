"""Releases side by side."""

import re
import sqlite3

from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.filters import Filters, Query, rows
from brain_otel.viewer.store.queries.performance import figures_by

MAX_RELEASES = 50
_COMMIT = re.compile(r"(?:^|[^0-9a-f])([0-9a-f]{7,40})$")


def list_releases(query: Query) -> Json:
    """Each release that was seen in the period, the newest first, with its figures."""
    connection, filters = query.connection, query.filters
    statement = f"""
        SELECT release, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
               group_concat(DISTINCT service) AS services FROM origins
        WHERE release <> ''{filters.origins()}
        GROUP BY release HAVING max(last_seen) >= :since ORDER BY 2 DESC LIMIT {MAX_RELEASES}"""
    figures = figures_by(query, "release")
    errors = _errors(connection, filters)
    new = dict(connection.execute("SELECT first_release, count(*) FROM issues GROUP BY 1").fetchall())
    sessions = _sessions(connection, filters)
    return {
        "releases": [
            {
                **each,
                "commit": commit_of(each["release"]),
                "requests": figures.get(each["release"]),
                "errors": errors.get(each["release"], 0),
                "new_issues": new.get(each["release"], 0),
                **_health(sessions.get(each["release"])),
            }
            for each in rows(connection, statement, filters._asdict())
        ]
    }


def commit_of(release: str) -> str:
    """The commit that the release names, or empty."""
    found = _COMMIT.search(release.lower())
    return found[1] if found else ""


def _errors(connection: sqlite3.Connection, filters: Filters) -> dict[str, int]:
    where, values = filters.where("at")
    query = f"SELECT release, count(*) FROM errors WHERE level IN ('error', 'fatal') AND {where} GROUP BY 1"
    return dict(connection.execute(query, values).fetchall())


def _sessions(connection: sqlite3.Connection, filters: Filters) -> dict[str, tuple[int, int]]:
    """For each release, all sessions and the crashed ones; they name no service."""
    condition = " AND environment = :environment" * bool(filters.environment)
    query = f"""
        SELECT release, sum(exited + errored + crashed + abnormal), sum(crashed) FROM sessions
        WHERE slot >= :since / 1000000 - 60 AND slot <= :until / 1000000{condition} GROUP BY 1"""
    return {name: (count, crashed) for name, count, crashed in connection.execute(query, filters._asdict())}


def _health(sessions: tuple[int, int] | None) -> Json:
    count, crashed = sessions or (0, 0)
    return {"sessions": count, "crash_free": 1 - crashed / count if count else None}
