"""Reads the content of a spool's directory for display."""

import json
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from brain_otel.delivery.record import PRIORITIES
from brain_otel.delivery.spool.directory import (
    REJECTED,
    SHIPPER_LOCK,
    Bounds,
    Segment,
    read_bounds,
    segments,
    targets,
)
from brain_otel.delivery.spool.discarded import DiscardedEvents, read_discarded, read_reported
from brain_otel.delivery.spool.eviction import MAX_REJECTED
from brain_otel.delivery.spool.files import opened_file, opened_folder, read_file
from brain_otel.delivery.spool.frames import Frames
from brain_otel.delivery.spool.locks import is_locked
from brain_otel.delivery.spool.stored_limits import read_limits
from brain_otel.delivery.target import Target
from brain_otel.runtime.named_tuple import NamedTuple

MAX_NOTE = 2**14
"""Bytes that hold the note on a rejected record."""

MAX_NAME, MAX_REASON = 100, 500
"""Characters that are shown of a rejected record's category and reason."""


class TargetState:
    """The records for one target.

    Args:
        limits: Seconds left of each rate limit, by category; "" stands for all.
        discarded: Quantities by category and reason, of about a day.
    """

    def __init__(
        self, target: Target, limits: dict[str, float] | None = None, discarded: DiscardedEvents | None = None
    ) -> None:
        self.target = target
        self.limits = limits or {}
        self.discarded = discarded or Counter()
        self.records: Counter[str] = Counter()
        """Unsent records by category."""
        self.bytes = 0
        self.oldest: float | None = None
        """Seconds since the oldest segment with unsent records was begun."""
        self.rejected: list[tuple[str, str]] = []
        """Category and reason of each rejected record."""
        self.damaged = 0
        """Bytes that belong to no record."""


class State(NamedTuple):
    """The records in a directory."""

    directory: Path
    bounds: Bounds
    targets: list[TargetState]
    shipper: int | None
    """The id of the process that sends; 0 if the full disk did not take it; None if no process sends."""
    unreadable: dict[str, str]
    """The reason for each target that is not understood, by the name of its folder."""

    @property
    def records(self) -> int:
        """How many are unsent."""
        return sum(each.records.total() for each in self.targets)


def read_state(directory: Path) -> State:
    """Read ``directory`` without changing it.

    Raises:
        OSError: It cannot be read.
    """
    with opened_folder(directory) as (descriptor, _), os.scandir(descriptor):
        unreadable: dict[str, str] = {}
    return State(
        directory=directory,
        bounds=read_bounds(directory),
        targets=[_target_state(folder, target) for folder, target in targets(directory, unreadable).items()],
        shipper=_shipper(directory),
        unreadable=unreadable,
    )


def is_limited_for(folder: Path, seconds: float) -> bool:
    """Whether rate limits keep every unsent record of a target back for ``seconds``."""
    limits = read_limits(folder)
    if not limits:
        return False
    state = TargetState(Target("sentry", ""))
    for segment in segments(folder, *PRIORITIES):
        with suppress(OSError), opened_file(segment.path) as descriptor:
            _count(segment, descriptor, state)
    return all(max(limits.get(category, 0.0), limits.get("", 0.0)) > seconds for category in state.records)


def _target_state(folder: Path, target: Target) -> TargetState:
    discarded = read_reported(folder)[1] + read_discarded(folder)
    state = TargetState(target, read_limits(folder), discarded)
    for segment in (*segments(folder, *PRIORITIES), *segments(folder, REJECTED)[-MAX_REJECTED:]):
        with suppress(OSError), opened_file(segment.path) as descriptor:
            if segment.priority == REJECTED:
                state.rejected.append(_note(os.read(descriptor, MAX_NOTE)))
            else:
                _count(segment, descriptor, state)
    return state


def _note(data: bytes) -> tuple[str, str]:
    """Category and reason of a rejected record, which is in a file of its own after them."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        note = json.loads(data.partition(b"\n")[0])
        return str(note["category"])[:MAX_NAME], str(note["reason"])[:MAX_REASON]
    return "default", "its file is damaged"


def _count(segment: Segment, descriptor: int, state: TargetState) -> None:
    start, size = segment.acknowledged(), os.fstat(descriptor).st_size
    if start >= size:
        return
    state.bytes += size - start
    state.oldest = max(state.oldest or 0.0, segment.age())
    for found in Frames.of(descriptor).find(start, sealed=True, with_bodies=False):
        if found.record is None:
            state.damaged += found.end - found.start
        elif not found.is_done:
            state.records[found.record.category] += 1


def _shipper(directory: Path) -> int | None:
    path = directory / SHIPPER_LOCK
    if not is_locked(path):
        return None
    with suppress(OSError, ValueError):
        return int(read_file(path))
    return 0
