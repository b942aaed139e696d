"""Counts of discarded events that have not been reported to Sentry, in a file beside the records.

The process that drops a record is seldom the one that sends, and may belong to another service: the counts outlive
both.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.directory import DISCARDED, EVICTION_LOCK, REPORTED
from brain_otel.delivery.spool.files import (
    read_json,
    remove,
    status_of,
    suppress_absence,
    write_atomically,
)
from brain_otel.delivery.spool.locks import locked
from brain_otel.runtime.fork import reset_in_child

MAX_ROWS = 1_000
"""Rows of the file that are read."""

MAX_NAME = 100
"""Characters of a category or a reason."""

MAX_QUANTITY = 2**40

KEPT = 24 * 3600.0
"""Seconds for which reported counts are kept."""

DiscardedEvents = Counter[tuple[str, str]]
"""Quantities by category and reason, both in Sentry's words."""


def quantities(record: Record) -> Counter[str]:
    """Count the items that are lost with ``record``, by Sentry's categories."""
    return quantities_of(record.category, record.quantity, len(record.body))


def quantities_of(category: str, quantity: int, length: int) -> Counter[str]:
    """Count the items of a record of ``category``; a transaction counts its spans too, and logs their bytes."""
    if category == "transaction":
        return Counter(transaction=1, span=quantity)
    return Counter({category: quantity, **({"log_byte": length} if category == "log_item" else {})})


def add_discarded(folder: Path, discarded: Mapping[tuple[str, str], int]) -> bool:
    """Add to the counts of a target, and return whether they were; the caller holds the lock of the eviction."""
    if discarded:
        with suppress(OSError):
            total = read_discarded(folder) + Counter(discarded)
            write_atomically(folder / DISCARDED, json.dumps(_rows(total)))
            return True
    return not discarded


def keep_discarded(folder: Path, discarded: Mapping[tuple[str, str], int], timeout: float = 0.0) -> bool:
    """Add to the counts of a target; returns whether they were added.

    Another process may hold the lock for more than ``timeout`` seconds, or the disk may be full.
    """
    with suppress(OSError), locked(folder.parent / EVICTION_LOCK, timeout=timeout) as is_ours:
        return is_ours and add_discarded(folder, discarded)
    return False


def take_discarded(folder: Path) -> DiscardedEvents:
    """Remove and return the counts of a target; none while another process holds the lock."""
    with suppress(OSError):
        status_of(folder / DISCARDED)
        with locked(folder.parent / EVICTION_LOCK) as is_ours:
            if is_ours:
                found = read_discarded(folder)
                remove(folder / DISCARDED)
                return found
    return Counter()


def keep_reported(folder: Path, discarded: Mapping[tuple[str, str], int], timeout: float = 0.0) -> bool:
    """Add to the reported counts of a target, which people can see; returns whether they were added.

    Another process may hold the lock for more than ``timeout`` seconds, or the disk may be full.
    """
    with suppress(OSError), locked(folder.parent / EVICTION_LOCK, timeout=timeout) as is_ours:
        if is_ours:
            since, total = read_reported(folder)
            rows = _rows(total + Counter(discarded))
            write_atomically(folder / REPORTED, json.dumps({"since": since, "rows": rows}))
        return is_ours
    return False


class ReportedCounts:
    """The reported counts of a target. Those that cannot be written wait for the next ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Leave to the parent of a forked child what the parent has reported."""
        self._lock = threading.Lock()
        self._unwritten: DiscardedEvents = Counter()

    def add(self, discarded: Mapping[tuple[str, str], int], timeout: float = 0.0) -> None:
        """Add ``discarded``, and wait up to ``timeout`` seconds for other processes."""
        with self._lock:
            counts, self._unwritten = self._unwritten + Counter(discarded), Counter()
        if counts and not keep_reported(self._folder, counts, timeout):
            with self._lock:
                self._unwritten.update(counts)


def read_reported(folder: Path) -> tuple[float, DiscardedEvents]:
    """The counts of a target that have been reported to Sentry, and since when; they are kept for a day."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        given = read_json(folder / REPORTED)
        if 0 <= time.time() - given["since"] < KEPT:
            return float(given["since"]), _counts(given["rows"])
    return time.time(), Counter()


def read_discarded(folder: Path) -> DiscardedEvents:
    """The counts of a target that have not been reported.

    Raises:
        OSError: There is no descriptor to read them with.
    """
    with suppress(ValueError), suppress_absence():
        return _counts(read_json(folder / DISCARDED))
    return Counter()


def _rows(discarded: DiscardedEvents) -> list[list[object]]:
    return [[category, reason, quantity] for (category, reason), quantity in sorted(discarded.items())]


def _counts(rows: Any) -> DiscardedEvents:
    """Counts from a file: rows that mean nothing end them."""
    discarded: DiscardedEvents = Counter()
    with suppress(ValueError, TypeError, KeyError, OverflowError):
        for category, reason, quantity in rows[:MAX_ROWS]:
            if 0 < int(quantity) < MAX_QUANTITY:
                discarded[str(category)[:MAX_NAME], str(reason)[:MAX_NAME]] += int(quantity)
    return discarded


def reported_in(record: Record) -> DiscardedEvents:
    """The counts in a report of ours that has not been sent."""
    discarded: DiscardedEvents = Counter()
    for each in json.loads(record.body.split(b"\n")[2])["discarded_events"]:
        discarded[each["category"], each["reason"]] += each["quantity"]
    return discarded


def client_report(discarded: DiscardedEvents) -> bytes:
    """An envelope that reports discarded events to Sentry."""
    rows = [
        {"reason": reason, "category": category, "quantity": quantity}
        for (category, reason), quantity in discarded.items()
    ]
    payload = json.dumps({"timestamp": time.time(), "discarded_events": rows}).encode()
    return b'{}\n{"type":"client_report","length":%d}\n%s\n' % (len(payload), payload)
