"""Keeps the file below its bound: the oldest tenth of everything goes when it is nearly full."""

import sqlite3

SHARE = 0.9
"""The part of the bound at which the oldest goes."""

_TABLES = ("spans", "roots", "errors", "logs", "profiles")


def used_share(connection: sqlite3.Connection) -> float:
    """How full the file is; free pages inside it do not count."""
    pages, free, most = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "max_page_count")
    )
    return float((pages - free) / most)


def remove_oldest(connection: sqlite3.Connection) -> None:
    """Delete the oldest tenth, in a transaction of its own, and give the pages back."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            connection.execute(
                f"DELETE FROM {table} WHERE id <= (SELECT min(id) + (max(id) - min(id)) / 10 FROM {table})"
            )
        for table in ("durations", "sessions"):
            connection.execute(
                f"DELETE FROM {table} WHERE slot < (SELECT min(slot) + (max(slot) - min(slot)) / 10 FROM {table})"
            )
        connection.execute("DELETE FROM counts WHERE day < (SELECT max(day) FROM counts) - 90")
        connection.execute(
            "DELETE FROM issues WHERE state IN ('open', 'back') AND NOT EXISTS "
            "(SELECT 1 FROM errors WHERE errors.issue = issues.id)"
        )
        _bound(connection, "issues", "last_seen", 50_000)
        _bound(connection, "origins", "last_seen", 5_000)
    connection.execute("PRAGMA incremental_vacuum").fetchall()


def _bound(connection: sqlite3.Connection, table: str, column: str, most: int) -> None:
    connection.execute(
        f"DELETE FROM {table} WHERE {column} < "
        f"(SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET {most})"
    )
