"""Check-ins: the start and the end of a job that a monitor expects by its schedule."""

import math
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.error import configuration_error
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple

if TYPE_CHECKING:
    from brain_otel.events import schedules
else:
    # The first schedule needs it.
    schedules = late_module("brain_otel.events.schedules")

IN_PROGRESS, OK, ERROR = "in_progress", "ok", "error"

_SLUG = expression(r"[A-Za-z0-9_-]{1,50}")
"""The form of a monitor's name in Sentry, whose servers cut a longer one."""

_MINUTES = ("checkin_margin", "max_runtime")
_COUNTS = ("failure_issue_threshold", "recovery_threshold")

MAX_NUMBER = 1_000_000


class CheckIn(NamedTuple):
    """One check-in."""

    check_in_id: str
    slug: str
    status: str
    duration: float | None = None
    """Seconds, at the end."""
    config: Mapping[str, Any] | None = None
    """The monitor in Sentry's form, which Sentry then creates or changes; None leaves it as it is."""


def new_id() -> str:
    """An id for the check-ins of one run."""
    return uuid.uuid4().hex


def check_slug(slug: Any) -> str:
    """``slug`` if it names a monitor.

    Raises:
        ConfigurationError: It does not.
    """
    if not isinstance(slug, str) or _SLUG.fullmatch(slug) is None:
        raise configuration_error("monitor().slug", slug, "1 to 50 letters, digits, - and _")
    return slug


def monitor_config(slug: str, schedule: Any, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The monitor ``slug`` in Sentry's form; None without a schedule.

    Raises:
        ConfigurationError: The schedule or an option is wrong.
    """
    place = f"monitor({slug!r})"
    given = {name: value for name, value in options.items() if value is not None}
    if schedule is None:
        for name, value in given.items():
            raise configuration_error(f"{place}.{name}", value, "it only beside a schedule")
        return None
    try:
        config: dict[str, Any] = {"schedule": schedules.schedule_of(schedule)}
    except schedules.BadScheduleError:
        raise configuration_error(f"{place}.schedule", schedule, schedules.SCHEDULES) from None
    for name, value in given.items():
        if name == "timezone" and not is_timezone(value):
            allowed = "a name of the time zone database such as Europe/Berlin"
            raise configuration_error(f"{place}.{name}", value, allowed)
        if name in (*_MINUTES, *_COUNTS) and not _is_count(value):
            unit = " of minutes" if name in _MINUTES else ""
            raise configuration_error(f"{place}.{name}", value, f"a whole number{unit} from 1 to {MAX_NUMBER}")
        config[name] = value
    return config


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_NUMBER


def is_timezone(value: Any) -> bool:
    """Whether ``value`` names a time zone of the database."""
    import zoneinfo  # `import brain_otel` stays cheap

    try:
        return isinstance(value, str) and bool(zoneinfo.ZoneInfo(value))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False


def whole(seconds: float) -> float | None:
    """A duration that Sentry takes: a number that is not negative."""
    return round(max(0.0, seconds), 6) if math.isfinite(seconds) else None
