"""Judges check-ins by the protocol, since sentry-relay's library has no judge for them.

See https://develop.sentry.dev/sdk/telemetry/check-ins/ and Relay's `relay-monitors`, which rejects what is not so.
"""

import re
from typing import Any

STATUSES = ("in_progress", "ok", "error")
UNITS = ("minute", "hour", "day", "week", "month", "year")
CONFIG = {
    "schedule": dict,
    "timezone": str,
    "checkin_margin": int,
    "max_runtime": int,
    "failure_issue_threshold": int,
    "recovery_threshold": int,
}


def assert_check_in(check_in: dict[str, Any]) -> None:
    """Fail if Sentry would reject or change the check-in."""
    assert re.fullmatch(r"[0-9a-f]{32}", check_in["check_in_id"])
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,50}", check_in["monitor_slug"])
    assert check_in["status"] in STATUSES
    assert ("duration" in check_in) == (check_in["status"] != "in_progress")
    assert type(check_in.get("duration", 0.0)) is float
    assert check_in.get("duration", 0.0) >= 0
    assert re.fullmatch(r"[0-9a-f]{32}", check_in["contexts"]["trace"]["trace_id"])
    assert check_in["contexts"].keys() == {"trace"}
    config = check_in.get("monitor_config")
    if config is not None:
        assert {name: type(value) for name, value in config.items()}.items() <= CONFIG.items()
        schedule = config["schedule"]
        if schedule["type"] == "crontab":
            assert schedule.keys() == {"type", "value"}
            assert len(schedule["value"].split()) == 5 or schedule["value"].startswith("@")
        else:
            assert (schedule["type"], type(schedule["value"])) == ("interval", int)
            assert schedule["unit"] in UNITS
            assert schedule["value"] > 0


def statuses(check_ins: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The statuses of each run in order, by the monitor's name; each check-in of a run has the same id and trace."""
    found: dict[str, list[str]] = {}
    runs: dict[str, tuple[str, str]] = {}
    for each in sorted(check_ins, key=lambda each: str(each["timestamp"])):
        assert_check_in(each)
        run = each["monitor_slug"], each["contexts"]["trace"]["trace_id"]
        assert runs.setdefault(each["check_in_id"], run) == run
        found.setdefault(each["monitor_slug"], []).append(each["status"])
    return found
