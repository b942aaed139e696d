"""``distribution.brain_otel.delivery``: where telemetry waits until it is sent."""

import os.path
from pathlib import Path
from typing import Annotated, Any, Literal

from brain_otel.configuration.values import BadValueError, number, read_fields
from brain_otel.runtime.named_tuple import NamedTuple

MIN_BYTES = 2**20
"""The smallest allowed bound of a spool, in bytes."""

SPOOL_BYTES = 256 * 2**20
"""Default bound of a spool, in bytes."""

SPOOL_AGE = 24 * 3600.0
"""Default age in seconds after which an unsent record is dropped."""

LOCK_TIMEOUT = 0.2
"""Seconds to wait at the end of a process for others that write counts or evict."""

CONNECTIONS = 4
"""Concurrent requests while many records wait; a distant backend answers slowly."""


def _directory(value: Any) -> Path | None:
    if value == "":
        return None
    if not isinstance(value, str) or not Path(value).is_absolute() or "\0" in value:
        raise BadValueError(value, "an absolute path")
    if os.path.exists(value) and not os.path.isdir(value):  # noqa: PTH110, PTH112 - pathlib's raise OSError
        raise BadValueError(value, "the path of a directory, which need not exist")
    return Path(value)


class SpoolSettings(NamedTuple):
    """The on-disk queue."""

    directory: Annotated[Path, _directory]
    max_bytes: Annotated[int, number(MIN_BYTES, 2**50, whole=True, unit="bytes")] = SPOOL_BYTES
    """Bytes of all waiting records; beyond it the oldest traces are dropped first, errors last."""
    max_age: Annotated[float, number(60, 30 * 24 * 3600, unit="seconds")] = SPOOL_AGE
    """Seconds after which an unsent record is dropped."""


def _spool(given: Any) -> SpoolSettings | None:
    values = read_fields(SpoolSettings, given)
    return SpoolSettings(**values) if values.get("directory") else None


class DeliverySettings(NamedTuple):
    """Where telemetry waits until it is sent, and who sends it."""

    spool: Annotated[SpoolSettings | None, _spool] = None
    """None: records wait in memory."""
    shipper: Literal["thread", "process", "external"] = "thread"
    """Who sends: a thread of this process, a process that it starts, or, from a spool, ``brain-otel ship``."""
