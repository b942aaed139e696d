"""What goes when a spool is over its bounds: refused records, then the oldest traces, then the oldest errors."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from brain_otel.delivery.record import headers_in
from brain_otel.delivery.spool.directory import (
    age,
    by_age,
    locked,
    remove_stray_acknowledgements,
    segments,
    targets,
    write_whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from brain_otel.delivery.record import Record
    from brain_otel.delivery.spool.directory import Bounds, Segment


MAX_REFUSED = 100
"""Refused records that are kept for people to look at, for each target."""


PATIENCE = 0.05
"""Seconds to wait for another process that is at it."""


TELL = 60.0
"""Seconds between two lines about what was dropped."""


_ORDER = ("refused", "traces", "errors")


Dropped = Counter[str]
"""How much of each category was dropped."""


logger = logging.getLogger(__name__)


def evict(directory: Path, bounds: Bounds) -> dict[Path, Dropped]:
    """Bring ``directory`` within its bounds; what was dropped, by the folder of its target.

    Several processes may want to: one does, and the others wait a little for it, for what they wrote meanwhile would
    be too much. What was dropped is noted for Sentry.
    """
    dropped: dict[Path, Dropped] = {}
    deadline = time.monotonic() + PATIENCE
    with suppress(OSError):
        while not _evict_with_lock(directory, bounds, dropped) and time.monotonic() < deadline:
            time.sleep(0.001)
    return {folder: counts for folder, counts in dropped.items() if counts}


def _evict_with_lock(directory: Path, bounds: Bounds, dropped: dict[Path, Dropped]) -> bool:
    with locked(directory / EVICTION_LOCK) as is_ours:
        if is_ours:
            _evict(directory, bounds, dropped)
        return is_ours


def _evict(directory: Path, bounds: Bounds, dropped: dict[Path, Dropped]) -> None:
    waiting: list[tuple[Segment, int]] = []
    found = targets(directory)
    for folder in found:
        remove_stray_acknowledgements(folder)
        refused = segments(folder, "refused")
        for segment in refused[: max(0, len(refused) - MAX_REFUSED)]:
            segment.remove()
        for segment in segments(folder):
            if age(segment) > bounds.max_age:
                _drop(segment, dropped)
            else:
                waiting.append((segment, segment.size()))
    writers = {segment.process for segment, _ in waiting if age(segment) <= bounds.segment_age}
    total = sum(size for _, size in waiting)
    for segment, size in sorted(waiting, key=lambda each: (_ORDER.index(each[0].priority), by_age(each[0]))):
        if total <= bounds.low_water(len(writers)):
            break
        _drop(segment, dropped)
        total -= size
    for folder, counts in dropped.items():
        if found[folder].kind == "sentry":
            add_discarded(folder, {(category, "cache_overflow"): count for category, count in counts.items()})


def _drop(segment: Segment, dropped: dict[Path, Dropped]) -> None:
    counts = dropped.setdefault(segment.path.parent, Counter())
    if segment.priority != "refused":  # what it is was told when it was refused
        _count(segment, counts)
    segment.remove()


def _count(segment: Segment, counts: Dropped) -> None:
    """Count what has not been sent by the heads alone, without checksums: a request may be waiting for this."""
    with suppress(OSError):
        for category, quantity in headers_in(segment.path.read_bytes(), segment.acknowledged()):
            counts.update(lost_with(category, quantity))


class DropLog:
    """Says what was dropped from a directory: at once, and then at most once a minute."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._untold: Dropped = Counter()
        self._told: float | None = None

    def tell(self, dropped: dict[Path, Dropped]) -> None:
        """Add ``dropped`` to what is to be said."""
        for counts in dropped.values():
            self._untold.update(counts)
        now = time.monotonic()
        if self._untold and (self._told is None or now - self._told > TELL):
            self._told = now
            told, self._untold = self._untold, Counter()
            logger.warning("The spool %s is over its bounds; dropped: %s", self._directory, dict(told))


# What was dropped from a spool and Sentry has not been told of yet, in a file beside what waits.
#
# Whoever drops is seldom who sends, and often not even of the same service: the counts have to outlive both.

DISCARDED = "losses.json"


EVICTION_LOCK = "evict.lock"


DiscardedEvents = Counter[tuple[str, str]]
"""How much was lost, by category and reason, both in Sentry's words."""


def quantities(record: Record) -> Counter[str]:
    """What is lost with ``record``, in Sentry's categories."""
    return lost_with(record.category, record.quantity)


def lost_with(category: str, quantity: int) -> Counter[str]:
    """What is lost with a record of ``category``: a transaction is lost with its spans."""
    return Counter(transaction=1, span=quantity) if category == "transaction" else Counter({category: quantity})


def add_discarded(folder: Path, discarded: Mapping[tuple[str, str], int]) -> None:
    """Note ``discarded`` for the target of ``folder``; who calls holds the lock of the eviction."""
    if discarded:
        total = _read(folder) + Counter(discarded)
        with suppress(OSError):
            rows = [[category, reason, quantity] for (category, reason), quantity in sorted(total.items())]
            write_whole(folder / DISCARDED, json.dumps(rows))


def keep_discarded(folder: Path, discarded: Mapping[tuple[str, str], int]) -> bool:
    """Note ``discarded``, if the lock can be had; whether they are."""
    with suppress(OSError), locked(folder.parent / EVICTION_LOCK) as is_ours:
        if is_ours:
            add_discarded(folder, discarded)
        return is_ours
    return False


def take_discarded(folder: Path) -> DiscardedEvents:
    """What was noted, which is then the caller's to tell; nothing while somebody is noting more."""
    if not (folder / DISCARDED).exists():
        return Counter()
    with suppress(OSError), locked(folder.parent / EVICTION_LOCK) as is_ours:
        if is_ours:
            found = _read(folder)
            (folder / DISCARDED).unlink()
            return found
    return Counter()


def _read(folder: Path) -> DiscardedEvents:
    discarded: DiscardedEvents = Counter()
    with suppress(OSError, ValueError, TypeError):
        for category, reason, quantity in json.loads((folder / DISCARDED).read_text()):
            discarded[str(category), str(reason)] += int(quantity)
    return discarded
