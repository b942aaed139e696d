"""Counts of discarded events that have not been reported to Sentry, in a file beside the records.

The process that drops a record is seldom the one that sends, and may belong to another service: the counts outlive
both.
"""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.directory import DISCARDED, EVICTION_LOCK
from brain_otel.delivery.spool.files import read_json, remove, status_of, write_atomically
from brain_otel.delivery.spool.locks import locked

MAX_ROWS = 1_000
"""Rows of the file that are read."""

MAX_NAME = 100
"""Characters of a category or a reason."""

MAX_QUANTITY = 2**40

DiscardedEvents = Counter[tuple[str, str]]
"""Quantities by category and reason, both in Sentry's words."""


def quantities(record: Record) -> Counter[str]:
    """Count the items that are lost with ``record``, by Sentry's categories."""
    return quantities_of(record.category, record.quantity)


def quantities_of(category: str, quantity: int) -> Counter[str]:
    """Count the items of a record of ``category``; a transaction counts its spans too."""
    return Counter(transaction=1, span=quantity) if category == "transaction" else Counter({category: quantity})


def add_discarded(folder: Path, discarded: Mapping[tuple[str, str], int]) -> None:
    """Add to the counts of a target; the caller holds the lock of the eviction."""
    if discarded:
        total = _read(folder) + Counter(discarded)
        with suppress(OSError):
            rows = [[category, reason, quantity] for (category, reason), quantity in sorted(total.items())]
            write_atomically(folder / DISCARDED, json.dumps(rows))


def keep_discarded(folder: Path, discarded: Mapping[tuple[str, str], int]) -> bool:
    """Add to the counts of a target, unless another process holds the lock; returns whether they were added."""
    with suppress(OSError), locked(folder.parent / EVICTION_LOCK) as is_ours:
        if is_ours:
            add_discarded(folder, discarded)
        return is_ours
    return False


def take_discarded(folder: Path) -> DiscardedEvents:
    """Remove and return the counts of a target; none while another process holds the lock."""
    with suppress(OSError):
        status_of(folder / DISCARDED)
        with locked(folder.parent / EVICTION_LOCK) as is_ours:
            if is_ours:
                found = _read(folder)
                remove(folder / DISCARDED)
                return found
    return Counter()


def _read(folder: Path) -> DiscardedEvents:
    discarded: DiscardedEvents = Counter()
    with suppress(OSError, ValueError, TypeError, OverflowError):
        for category, reason, quantity in read_json(folder / DISCARDED)[:MAX_ROWS]:
            if 0 < int(quantity) < MAX_QUANTITY:
                discarded[str(category)[:MAX_NAME], str(reason)[:MAX_NAME]] += int(quantity)
    return discarded
