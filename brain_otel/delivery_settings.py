"""What can be set of delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SpoolSettings:
    """The on-disk queue."""

    directory: Path
    max_bytes: int = 256 * 2**20
    """Bytes of all that waits; the oldest traces go first, errors last."""
    max_age: float = 24 * 3600.0
    """Seconds after which what waits is dropped."""


@dataclass(frozen=True, kw_only=True)
class DeliverySettings:
    """How what is to be sent is kept until it is."""

    spool: SpoolSettings | None = None
    """None: what waits is in memory."""
    shipper: Literal["thread", "process", "external"] = "thread"
    """Who sends what is spooled: this process, one beside it that this one starts, or ``brain-otel ship``."""
