"""What goes when a spool is over its bounds: refused records, then the oldest traces, then the oldest errors."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from brain_otel.delivery.directory import age, locked, segments, targets
from brain_otel.delivery.record import records_in

if TYPE_CHECKING:
    from pathlib import Path

    from brain_otel.delivery.directory import Bounds, Segment

MAX_REFUSED = 100
"""Refused records that are kept for people to look at, for each target."""

_ORDER = ("refused", "traces", "errors")

Dropped = Counter[str]
"""How much of each category was dropped."""


def evict(directory: Path, bounds: Bounds) -> dict[Path, Dropped]:
    """Bring ``directory`` within its bounds; what was dropped, by the folder of its target.

    Several processes may want to: one does, the others leave it to that one.
    """
    dropped: dict[Path, Dropped] = {}
    with suppress(OSError), locked(directory / "evict.lock") as is_ours:
        if is_ours:
            _evict(directory, bounds, dropped)
    return {folder: counts for folder, counts in dropped.items() if counts}


def _evict(directory: Path, bounds: Bounds, dropped: dict[Path, Dropped]) -> None:
    waiting: list[tuple[Segment, int]] = []
    for folder in targets(directory):
        refused = segments(folder, "refused")
        for segment in refused[: max(0, len(refused) - MAX_REFUSED)]:
            segment.remove()
        for segment in segments(folder):
            if age(segment) > bounds.max_age:
                _drop(segment, dropped)
            else:
                waiting.append((segment, segment.size()))
    total = sum(size for _, size in waiting)
    for segment, size in sorted(waiting, key=lambda each: (_ORDER.index(each[0].lane), each[0])):
        if total <= bounds.max_bytes - bounds.segment_bytes:
            return
        _drop(segment, dropped)
        total -= size


def _drop(segment: Segment, dropped: dict[Path, Dropped]) -> None:
    counts = dropped.setdefault(segment.path.parent, Counter())
    if segment.lane != "refused":  # what it is was told when it was refused
        with suppress(OSError):
            data = segment.path.read_bytes()[segment.acknowledged() :]
            for found in records_in(data, sealed=True):
                if found.record is not None and not found.is_done:
                    counts[found.record.category] += found.record.quantity if found.record.category == "span" else 1
                    if found.record.category == "transaction":
                        counts["span"] += found.record.quantity
    segment.remove()
