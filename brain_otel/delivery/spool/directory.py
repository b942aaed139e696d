"""The spool's directory: its files, its bounds and its segments.

::

    DIRECTORY/                       mode 0700
        spool.json                   the bounds, for processes without a configuration
        users.lock                   locked (shared) by each process that writes here
        ship.lock                    locked by the one process that sends
        evict.lock                   locked by a process that drops records
        ship.log                     the log of the shipper's process
        <target>/
            target.json              URL and headers
            limits.json              the target's rate limits
            losses.json              discarded events, until they are reported to Sentry
            <name>.errors.v1         a segment: records, one after the other (or .traces.v1)
            <name>.errors.v1.ack     the number of bytes that have been sent
            <name>.refused.v1        a record that the server rejected, and the reason

The name of a segment holds the time of its start by the clock, the id of the machine's boot and the uptime, the id of
its process, and a number. Files with other names belong to somebody else, or to another version: nothing here
touches them. ``losses.json`` and ``.refused.v1`` keep their names from before "discarded" and "rejected", because
spools outlive an upgrade.
"""

import json
import os
import re
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from brain_otel.configuration.settings import MIN_BYTES, SPOOL_AGE, SPOOL_BYTES
from brain_otel.delivery.record import PRIORITIES
from brain_otel.delivery.target import Target

BOUNDS = "spool.json"
USERS_LOCK = "users.lock"
SHIPPER_LOCK = "ship.lock"
EVICTION_LOCK = "evict.lock"
SHIPPER_LOG = "ship.log"
TARGET = "target.json"
LIMITS = "limits.json"
DISCARDED = "losses.json"
ACK = ".ack"
REJECTED = "refused"
"""Stands for a priority in the name of a rejected record."""

CHECKS = 64
"""Checks of the directory's size by one process while it writes ``max_bytes``."""

_NAME = re.compile(r"(\d{20})-([0-9a-f]{8})-(\d{10})-(\d{1,10})-(\d{1,10})\.(errors|traces|refused)\.v1")
_TARGET_ID = re.compile(r"[0-9a-f]{16}")


class Segment(NamedTuple):
    """One file of records."""

    created: int
    """Nanoseconds since 1970."""
    path: Path
    priority: str
    boot_id: str
    """The start of the machine in which it was begun."""
    uptime: int
    """Seconds between that start and its beginning."""
    process: int
    """The id of the process that writes to it, or has written."""

    @property
    def ack_path(self) -> Path:
        """The file with the number of bytes that have been sent."""
        return self.path.with_name(self.path.name + ACK)

    def acknowledged(self) -> int:
        """Bytes that have been sent."""
        try:
            return int.from_bytes(self.ack_path.read_bytes()[:8], "little")
        except OSError:
            return 0

    def size(self) -> int:
        """Bytes; 0 if the file is gone."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def age(self) -> float:
        """Seconds since it was begun, by a clock that nobody sets, unless the machine has restarted since."""
        if self.boot_id == boot_id():
            return max(0.0, int(uptime()) - self.uptime)
        return max(0.0, time.time() - self.created / 1e9)

    def order(self) -> tuple[bool, int, int, Path]:
        """Sorts segments by age, also if somebody has set the clock; those of earlier starts come first."""
        is_current = self.boot_id == boot_id()
        return is_current, self.uptime if is_current else 0, self.created, self.path

    def remove(self) -> None:
        """Remove the records, then the acknowledgement."""
        for path in (self.path, self.ack_path):
            with suppress(OSError):
                path.unlink()


class Bounds(NamedTuple):
    """How much a directory may hold."""

    max_bytes: int = SPOOL_BYTES
    max_age: float = SPOOL_AGE
    """Seconds."""

    @property
    def segment_bytes(self) -> int:
        """Bytes after which the next segment begins."""
        return max(2**15, min(4 * 2**20, self.max_bytes // 32))

    @property
    def segment_age(self) -> float:
        """Seconds after which the next segment begins: a segment expires as a whole, with its first record."""
        return min(600.0, self.max_age / 10)

    @property
    def check_bytes(self) -> int:
        """Bytes that a process writes between two checks of the directory's size."""
        return self.max_bytes // CHECKS

    def low_water(self, writers: int) -> int:
        """Bytes that may stay after an eviction: each of ``writers`` may write until its next check but one."""
        return max(self.max_bytes // 2, self.max_bytes - self.segment_bytes - 2 * writers * self.check_bytes)


def segment_name(priority: str, number: int) -> str:
    """A name that no other process uses."""
    return f"{time.time_ns():020d}-{boot_id()}-{int(uptime()):010d}-{os.getpid()}-{number}.{priority}.v1"


def segments(folder: Path, *priorities: str) -> list[Segment]:
    """The segments of a target, the oldest first."""
    found = []
    for entry in _entries(folder):
        match = _NAME.fullmatch(entry.name)
        if match is not None and (not priorities or match[6] in priorities) and entry.is_file(follow_symlinks=False):
            created, up, process = int(match[1]), int(match[3]), int(match[4])
            found.append(Segment(created, Path(entry.path), match[6], match[2], up, process))
    return sorted(found, key=Segment.order)


def remove_stray_acknowledgements(folder: Path) -> None:
    """Remove acknowledgements without a segment: a process was killed, or was just sending a dropped segment."""
    for entry in _entries(folder):
        segment = entry.name.removesuffix(ACK)
        if segment != entry.name and _NAME.fullmatch(segment) and not (folder / segment).exists():
            with suppress(OSError):
                Path(entry.path).unlink()


def targets(directory: Path) -> dict[Path, Target]:
    """The targets of a directory by their folders, without those whose file cannot be read."""
    found = {}
    for entry in sorted(_entries(directory), key=lambda each: each.name):
        if _TARGET_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            with suppress(OSError, ValueError):
                found[Path(entry.path)] = Target.from_json((Path(entry.path) / TARGET).read_text())
    return found


def is_empty(directory: Path) -> bool:
    """Whether every record has been sent."""
    return all(map(is_sent, targets(directory)))


def is_sent(folder: Path) -> bool:
    """Whether every record of a target has been sent."""
    return all(segment.acknowledged() >= segment.size() for segment in segments(folder, *PRIORITIES))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of ``folder``, or none if it cannot be read."""
    with suppress(OSError), os.scandir(folder) as found:
        return list(found)
    return []


def read_bounds(directory: Path) -> Bounds:
    """The bounds that the writers have left in the directory, or the default."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        given = json.loads((directory / BOUNDS).read_text())
        return Bounds(max(MIN_BYTES, int(given["max_bytes"])), float(given["max_age"]))
    return Bounds()


def make_private(directory: Path) -> None:
    """Create ``directory`` if it does not exist, for its owner alone.

    Raises:
        OSError: It cannot be created, or belongs to somebody else.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        directory.chmod(0o700)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file, unless it has that text already; no reader sees a part of it.

    Raises:
        OSError: It cannot be written.
    """
    with suppress(OSError):
        if path.read_text() == text:
            return
    part = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    part.replace(path)


@cache
def boot_id() -> str:
    """Identifies this start of the machine."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return "00000000"  # not Linux: a restart is not noticed


def uptime() -> float:
    """Seconds since the machine was started, the same for all processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
