"""Keeps a spool within its bounds: drops rejected records first, then the oldest traces, then the oldest errors."""

import logging
from collections import Counter
from contextlib import suppress
from pathlib import Path

from brain_otel.delivery.record import PRIORITIES
from brain_otel.delivery.spool.directory import (
    EVICTION_LOCK,
    REJECTED,
    Bounds,
    Segment,
    remove_stray_files,
    segments,
    targets,
)
from brain_otel.delivery.spool.discarded import add_discarded, quantities_of
from brain_otel.delivery.spool.files import opened_file, remove_stale_parts
from brain_otel.delivery.spool.frames import Frames
from brain_otel.delivery.spool.locks import locked
from brain_otel.runtime.limited_log import CountLog

logger = logging.getLogger(__name__)

MAX_REJECTED = 100
"""Rejected records to keep for people to look at, for each target."""

LOCK_TIMEOUT = 0.05
"""Seconds to wait for another process that evicts."""

_ORDER = (REJECTED, *reversed(PRIORITIES))

Dropped = Counter[str]
"""Dropped quantities by category."""


def evict(directory: Path, bounds: Bounds) -> dict[Path, Dropped]:
    """Drop what exceeds ``bounds``; returns what was dropped by the folder of its target.

    One process evicts at a time. Another waits a little for it, because its own records may exceed the bounds too.
    Dropped records of Sentry are counted in the directory.
    """
    dropped: dict[Path, Dropped] = {}
    with suppress(OSError), locked(directory / EVICTION_LOCK, timeout=LOCK_TIMEOUT) as is_ours:
        if is_ours:
            _evict(directory, bounds, dropped)
    return {folder: counts for folder, counts in dropped.items() if counts}


def _evict(directory: Path, bounds: Bounds, dropped: dict[Path, Dropped]) -> None:
    remove_stale_parts(directory)
    found = targets(directory)
    remaining: list[tuple[Segment, int]] = []
    for folder in found:
        remaining += _drop_expired(folder, bounds, dropped)
    writers = {segment.process for segment, _ in remaining if segment.age() <= bounds.segment_age}
    total = sum(size for _, size in remaining)
    for segment, size in sorted(remaining, key=lambda each: (_ORDER.index(each[0].priority), each[0].order())):
        if total <= bounds.low_water(len(writers)):
            break
        _drop(segment, dropped)
        total -= size
    for folder, counts in dropped.items():
        if found[folder].kind == "sentry":
            add_discarded(folder, {(category, "cache_overflow"): count for category, count in counts.items()})


def _drop_expired(folder: Path, bounds: Bounds, dropped: dict[Path, Dropped]) -> list[tuple[Segment, int]]:
    """Drop the segments of a target that are too old, or rejected and too many; returns the rest with its sizes."""
    remove_stray_files(folder)
    rejected = segments(folder, REJECTED)
    for segment in rejected[: max(0, len(rejected) - MAX_REJECTED)]:
        segment.remove()
    remaining = []
    for segment in segments(folder):
        if segment.age() > bounds.max_age:
            _drop(segment, dropped)
        else:
            remaining.append((segment, segment.size()))
    return remaining


def _drop(segment: Segment, dropped: dict[Path, Dropped]) -> None:
    counts = dropped.setdefault(segment.folder, Counter())
    if segment.priority != REJECTED:  # rejected records were counted when they were rejected
        _count(segment, counts)
    segment.remove()


def _count(segment: Segment, counts: Dropped) -> None:
    """Count the unsent records by their headers alone: a request may be waiting."""
    with suppress(OSError), opened_file(segment.path) as descriptor:
        for category, quantity, length in Frames.of(descriptor).headers(segment.acknowledged()):
            counts.update(quantities_of(category, quantity, length))


class DropLog:
    """Logs what was dropped from a directory."""

    def __init__(self, directory: Path) -> None:
        self._log = CountLog(logger, "The spool %s exceeds its bounds; dropped: %s", directory)

    def add(self, dropped: dict[Path, Dropped]) -> None:
        """Log ``dropped``, now or later."""
        total = sum(dropped.values(), Counter[str]())
        if total:
            self._log.update(total)
