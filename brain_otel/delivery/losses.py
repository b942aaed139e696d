"""What was dropped from a spool and Sentry has not been told of yet, in a file beside what waits.

Whoever drops is seldom who sends, and often not even of the same service: the counts have to outlive both.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from brain_otel.delivery.directory import locked, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from brain_otel.delivery.record import Record

LOSSES = "losses.json"
EVICTION_LOCK = "evict.lock"

Losses = Counter[tuple[str, str]]
"""How much was lost, by category and reason, both in Sentry's words."""


def quantities(record: Record) -> Counter[str]:
    """What is lost with ``record``, in Sentry's categories."""
    return lost_with(record.category, record.quantity)


def lost_with(category: str, quantity: int) -> Counter[str]:
    """What is lost with a record of ``category``: a transaction is lost with its spans."""
    return Counter(transaction=1, span=quantity) if category == "transaction" else Counter({category: quantity})


def add_losses(folder: Path, losses: Mapping[tuple[str, str], int]) -> None:
    """Note ``losses`` for the target of ``folder``; who calls holds the lock of the eviction."""
    if losses:
        total = _read(folder) + Counter(losses)
        with suppress(OSError):
            rows = [[category, reason, quantity] for (category, reason), quantity in sorted(total.items())]
            write_whole(folder / LOSSES, json.dumps(rows))


def keep_losses(folder: Path, losses: Mapping[tuple[str, str], int]) -> bool:
    """Note ``losses``, if the lock can be had; whether they are."""
    with suppress(OSError), locked(folder.parent / EVICTION_LOCK) as is_ours:
        if is_ours:
            add_losses(folder, losses)
        return is_ours
    return False


def take_losses(folder: Path) -> Losses:
    """What was noted, which is then the caller's to tell; nothing while somebody is noting more."""
    if not (folder / LOSSES).exists():
        return Counter()
    with suppress(OSError), locked(folder.parent / EVICTION_LOCK) as is_ours:
        if is_ours:
            found = _read(folder)
            (folder / LOSSES).unlink()
            return found
    return Counter()


def _read(folder: Path) -> Losses:
    losses: Losses = Counter()
    with suppress(OSError, ValueError, TypeError):
        for category, reason, quantity in json.loads((folder / LOSSES).read_text()):
            losses[str(category), str(reason)] += int(quantity)
    return losses
