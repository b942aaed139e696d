"""Schedules of monitors in Sentry's form: a crontab's line, or an interval of whole minutes.

See https://develop.sentry.dev/sdk/telemetry/check-ins/.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

UNITS = ("minute", "hour", "day", "week", "month", "year")

CRONTAB = "a crontab's five fields such as '0 3 * * *'"

SCHEDULES = f"{CRONTAB}, a timedelta of whole minutes, or {{'value': 10, 'unit': 'minute'}} with {', '.join(UNITS)}"

_SECONDS = (("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60))

_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, ("", *_MONTHS)),
    (0, 7, _DAYS),
)
"""Lowest and highest number of each field, and the words for numbers."""

MAX_LENGTH = 200
"""Characters of a crontab's line."""


class BadScheduleError(ValueError):
    """Something is no schedule."""


def schedule_of(given: Any) -> dict[str, Any]:
    """``given`` in Sentry's form.

    Raises:
        BadScheduleError: It is none of :data:`SCHEDULES`.
    """
    if isinstance(given, str) and is_crontab(given):
        return {"type": "crontab", "value": " ".join(given.split())}
    if isinstance(given, timedelta) and (found := interval_of(given.total_seconds())) is not None:
        return found
    if isinstance(given, Mapping) and (found := _from_mapping(given)) is not None:
        return found
    raise BadScheduleError


def interval_of(seconds: float) -> dict[str, Any] | None:
    """``seconds`` as an interval in the largest unit that fits; None unless they are whole minutes."""
    for unit, length in _SECONDS:
        if seconds >= length and seconds % length == 0:
            return {"type": "interval", "value": int(seconds // length), "unit": unit}
    return None


def _from_mapping(given: Mapping[Any, Any]) -> dict[str, Any] | None:
    kind, value, unit = given.get("type", "interval"), given.get("value"), given.get("unit")
    if kind == "crontab" and isinstance(value, str) and is_crontab(value) and given.keys() == {"type", "value"}:
        return {"type": "crontab", "value": " ".join(value.split())}
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1_000_000
    if kind == "interval" and is_count and unit in UNITS and given.keys() <= {"type", "value", "unit"}:
        return {"type": "interval", "value": value, "unit": unit}
    return None


def is_crontab(text: str) -> bool:
    """Whether ``text`` is a line of a crontab, without its command."""
    if len(text) > MAX_LENGTH:
        return False
    fields = text.split()
    if len(fields) == 1:
        return fields[0].lower() in _MACROS
    return len(fields) == len(_FIELDS) and all(
        all(_is_part(part, *limits) for part in field.split(","))
        for field, limits in zip(fields, _FIELDS, strict=True)
    )


def _is_part(part: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    span, slash, step = part.partition("/")
    if slash and not (step.isascii() and step.isdigit() and 0 < int(step) <= high):
        return False
    if span == "*":
        return True
    first, dash, last = span.partition("-")
    start, end = _number(first, words), _number(last, words) if dash else None
    if dash:
        return start is not None and end is not None and low <= start <= end <= high
    return start is not None and low <= start <= high and not slash


def _number(text: str, words: tuple[str, ...]) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text)
    word = text.lower()
    return words.index(word) if word and word in words else None
