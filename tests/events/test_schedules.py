"""Crontabs and intervals in Sentry's form, and what is neither."""

from datetime import timedelta
from typing import Any

import pytest

from brain_otel.events.schedules import BadScheduleError, interval_of, is_crontab, schedule_of

GOOD = (
    *("* * * * *", "0 3 * * *", "*/5 0-6/2 1,15 jan-mar mon-fri", "59 23 31 12 7", "0 0 * * sun,SAT", "0 0 1 JAN *"),
    *("  0   3 * * *  ", "@daily", "@HOURLY", "0 0 29 2 *"),
)
BAD = (
    *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8"),
    *(
        "a * * * *",
        "5-1 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "1/ * * * *",
        "1/5 * * * *",
        ", * * * *",
        "1,,2 * * * *",
    ),
    *(
        "- * * * *",
        "1-2-3 * * * *",
        "-1 * * * *",
        "* * * foo *",
        "* * mon * *",
        "@sometimes",
        "@daily now",
        "٣ * * * *",
    ),
    *("* " * 5_000, "\0 * * * *", "rm -rf / now *"),
)


@pytest.mark.parametrize("text", GOOD)
def test_a_crontab_is_one(text: str) -> None:
    assert schedule_of(text) == {"type": "crontab", "value": " ".join(text.split())}


@pytest.mark.parametrize("text", BAD)
def test_another_text_is_none(text: str) -> None:
    assert not is_crontab(text)


@pytest.mark.parametrize(
    ("given", "value", "unit"),
    [
        (timedelta(minutes=1), 1, "minute"),
        (timedelta(minutes=90), 90, "minute"),
        (timedelta(hours=2), 2, "hour"),
        (timedelta(days=1), 1, "day"),
        (timedelta(days=10), 10, "day"),
        (timedelta(weeks=2), 2, "week"),
        ({"value": 3, "unit": "month"}, 3, "month"),
        ({"type": "interval", "value": 1, "unit": "year"}, 1, "year"),
    ],
)
def test_an_interval_is_in_the_largest_unit_that_fits(given: Any, value: int, unit: str) -> None:
    assert schedule_of(given) == {"type": "interval", "value": value, "unit": unit}


def test_sentrys_own_form_of_a_crontab_is_taken() -> None:
    assert schedule_of({"type": "crontab", "value": "0 3 * * *"}) == {"type": "crontab", "value": "0 3 * * *"}


@pytest.mark.parametrize(
    "given",
    [
        None,
        5,
        b"* * * * *",
        timedelta(0),
        timedelta(seconds=30),
        timedelta(seconds=90),
        timedelta(minutes=-5),
        {},
        {"value": 0, "unit": "minute"},
        {"value": True, "unit": "minute"},
        {"value": 1.5, "unit": "minute"},
        {"value": 1, "unit": "second"},
        {"value": 1},
        {"value": 1, "unit": "minute", "more": 1},
        {"type": "crontab", "value": "61 * * * *"},
        {"type": "crontab", "value": "* * * * *", "unit": "minute"},
        {"type": "solar", "value": 1, "unit": "day"},
        ["* * * * *"],
    ],
)
def test_anything_else_is_no_schedule(given: Any) -> None:
    with pytest.raises(BadScheduleError):
        schedule_of(given)


@pytest.mark.parametrize("seconds", [0.0, 59.0, 60.5, -60.0, float("nan")])
def test_only_whole_minutes_are_an_interval(seconds: float) -> None:
    assert interval_of(seconds) is None
