"""Keeps open alerts, and messages that wait for delivery, in the viewer's file.

Everything that follows from one look is written in one transaction, so that a crash loses no message and says none
twice but the one that was under way.
"""

import json
import sqlite3
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from brain_otel.viewer.rows import Json

MAX_OPEN = 50
"""Open alerts of one rule; more are counted in the log, and start when others end."""

MAX_WAITING = 1_000
"""Messages of one receiver that wait; then the oldest go, and are counted."""

MAX_KEPT = 10_000
"""Alerts that have ended and are remembered, so that they are not said again."""

TABLES = """
CREATE TABLE IF NOT EXISTS alert_rules (
    name TEXT PRIMARY KEY, since INTEGER NOT NULL, mark INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY, rule TEXT NOT NULL, key TEXT NOT NULL, data TEXT NOT NULL, receivers TEXT NOT NULL,
    started_at INTEGER NOT NULL, ended_at INTEGER
);
CREATE UNIQUE INDEX IF NOT EXISTS open_alerts ON alerts (rule, key) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS alerts_by_key ON alerts (rule, key);
CREATE TABLE IF NOT EXISTS alert_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, body TEXT NOT NULL, attempts INTEGER NOT NULL,
    made_at INTEGER NOT NULL, due_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS alert_messages_by_receiver ON alert_messages (receiver, id);
"""


class Occasion(NamedTuple):
    """Why an alert starts."""

    key: str
    """Tells the alert from others of its rule."""
    title: str
    path: str
    """The page that shows it."""
    labels: Mapping[str, str]
    value: float | None = None
    bound: float | None = None
    """What ``value`` is compared with; it stays until the alert ends."""


class Alert(NamedTuple):
    """An open alert."""

    id: int
    key: str
    data: Json
    """The message that it started."""


class Watched(NamedTuple):
    """What is remembered of a rule. Times are microseconds since 1970."""

    since: int
    """When it was watched for the first time."""
    mark: int
    """How far it has looked."""


class Look(NamedTuple):
    """What one look at the data has found."""

    started: list[Occasion]
    ended: list[str]
    """Keys."""
    mark: int = 0


class Waiting(NamedTuple):
    """A message that is to be delivered."""

    id: int
    body: Json
    attempts: int
    made_at: int


def create_tables(connection: sqlite3.Connection) -> None:
    """Create what is missing; an older file has none of them."""
    for statement in TABLES.split(";"):
        connection.execute(statement)


def watched(connection: sqlite3.Connection, rule: str) -> Watched | None:
    """What is remembered of the rule; None if it is new."""
    row = connection.execute("SELECT since, mark FROM alert_rules WHERE name = ?", (rule,)).fetchone()
    return Watched(*row) if row else None


def open_alerts(connection: sqlite3.Connection, rule: str) -> dict[str, Alert]:
    """The rule's open alerts by key."""
    query = "SELECT id, key, data FROM alerts WHERE rule = ? AND ended_at IS NULL"
    return {key: Alert(number, key, json.loads(data)) for number, key, data in connection.execute(query, (rule,))}


def was_said(connection: sqlite3.Connection, rule: str, key: str) -> bool:
    """Whether there is or was such an alert."""
    query = "SELECT 1 FROM alerts WHERE rule = ? AND key = ?"
    return connection.execute(query, (rule, key)).fetchone() is not None


def unknown_rules(connection: sqlite3.Connection, known: Collection[str]) -> list[str]:
    """Rules with open alerts that are no longer in the file."""
    rows = connection.execute("SELECT DISTINCT rule FROM alerts WHERE ended_at IS NULL")
    return [rule for (rule,) in rows if rule not in known]


def remember(connection: sqlite3.Connection, rule: str, at: int, mark: int) -> None:
    """Note how far the rule has looked."""
    connection.execute(
        "INSERT INTO alert_rules VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET mark = excluded.mark",
        (rule, at, mark),
    )


