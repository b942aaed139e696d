"""The tables of the viewer's file, and how a file is opened."""

import itertools
import operator
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from brain_otel.viewer.store.durations import joined, packed

PAGE_SIZE = 4_096

TABLES = """
CREATE TABLE spans (
    id INTEGER PRIMARY KEY, trace TEXT NOT NULL, span TEXT NOT NULL, parent TEXT NOT NULL, service TEXT NOT NULL,
    environment TEXT NOT NULL, release TEXT NOT NULL, name TEXT NOT NULL, op TEXT NOT NULL, kind TEXT NOT NULL,
    start INTEGER NOT NULL, duration INTEGER NOT NULL, failed INTEGER NOT NULL, root INTEGER NOT NULL,
    user TEXT NOT NULL, source INTEGER NOT NULL, data TEXT NOT NULL, events TEXT NOT NULL, UNIQUE (trace, span)
);
CREATE TABLE roots (
    id INTEGER PRIMARY KEY, trace TEXT NOT NULL, span TEXT NOT NULL, start INTEGER NOT NULL,
    duration INTEGER NOT NULL, service TEXT NOT NULL, environment TEXT NOT NULL, release TEXT NOT NULL,
    route TEXT NOT NULL, op TEXT NOT NULL,
    failed INTEGER NOT NULL, user TEXT NOT NULL, UNIQUE (trace, span)
);
CREATE INDEX roots_by_start ON roots (start);
CREATE INDEX roots_by_route ON roots (route, service, start);
CREATE TABLE durations (
    step INTEGER NOT NULL, slot INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, service TEXT NOT NULL,
    environment TEXT NOT NULL, release TEXT NOT NULL, bucket INTEGER NOT NULL, failed INTEGER NOT NULL,
    count INTEGER NOT NULL, PRIMARY KEY (step, kind, slot, name, service, environment, release, bucket, failed)
) WITHOUT ROWID;
CREATE TABLE issues (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, title TEXT NOT NULL, culprit TEXT NOT NULL, level TEXT NOT NULL,
    first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, first_release TEXT NOT NULL, total INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'open', changed_at INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE errors (
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, issue INTEGER NOT NULL, at INTEGER NOT NULL,
    trace TEXT NOT NULL, span TEXT NOT NULL, service TEXT NOT NULL, environment TEXT NOT NULL, release TEXT NOT NULL,
    level TEXT NOT NULL, user TEXT NOT NULL, title TEXT NOT NULL, culprit TEXT NOT NULL, twin TEXT NOT NULL,
    source INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX errors_by_issue ON errors (issue, at, user, environment, release, service);
CREATE INDEX errors_by_trace ON errors (trace);
CREATE INDEX errors_by_twin ON errors (twin);
CREATE TABLE logs (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, trace TEXT NOT NULL, span TEXT NOT NULL, service TEXT NOT NULL,
    environment TEXT NOT NULL, release TEXT NOT NULL, level TEXT NOT NULL, severity INTEGER NOT NULL,
    message TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX logs_by_trace ON logs (trace);
CREATE TABLE sessions (
    slot INTEGER NOT NULL, release TEXT NOT NULL, environment TEXT NOT NULL, exited INTEGER NOT NULL,
    errored INTEGER NOT NULL, crashed INTEGER NOT NULL, abnormal INTEGER NOT NULL,
    PRIMARY KEY (slot, release, environment)
) WITHOUT ROWID;
CREATE TABLE origins (
    environment TEXT NOT NULL, release TEXT NOT NULL, service TEXT NOT NULL, first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL, PRIMARY KEY (environment, release, service)
) WITHOUT ROWID;
CREATE TABLE counts (
    day INTEGER NOT NULL, category TEXT NOT NULL, outcome TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL,
    count INTEGER NOT NULL, represented REAL NOT NULL, PRIMARY KEY (day, category, outcome, by, reason)
) WITHOUT ROWID;
"""


PROFILES = """
CREATE TABLE profiles (
    id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, trace TEXT NOT NULL, at INTEGER NOT NULL,
    duration INTEGER NOT NULL, platform TEXT NOT NULL, environment TEXT NOT NULL, release TEXT NOT NULL,
    name TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX profiles_by_trace ON profiles (trace)
"""

DURATIONS = """
CREATE TABLE durations (
    step INTEGER NOT NULL, kind TEXT NOT NULL, slot INTEGER NOT NULL, name TEXT NOT NULL, service TEXT NOT NULL,
    environment TEXT NOT NULL, release TEXT NOT NULL, histogram BLOB NOT NULL,
    UNIQUE (step, kind, slot, name, service, environment, release)
)
"""


def _join_durations(connection: sqlite3.Connection) -> None:
    """Let a slot's durations be one histogram instead of a row for each bucket."""
    connection.execute("ALTER TABLE durations RENAME TO buckets")
    connection.execute(DURATIONS)
    order = "step, kind, slot, name, service, environment, release"
    buckets = connection.execute(f"SELECT {order}, 2 * bucket + failed, count FROM buckets ORDER BY {order}")
    slots = itertools.groupby(buckets, operator.itemgetter(slice(7)))
    connection.executemany(
        "INSERT INTO durations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((*key, packed({each[7]: each[8] for each in group})) for key, group in slots),
    )
    connection.execute("DROP TABLE buckets")


RELEASES = "CREATE INDEX errors_by_release ON errors (release, level, at, environment, service)"

STEPS: tuple[str | Callable[[sqlite3.Connection], None], ...] = (TABLES, PROFILES, _join_durations, RELEASES)
"""What makes each version of the one before."""


class StoreError(Exception):
    """The file cannot be used; the message names it and says what to do."""


def open_file(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Open the file for writing; create it and its tables if it is new.

    ``max_bytes`` bounds the file without its log, which SQLite holds below a few MiB.

    Raises:
        StoreError: it is no file of ours, or cannot be written.
    """
    with ExitStack() as on_failure:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
            on_failure.callback(connection.close)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
            connection.execute("PRAGMA cache_size = -8192")
            connection.create_function("joined", 2, joined, deterministic=True)
            _create(connection, path)
            connection.execute(f"PRAGMA max_page_count = {max_bytes // PAGE_SIZE}")  # an update may need more
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{path}: {error}; allowed: a file of brain-otel view that this user may write"
            ) from error
        on_failure.pop_all()
    return connection


def _create(connection: sqlite3.Connection, path: Path) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")  # a second viewer that starts on the file waits here
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not (0 if is_empty else 1) <= version <= len(STEPS):
            raise StoreError(f"{path} has the version {version}; allowed: 1 to {len(STEPS)}, or a new file")
        for step in STEPS[version:]:
            if callable(step):
                step(connection)
                continue
            for statement in step.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the file for queries alone."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA cache_size = -8192")
    return connection
