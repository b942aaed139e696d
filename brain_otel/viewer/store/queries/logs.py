"""The latest log lines."""

import json
import sqlite3
from typing import Any

from brain_otel.viewer.store.queries.filters import Filters, rows, where_given

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
    where += where_given(
        {
            "trace = :trace": trace,
            "severity >= :severity": LEVELS[level],
            "instr(lower(message), lower(:text)) > 0": text,
            "id < :before": before,
        }
    )
    query = f"SELECT * FROM logs WHERE {where} ORDER BY id DESC LIMIT {MAX_LINES + 1}"
    given = {"trace": trace, "severity": LEVELS[level], "text": text, "before": before}
    found = rows(connection, query, {**values, **given})
    lines = found[:MAX_LINES]
    for each in lines:
        each["data"] = json.loads(each["data"])
    return {"lines": lines, "next": lines[-1]["id"] if len(found) > MAX_LINES else None}
