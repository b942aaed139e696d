"""Beat's schedules as monitors: beat checks in when it sends a task, and the worker when the task has ended.

The headers on the message are sentry-sdk's, so that either side may use it.
"""

import functools
import logging
import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, TypeGuard

from brain_otel.events import check_ins
from brain_otel.events.check_ins import CheckIn, is_timezone, new_id
from brain_otel.events.schedules import interval_of, is_crontab
from brain_otel.jobs.monitors import send_check_in
from brain_otel.runtime.context import holding
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, replacement

logger = logging.getLogger(__name__)

MAX_SLUG, _MAX_ID = 50, 36
"""Characters of a monitor's name in Sentry, and of an id with its dashes."""

MONITOR = "sentry-monitor-"
"""Beginning of the headers that name a monitor."""

_SLUG, _CONFIG, _ID, _STARTED = (
    f"{MONITOR}{name}" for name in ("slug", "config", "check-in-id", "start-timestamp-s")
)

_due: ContextVar[tuple[str, dict[str, Any]] | None] = ContextVar("brain_otel.celery.due", default=None)
"""The monitor of the entry that beat is sending."""


@replacement
def apply_monitored_entry(original: Original, /, scheduler: Any, entry: Any, *args: Any, **kwargs: Any) -> Any:
    """The replacement of ``Scheduler.apply_entry``, which sends the task of an entry that is due."""
    found = None
    with guarded("finding the monitor of a beat entry"):
        found = monitor_of(entry, scheduler.app)
    with holding(_due, found):
        return original(scheduler, entry, *args, **kwargs)


def monitor_of(entry: Any, app: Any) -> tuple[str, dict[str, Any]] | None:
    """The name and the configuration of the monitor for a beat entry; None if Sentry has no such schedule."""
    schedule = entry.schedule
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", str(entry.name))[:MAX_SLUG].strip("-")
    found = _crontab(schedule) or interval_of(float(getattr(schedule, "seconds", 0)))
    if not slug or found is None:
        _warn_once(str(entry.name), type(schedule).__name__)
        return None
    zone = str(getattr(schedule, "tz", None) or app.timezone)
    return slug, {"schedule": found, "timezone": zone if is_timezone(zone) else "UTC"}


@functools.cache
def _warn_once(name: str, kind: str) -> None:
    logger.warning(
        "The beat entry %r is no monitor: Sentry knows crontabs and whole minutes, not this %s", name, kind
    )


def _crontab(schedule: Any) -> dict[str, Any] | None:
    """A crontab in Sentry's form, from what pickle keeps of it: no public attribute has its text."""
    if type(schedule).__name__ != "crontab":
        return None
    minute, hour, day_of_week, day_of_month, month = (_field(each) for each in schedule.__reduce__()[1])
    text = " ".join((minute, hour, day_of_month, month, day_of_week))
    return {"type": "crontab", "value": text} if is_crontab(text) else None


def _field(given: Any) -> str:
    texts = [given] if isinstance(given, (str, int)) else sorted(given)
    return ",".join(str(each).replace(" ", "") for each in texts)


def write_monitor(headers: dict[str, Any], sender: Mapping[str, Any] | None) -> None:
    """Check in and write the monitor on the ``headers`` of a message that beat sends.

    A retry continues its run's: ``sender`` has the headers of the task that sends the message, if there is one.
    """
    if (due := _due.get()) is not None:
        slug, config = due
        check_in = CheckIn(new_id(), slug, check_ins.IN_PROGRESS, config=config)
        headers.update({_SLUG: slug, _CONFIG: config, _ID: check_in.check_in_id, _STARTED: f"{time.time():.9f}"})
        send_check_in(check_in)
    elif sender is not None and sender.get("id") == headers.get("id"):
        headers.update({name: value for name, value in sender.items() if name.startswith(MONITOR)})


def _is_name(given: Any, limit: int) -> TypeGuard[str]:
    """Whether ``given`` may be a name: anybody may have written the message."""
    return isinstance(given, str) and 0 < len(given) <= limit


def end_monitor(headers: Mapping[str, Any], *, is_success: bool) -> None:
    """Check in at the end of the task whose message has ``headers``, if it is monitored."""
    slug, check_in_id, config = headers.get(_SLUG), headers.get(_ID), headers.get(_CONFIG)
    if not _is_name(slug, MAX_SLUG) or not _is_name(check_in_id, _MAX_ID):
        return
    try:
        duration = check_ins.whole(time.time() - float(headers[_STARTED]))
    except (KeyError, OverflowError, TypeError, ValueError):
        duration = None
    status = check_ins.OK if is_success else check_ins.ERROR
    send_check_in(CheckIn(check_in_id, slug, status, duration, config if isinstance(config, dict) else None))
