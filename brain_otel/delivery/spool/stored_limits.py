"""Rate limits in the spool, where every process that sends from it finds them."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from brain_otel.delivery.rate_limits import MAX_LIMIT, MAX_WAIT
from brain_otel.delivery.spool.directory import LIMITS, boot_id, uptime
from brain_otel.delivery.spool.files import read_json, write_atomically


def write_limits(folder: Path, active: Mapping[str, float]) -> None:
    """Tell other processes the seconds left of each limit of a target."""
    now = uptime()
    until = {category: now + seconds for category, seconds in active.items()}
    with suppress(OSError):
        write_atomically(folder / LIMITS, json.dumps({"boot": boot_id(), "until": until}))


def read_limits(folder: Path) -> dict[str, float]:
    """Seconds left of each limit of a target, by a clock that nobody sets."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        given = read_json(folder / LIMITS)
        now = uptime()
        if given["boot"] == boot_id():
            until = {str(name): float(each) for name, each in given["until"].items()}
            return {name: min(each - now, MAX_LIMIT) for name, each in until.items() if each > now}
    return {}


def makes_wait(folder: Path) -> bool:
    """Whether a limit of a target ends soon enough that its records wait for it."""
    return any(seconds <= MAX_WAIT for seconds in read_limits(folder).values())
