"""The latest log lines."""

import json

from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.filters import Query, rows, where_given

MAX_LINES = 200
LEVELS = {"": 0, "debug": 5, "info": 9, "warning": 13, "error": 17, "fatal": 21}
"""The least severity of the levels that can be chosen."""


def list_logs(query: Query) -> Json:
    """The latest lines, by level, text and trace; ``before`` is the id at which an earlier page ended."""
    level, text, trace = query.choice("level", LEVELS, ""), query.text("q"), query.text("trace")
    before = int(query.number("before"))
    where, values = query.filters.where("at")
    where += where_given(
        {
            "trace = :trace": trace,
            "severity >= :severity": LEVELS[level],
            "instr(lower(message), lower(:text)) > 0": text,
            "id < :before": before,
        }
    )
    statement = f"SELECT * FROM logs WHERE {where} ORDER BY id DESC LIMIT {MAX_LINES + 1}"
    given = {"trace": trace, "severity": LEVELS[level], "text": text, "before": before}
    found = rows(query.connection, statement, {**values, **given})
    lines = found[:MAX_LINES]
    for each in lines:
        each["data"] = json.loads(each["data"])
    shown = {"lines": lines, "next": lines[-1]["id"] if len(found) > MAX_LINES else None}
    return {**shown, "level": level, "q": text, "trace": trace, "before": before}
