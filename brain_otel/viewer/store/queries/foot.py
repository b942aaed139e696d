"""The line at each page's foot: what was received today, what was dropped, what a month would have."""

import sqlite3
from typing import Any

DAY = 86_400
RATES = (1.0, 0.5, 0.1, 0.01)
_DAYS = 7


def read_foot(connection: sqlite3.Connection, now: float) -> dict[str, Any]:
    """Today's counts, by UTC, and a month's as the last seven days predict it."""
    today = int(now) // DAY
    counts = connection.execute(
        "SELECT category, outcome, by, reason, count FROM counts WHERE day = ?", (today,)
    ).fetchall()
    received = {row[0]: row[4] for row in counts if row[1] == "accepted"}
    dropped = [
        {"category": row[0], "by": row[2], "reason": row[3], "count": row[4]} for row in counts if row[1] == "dropped"
    ]
    return {
        "received": dict(sorted(received.items())),
        "dropped": sorted(dropped, key=lambda each: -each["count"])[:20],
        "month": _month(connection, now, today),
    }


def _month(connection: sqlite3.Connection, now: float, today: int) -> dict[str, Any] | None:
    query = """
        SELECT min(day), sum(CASE category WHEN 'transaction' THEN represented END),
               sum(CASE category WHEN 'error' THEN count END)
        FROM counts WHERE day > ? AND outcome = 'accepted'"""
    first, requests, errors = connection.execute(query, (today - _DAYS,)).fetchone()
    if not requests and not errors:
        return None
    days = max(now / DAY - first, 1 / 24)
    factor = 30 / days
    return {
        "days": round(days, 2),
        "errors": round((errors or 0) * factor),
        "transactions": {str(rate): round((requests or 0) * rate * factor) for rate in RATES},
    }
