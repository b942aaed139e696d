"""Rate limits in the spool, where every process that sends from it finds them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from brain_otel.delivery.rate_limits import MAX_LIMIT
from brain_otel.delivery.spool.directory import LIMITS, boot_id, uptime
from brain_otel.delivery.spool.files import read_json, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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
