"""Beat's entries as monitors."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule

from brain_otel.instrumentation.jobs.celery_beat import end_monitor, monitor_of, write_monitor
from brain_otel.testing import Telemetry
from tests.support.check_ins import statuses

APP = Celery("tasks", broker="memory://", set_as_current=False)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (crontab(), {"type": "crontab", "value": "* * * * *"}),
        (crontab(minute=0, hour="3"), {"type": "crontab", "value": "0 3 * * *"}),
        (crontab(minute="*/15", day_of_week="mon-fri"), {"type": "crontab", "value": "*/15 * * * mon-fri"}),
        (
            crontab(minute=5, hour=[1, 2], day_of_month="1,15", month_of_year="jan"),
            {"type": "crontab", "value": "5 1,2 1,15 jan *"},
        ),
        (schedule(timedelta(minutes=5)), {"type": "interval", "value": 5, "unit": "minute"}),
        (schedule(timedelta(hours=2)), {"type": "interval", "value": 2, "unit": "hour"}),
        (schedule(timedelta(seconds=30)), None),
        (schedule(timedelta(seconds=90)), None),
        (object(), None),
    ],
)
def test_a_schedule_is_in_sentrys_form(given: Any, found: Any) -> None:
    entry = SimpleNamespace(name="send the report!", schedule=given)
    expected = None if found is None else ("send-the-report", {"schedule": found, "timezone": "UTC"})
    assert monitor_of(entry, APP) == expected


@pytest.mark.parametrize("name", ["", "...", "äöü"])
def test_a_name_without_letters_is_no_monitor(name: str) -> None:
    assert monitor_of(SimpleNamespace(name=name, schedule=crontab()), APP) is None


def test_the_time_zone_is_the_apps() -> None:
    app = Celery("tasks", broker="memory://", set_as_current=False)
    app.conf.timezone = "Europe/Berlin"
    found = monitor_of(SimpleNamespace(name="a", schedule=crontab(app=app)), app)
    assert found is not None
    assert found[1]["timezone"] == "Europe/Berlin"


HEADERS = {
    "id": "1",
    "sentry-monitor-slug": "nightly",
    "sentry-monitor-check-in-id": "a" * 32,
    "sentry-monitor-config": {"schedule": {"type": "crontab", "value": "* * * * *"}},
    "sentry-monitor-start-timestamp-s": "5.0",
}


def test_a_retry_continues_the_monitor_of_its_run(telemetry: Telemetry) -> None:
    """Another message of the same task does not."""
    retry, other = {"id": "1"}, {"id": "2"}
    write_monitor(retry, HEADERS)
    write_monitor(other, HEADERS)
    write_monitor(other, None)
    assert retry == HEADERS
    assert other == {"id": "2"}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, {"nightly": ["ok"]}),
        ({"sentry-monitor-slug": None}, {}),
        ({"sentry-monitor-check-in-id": 5}, {}),
    ],
)
def test_a_message_says_its_monitor(telemetry: Telemetry, changed: dict[str, Any], found: dict[str, Any]) -> None:
    """Anybody may have written its headers."""
    end_monitor({**HEADERS, **changed}, is_success=True)
    assert statuses(telemetry._captured("check_in")) == found
