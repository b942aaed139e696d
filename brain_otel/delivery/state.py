"""What waits in a spool, for people: how much, how old, of what, and what was refused and why."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brain_otel.delivery.directory import SHIPPER_LOCK, age, locked, read_bounds, segments, targets
from brain_otel.delivery.limits import read_limits
from brain_otel.delivery.record import records_in

if TYPE_CHECKING:
    from pathlib import Path

    from brain_otel.delivery.directory import Bounds
    from brain_otel.delivery.target import Target


@dataclass(kw_only=True)
class TargetState:
    """What waits for one target."""

    target: Target
    records: Counter[str] = field(default_factory=Counter)
    """By category."""
    bytes: int = 0
    oldest: float | None = None
    """Seconds since the oldest record was made, by the clock."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """The category and the reason of each record that was set aside."""
    resting: dict[str, float] = field(default_factory=dict)
    """Seconds for which nothing of a category is sent because the target has asked for it; "" stands for all."""
    damaged: int = 0
    """Bytes that are no records."""


@dataclass(kw_only=True)
class State:
    """What lies in a directory."""

    directory: Path
    bounds: Bounds
    targets: list[TargetState]
    shipper: int | None
    """The id of the process that sends, None if none does."""

    @property
    def records(self) -> int:
        """How many wait."""
        return sum(each.records.total() for each in self.targets)


def read_state(directory: Path) -> State:
    """Look at ``directory`` without touching it.

    Raises:
        OSError: it cannot be read.
    """
    list(directory.iterdir())
    found = [_target_state(folder, target) for folder, target in targets(directory).items()]
    return State(directory=directory, bounds=read_bounds(directory), targets=found, shipper=_shipper(directory))


def _target_state(folder: Path, target: Target) -> TargetState:
    state = TargetState(target=target)
    for segment in segments(folder):
        with suppress(OSError):
            if segment.lane == "refused":
                told = json.loads(segment.path.read_bytes().partition(b"\n")[0])
                state.refused.append((str(told["category"]), str(told["reason"])))
                continue
            data = segment.path.read_bytes()[segment.acknowledged() :]
            state.bytes += len(data)
            for found in records_in(data, sealed=True):
                if found.record is None:
                    state.damaged += found.end - found.start
                elif not found.is_done:
                    state.records[found.record.category] += 1
            if data:
                state.oldest = max(state.oldest or 0.0, age(segment))
    state.resting = read_limits(folder)
    return state


def _shipper(directory: Path) -> int | None:
    path = directory / SHIPPER_LOCK
    try:
        pid = int(path.read_text())
        with locked(path, shared=True) as is_free:
            return None if is_free else pid
    except (OSError, ValueError):
        return None