def start(
    connection: sqlite3.Connection, rule: str, kind: str, receivers: Iterable[str], occasion: Occasion, at: int
) -> None:
    """Open an alert and queue its messages, unless another viewer on the file has done so."""
    message = new_message(rule, kind, occasion, at)
    names = list(receivers)
    row = connection.execute(
        "INSERT INTO alerts (rule, key, data, receivers, started_at) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING RETURNING id",
        (rule, occasion.key, json.dumps(message), json.dumps(names), at),
    ).fetchone()
    if row is not None:
        _queue(connection, names, message, at)


def end(connection: sqlite3.Connection, rule: str, keys: Iterable[str] | None, at: int) -> None:
    """End open alerts, all of the rule's by default, and queue the messages."""
    alerts = open_alerts(connection, rule)
    for key in alerts if keys is None else keys:
        row = connection.execute(
            "UPDATE alerts SET ended_at = ? WHERE rule = ? AND key = ? AND ended_at IS NULL "
            "RETURNING data, receivers",
            (at, rule, key),
        ).fetchone()
        if row is not None:
            _queue(connection, json.loads(row[1]), {**json.loads(row[0]), "ended_at": at}, at)
    connection.execute(
        "DELETE FROM alerts WHERE ended_at IS NOT NULL AND id < (SELECT max(id) FROM alerts) - ?", (MAX_KEPT,)
    )


def new_message(rule: str, kind: str, occasion: Occasion, at: int) -> Json:
    """The message that an alert starts; ``alert`` is unique to it, and the same when it ends."""
    facts = {"alert": uuid.uuid4().hex, "rule": rule, "kind": kind, "started_at": at, "ended_at": None}
    return {**occasion._asdict(), **facts, "test": False}


def _queue(connection: sqlite3.Connection, receivers: Iterable[str], message: Json, at: int) -> None:
    for receiver in receivers:
        connection.execute(
            "INSERT INTO alert_messages (receiver, body, attempts, made_at, due_at) VALUES (?, ?, 0, ?, 0)",
            (receiver, json.dumps({**message, "id": uuid.uuid4().hex}), at),
        )


def drop_surplus(connection: sqlite3.Connection, receivers: Collection[str]) -> int:
    """Remove messages for receivers that are no longer in the file, and the oldest of too many; returns how many."""
    dropped = 0
    for (receiver,) in connection.execute("SELECT DISTINCT receiver FROM alert_messages").fetchall():
        most = MAX_WAITING if receiver in receivers else 0
        dropped += connection.execute(
            "DELETE FROM alert_messages WHERE receiver = :receiver AND id NOT IN "
            "(SELECT id FROM alert_messages WHERE receiver = :receiver ORDER BY id DESC LIMIT :most)",
            {"receiver": receiver, "most": most},
        ).rowcount
    return dropped


def next_message(connection: sqlite3.Connection, receiver: str, at: int) -> Waiting | None:
    """The receiver's oldest message, if it is due; later ones wait for it, so that an end follows its start."""
    query = "SELECT id, body, attempts, made_at, due_at FROM alert_messages WHERE receiver = ? ORDER BY id LIMIT 1"
    row = connection.execute(query, (receiver,)).fetchone()
    if row is None or row["due_at"] > at:
        return None
    return Waiting(row["id"], json.loads(row["body"]), row["attempts"], row["made_at"])


def claim(connection: sqlite3.Connection, message: Waiting, until: int) -> bool:
    """Take the message until then; False if another viewer on the file has taken it."""
    query = "UPDATE alert_messages SET attempts = attempts + 1, due_at = ? WHERE id = ? AND attempts = ?"
    return connection.execute(query, (until, message.id, message.attempts)).rowcount == 1


def delay(connection: sqlite3.Connection, message: Waiting, until: int) -> None:
    """Let the message wait until then."""
    connection.execute("UPDATE alert_messages SET due_at = ? WHERE id = ?", (until, message.id))


def settle(connection: sqlite3.Connection, message: Waiting) -> None:
    """Remove a message that was delivered or given up."""
    connection.execute("DELETE FROM alert_messages WHERE id = ?", (message.id,))
