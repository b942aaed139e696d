"""The latest log lines."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from brain_otel.viewer.store.queries.filters import Filters, rows

MAX_LINES = 200
LEVELS = {"": 0, "debug": 5, "info": 9, "warning": 13, "error": 17, "fatal": 21}
"""The least severity of the levels that can be chosen."""


def list_logs(
    connection: sqlite3.Connection,
    filters: Filters,
    *,
    level: str = "",
    text: str = "",
    trace: str = "",
    before: int = 0,
) -> dict[str, Any]:
    """The latest lines; ``before`` is the id at which an earlier page ended."""
    where, values = filters.where("at")
    conditions = [where]
    if trace:
        conditions.append("trace = :trace")
    if LEVELS[level]:
        conditions.append("severity >= :severity")
    if text:
        conditions.append("instr(lower(message), lower(:text)) > 0")
    if before:
        conditions.append("id < :before")
    query = f"SELECT * FROM logs WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT {MAX_LINES + 1}"
    given = {"trace": trace, "severity": LEVELS[level], "text": text, "before": before}
    found = rows(connection.execute(query, {**values, **given}))
    lines = found[:MAX_LINES]
    for each in lines:
        each["data"] = json.loads(each["data"])
    return {"lines": lines, "next": lines[-1]["id"] if len(found) > MAX_LINES else None}
