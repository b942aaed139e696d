"""What can be set of delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


SPOOL_BYTES = 256 * 2**20
"""What a spool may hold where nothing else is said."""

SPOOL_AGE = 24 * 3600.0
"""Seconds after which what waits is dropped where nothing else is said."""

CONNECTIONS = 4
"""Requests under way at once, where that much waits: an answer from far away takes its time."""


class SpoolSettings(NamedTuple):
    """The on-disk queue."""

    directory: Path
    max_bytes: int = SPOOL_BYTES
    """Bytes of all that waits; the oldest traces go first, errors last."""
    max_age: float = SPOOL_AGE
    """Seconds after which what waits is dropped."""


class DeliverySettings(NamedTuple):
    """How what is to be sent is kept until it is."""

    spool: SpoolSettings | None = None
    """None: what waits is in memory."""
    shipper: Literal["thread", "process", "external"] = "thread"
    """Who sends what is spooled: this process, one beside it that this one starts, or ``brain-otel ship``."""
