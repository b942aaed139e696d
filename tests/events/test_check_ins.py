"""What a monitor takes, and what the error says of anything else."""

from typing import Any

import pytest

from brain_otel import ConfigurationError
from brain_otel.events.check_ins import check_slug, monitor_config, new_id, whole


@pytest.mark.parametrize("slug", ["a", "nightly-report", "Nightly_2", "x" * 50])
def test_a_slug_has_the_characters_that_sentry_keeps(slug: str) -> None:
    assert check_slug(slug) == slug


@pytest.mark.parametrize("slug", ["", "a b", "a.b", "ä", "x" * 51, "a\n", None, 5])
def test_another_slug_is_an_error(slug: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^monitor\(\)\.slug is .*; allowed: 1 to 50 letters, digits, - and _$"
    ):
        check_slug(slug)


def test_a_configuration_is_in_sentrys_form() -> None:
    options = {"timezone": "Europe/Berlin", "checkin_margin": 5, "max_runtime": None, "recovery_threshold": 2}
    assert monitor_config("a", "0 3 * * *", options) == {
        "schedule": {"type": "crontab", "value": "0 3 * * *"},
        "timezone": "Europe/Berlin",
        "checkin_margin": 5,
        "recovery_threshold": 2,
    }
    assert monitor_config("a", None, {"timezone": None}) is None


@pytest.mark.parametrize(
    ("schedule", "options", "says"),
    [
        ("61 * * * *", {}, r"monitor\('a'\)\.schedule is '61 \* \* \* \*'; allowed: a crontab's five fields"),
        ("0 3 * * *", {"timezone": "Mars"}, r"\.timezone is 'Mars'; allowed: a name of the time zone database"),
        ("0 3 * * *", {"timezone": "../etc/passwd"}, r"\.timezone is "),
        ("0 3 * * *", {"max_runtime": 0}, r"\.max_runtime is 0; allowed: a whole number of minutes from 1"),
        ("0 3 * * *", {"checkin_margin": 1.5}, r"\.checkin_margin is 1\.5"),
        (
            "0 3 * * *",
            {"failure_issue_threshold": True},
            r"\.failure_issue_threshold is True; allowed: a whole number from",
        ),
        (None, {"max_runtime": 5}, r"\.max_runtime is 5; allowed: it only beside a schedule"),
    ],
)
def test_an_error_names_place_value_and_what_is_allowed(schedule: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        monitor_config("a", schedule, options)


@pytest.mark.parametrize(("seconds", "found"), [(1.23456789, 1.234568), (-5.0, 0.0), (float("inf"), None)])
def test_a_duration_is_a_number(seconds: float, found: float | None) -> None:
    assert whole(seconds) == found


def test_each_run_has_an_id_of_its_own() -> None:
    assert len({new_id() for _ in range(100)}) == 100
