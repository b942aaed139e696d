"""What a spool's directory holds, for people to read."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brain_otel.delivery.record import records_in
from brain_otel.delivery.spool.directory import REJECTED, SHIPPER_LOCK, read_bounds, segments, targets
from brain_otel.delivery.spool.locks import locked
from brain_otel.delivery.spool.stored_limits import read_limits

if TYPE_CHECKING:
    from pathlib import Path

    from brain_otel.delivery.spool.directory import Bounds
    from brain_otel.delivery.target import Target


@dataclass(kw_only=True)
class TargetState:
    """The records for one target."""

    target: Target
    records: Counter[str] = field(default_factory=Counter)
    """Unsent records by category."""
    bytes: int = 0
    oldest: float | None = None
    """Seconds since the oldest segment with unsent records was begun."""
    rejected: list[tuple[str, str]] = field(default_factory=list)
    """Category and reason of each rejected record."""
    limits: dict[str, float] = field(default_factory=dict)
    """Seconds left of each rate limit, by category; "" stands for all."""
    damaged: int = 0
    """Bytes that belong to no record."""


@dataclass(kw_only=True)
class State:
    """The records in a directory."""

    directory: Path
    bounds: Bounds
    targets: list[TargetState]
    shipper: int | None
    """The id of the process that sends, or None."""

    @property
    def records(self) -> int:
        """How many are unsent."""
        return sum(each.records.total() for each in self.targets)


def read_state(directory: Path) -> State:
    """Read ``directory`` without changing it.

    Raises:
        OSError: It cannot be read.
    """
    list(directory.iterdir())
    found = [_target_state(folder, target) for folder, target in targets(directory).items()]
    return State(directory=directory, bounds=read_bounds(directory), targets=found, shipper=_shipper(directory))


def _target_state(folder: Path, target: Target) -> TargetState:
    state = TargetState(target=target, limits=read_limits(folder))
    for segment in segments(folder):
        with suppress(OSError):
            if segment.priority == REJECTED:
                note = json.loads(segment.path.read_bytes().partition(b"\n")[0])
                state.rejected.append((str(note["category"]), str(note["reason"])))
                continue
            data = segment.path.read_bytes()[segment.acknowledged() :]
            _count(data, state)
            if data:
                state.oldest = max(state.oldest or 0.0, segment.age())
    return state


def _count(data: bytes, state: TargetState) -> None:
    state.bytes += len(data)
    for found in records_in(data, sealed=True):
        if found.record is None:
            state.damaged += found.end - found.start
        elif not found.is_done:
            state.records[found.record.category] += 1


def _shipper(directory: Path) -> int | None:
    path = directory / SHIPPER_LOCK
    try:
        pid = int(path.read_text())
        with locked(path, shared=True) as is_free:
            return None if is_free else pid
    except (OSError, ValueError):
        return None
