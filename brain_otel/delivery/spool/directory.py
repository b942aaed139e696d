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
            reported.json            the discarded events of a day that have been reported
            <name>.errors.v1         a segment: records, one after the other (or .traces.v1)
            <name>.errors.v1.ack     the number of bytes that have been sent
            <name>.refused.v1        a record that the server rejected, and the reason

The name of a segment holds the time of its start by the clock, the id of the machine's boot and the uptime, the id of
its process, and a number. Files with other names belong to somebody else, or to another version: nothing here
touches them. ``losses.json`` and ``.refused.v1`` keep their names from before "discarded" and "rejected", because
spools outlive an upgrade.
"""

import os
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from brain_otel.configuration.sections.delivery import MIN_BYTES, SPOOL_AGE, SPOOL_BYTES
from brain_otel.delivery.record import PRIORITIES
from brain_otel.delivery.spool.files import (
    files_in,
    folders_in,
    is_shortage,
    read_file,
    read_json,
    remove,
    remove_stale_parts,
    status_of,
    suppress_absence,
)
from brain_otel.delivery.target import Target
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple

BOUNDS = "spool.json"
USERS_LOCK = "users.lock"
SHIPPER_LOCK = "ship.lock"
EVICTION_LOCK = "evict.lock"
SHIPPER_LOG = "ship.log"
TARGET = "target.json"
LIMITS = "limits.json"
DISCARDED = "losses.json"
REPORTED = "reported.json"
ACK = ".ack"
REJECTED = "refused"
"""Stands for a priority in the name of a rejected record."""

MAX_TARGETS = 100
"""Targets of a directory, the latest that changed; each takes a thread of the shipper."""

CHECKS = 64
"""Checks of the directory's size by one process while it writes ``max_bytes``."""

_NAME = expression(r"(\d{20})-([0-9a-f]{8})-(\d{10})-(\d{1,10})-(\d{1,10})\.(errors|traces|refused)\.v1")
_TARGET_ID = expression(r"[0-9a-f]{16}")


class Segment(NamedTuple):
    """One file of records."""

    folder: Path
    name: str
    created: int
    """Nanoseconds since 1970."""
    priority: str
    boot_id: str
    """The start of the machine in which it was begun."""
    uptime: int
    """Seconds between that start and its beginning."""
    process: int
    """The id of the process that writes to it, or has written."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / self.name

    @property
    def ack_path(self) -> Path:
        """The file with the number of bytes that have been sent."""
        return self.folder / (self.name + ACK)

    def acknowledged(self) -> int:
        """Bytes that have been sent.

        Raises:
            OSError: There is no descriptor to read the number with.
        """
        with suppress_absence():
            return int.from_bytes(read_file(self.ack_path)[:8], "little")
        return 0

    def size(self) -> int:
        """Bytes; 0 if the file is gone.

        Raises:
            OSError: There is no descriptor to look with.
        """
        with suppress_absence():
            return status_of(self.path).st_size
        return 0

    def age(self) -> float:
        """Seconds since it was begun, by a clock that nobody sets, unless the machine has restarted since."""
        if self.boot_id == boot_id():
            return max(0.0, int(uptime()) - self.uptime)
        return max(0.0, time.time() - self.created / 1e9)

    def order(self) -> tuple[bool, int, int, str]:
        """Sorts segments by age, also if somebody has set the clock; those of earlier starts come first."""
        is_current = self.boot_id == boot_id()
        return is_current, self.uptime if is_current else 0, self.created, self.name

    def remove(self) -> None:
        """Remove the records, then the acknowledgement."""
        remove(self.path)
        remove(self.ack_path)


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
    for name in files_in(folder):
        match = _NAME.fullmatch(name)
        if match is not None and (not priorities or match[6] in priorities):
            boot, priority = sys.intern(match[2]), sys.intern(match[6])  # one object for all: there may be many
            found.append(Segment(folder, name, int(match[1]), priority, boot, int(match[3]), int(match[4])))
    return sorted(found, key=Segment.order)


def remove_stray_files(folder: Path) -> None:
    """Remove acknowledgements without a segment, and parts of replacements.

    A process was killed, or was just sending a dropped segment.
    """
    names = files_in(folder)
    present = set(names)
    for name in names:
        segment = name.removesuffix(ACK)
        if segment != name and _NAME.fullmatch(segment) and segment not in present:
            remove(folder / name)
    remove_stale_parts(folder)


def targets(directory: Path, unreadable: dict[str, str] | None = None) -> dict[Path, Target]:
    """The targets of a directory by their folders.

    Those whose file cannot be read are left out; ``unreadable`` gets the reasons by the names of the folders.

    Raises:
        OSError: There is no descriptor to look with.
    """
    found = {}
    names = list(filter(_TARGET_ID.fullmatch, folders_in(directory)))
    if len(names) > MAX_TARGETS:
        names = sorted(names, key=lambda name: _changed(directory / name))[-MAX_TARGETS:]
    for name in sorted(names):
        try:
            found[directory / name] = Target.from_data(read_json(directory / name / TARGET))
        except (OSError, ValueError) as error:
            if is_shortage(error):
                raise
            if unreadable is not None:
                unreadable[name] = str(getattr(error, "strerror", None) or error)
    return found


def _changed(path: Path) -> float:
    """When the last segment was begun or removed."""
    try:
        return status_of(path).st_mtime
    except OSError:
        return 0.0


def is_empty(directory: Path) -> bool:
    """Whether every record has been sent.

    Raises:
        OSError: There is no descriptor to look with.
    """
    return all(map(is_sent, targets(directory)))


def is_sent(folder: Path) -> bool:
    """Whether every record of a target has been sent.

    Raises:
        OSError: There is no descriptor to look with.
    """
    return all(segment.acknowledged() >= segment.size() for segment in segments(folder, *PRIORITIES))


def read_bounds(directory: Path) -> Bounds:
    """The bounds that the writers have left in the directory, or the default.

    Raises:
        OSError: There is no descriptor to read them with; the default might drop what they allow.
    """
    with suppress(ValueError, TypeError, KeyError, AttributeError, OverflowError), suppress_absence():
        given = read_json(directory / BOUNDS)
        max_age = float(given["max_age"])
        if max_age > 0:
            return Bounds(max(MIN_BYTES, int(given["max_bytes"])), max_age)
    return Bounds()


@cache
def boot_id() -> str:
    """Identifies this start of the machine."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return "00000000"  # not Linux: a restart is not noticed


def uptime() -> float:
    """Seconds since the machine was started, the same for all processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
