"""The spool's directory: what lies in it, how much that is, and what goes first when it is too much.

::

    DIRECTORY/                       mode 0700
        spool.json                   its bounds, for processes that have no configuration
        users.lock                   locked (shared) by each process that writes here
        ship.lock                    locked by the one process that sends
        evict.lock                   locked by the one that drops what is too much
        ship.log                     what the shipper's process has to say
        <target>/
            target.json              address and headers
            limits.json              what the target wants not to be sent for a while
            losses.json              what was dropped, until Sentry is told
            <name>.errors.v1         a segment: records, one behind the other (or .traces.v1)
            <name>.errors.v1.ack     how far it has been sent
            <name>.refused.v1        a record that the server does not take, and why

A segment's name is when it was begun (by the clock, and by the machine's time since which start), by which process,
and a number. What has another name belongs to somebody else, or to another version, and is left alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from brain_otel.configuration.settings import MIN_BYTES, SPOOL_AGE, SPOOL_BYTES
from brain_otel.delivery.target import Target
from brain_otel.runtime.fork import reset_in_child

if TYPE_CHECKING:
    from collections.abc import Iterator


PRIORITIES = ("errors", "traces")
"""In the order in which they are sent; dropped in the other."""


TARGET = "target.json"


BOUNDS = "spool.json"


ACK = ".ack"


SHIPPER_LOCK = "ship.lock"


CHECKS = 64
"""How often a process looks at the directory's size while it writes as much as that may hold."""


_NAME = re.compile(r"(\d{20})-([0-9a-f]{8})-(\d{10})-(\d{1,10})-(\d{1,10})\.(errors|traces|refused)\.v1")


_TARGET_ID = re.compile(r"[0-9a-f]{16}")


class Segment(NamedTuple):
    """One file of records."""

    created: int
    """Nanoseconds since 1970."""
    path: Path
    priority: str
    boot: str
    """Which start of the machine it was begun in."""
    uptime: int
    """Seconds since then when it was begun."""
    process: int
    """The id of who writes to it, or has."""

    @property
    def ack_path(self) -> Path:
        """The file that says how far this one has been sent."""
        return self.path.with_name(self.path.name + ACK)

    def acknowledged(self) -> int:
        """Bytes of it that have been sent."""
        try:
            return int.from_bytes(self.ack_path.read_bytes()[:8], "little")
        except OSError:
            return 0

    def size(self) -> int:
        """Bytes of it, 0 if it is gone."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def remove(self) -> None:
        """Take it away, itself before what says that it has been sent."""
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
        """Bytes after which a segment is closed and another begun."""
        return max(2**15, min(4 * 2**20, self.max_bytes // 32))

    @property
    def segment_age(self) -> float:
        """Seconds after which a segment is closed: a whole one goes when its beginning is too old."""
        return min(600.0, self.max_age / 10)

    @property
    def check_bytes(self) -> int:
        """Bytes that a process writes between two looks at the directory's size."""
        return self.max_bytes // CHECKS

    def low_water(self, writers: int) -> int:
        """Bytes that may stay when some have to go: each of ``writers`` may write until its next look but one."""
        return max(self.max_bytes // 2, self.max_bytes - self.segment_bytes - 2 * writers * self.check_bytes)


def segment_name(priority: str, number: int) -> str:
    """A name that no other process gives, and that sorts by time."""
    return f"{time.time_ns():020d}-{boot()}-{int(uptime()):010d}-{os.getpid()}-{number}.{priority}.v1"


def segments(folder: Path, *priorities: str) -> list[Segment]:
    """The segments of a target, the oldest first."""
    found = []
    for entry in _entries(folder):
        match = _NAME.fullmatch(entry.name)
        if match is not None and (not priorities or match[6] in priorities) and entry.is_file(follow_symlinks=False):
            created, up, process = int(match[1]), int(match[3]), int(match[4])
            found.append(Segment(created, Path(entry.path), match[6], match[2], up, process))
    return sorted(found, key=by_age)


def by_age(segment: Segment) -> tuple[bool, int, int, Path]:
    """What sorts segments, the oldest first, also when the clock was set meanwhile; other starts came before."""
    is_now = segment.boot == boot()
    return is_now, segment.uptime if is_now else 0, segment.created, segment.path


def remove_stray_acknowledgements(folder: Path) -> None:
    """Take away what tells of segments that are gone: who removed one was killed, or another was just sending it."""
    for entry in _entries(folder):
        segment = entry.name.removesuffix(ACK)
        if segment != entry.name and _NAME.fullmatch(segment) and not (folder / segment).exists():
            with suppress(OSError):
                Path(entry.path).unlink()


def targets(directory: Path) -> dict[Path, Target]:
    """The targets of a directory by their folders; a folder whose target cannot be read is left out."""
    found = {}
    for entry in sorted(_entries(directory), key=lambda each: each.name):
        if _TARGET_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            with suppress(OSError, ValueError):
                found[Path(entry.path)] = Target.from_json((Path(entry.path) / TARGET).read_text())
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in ``folder``, or nothing where that cannot be read."""
    with suppress(OSError), os.scandir(folder) as found:
        return list(found)
    return []


def read_bounds(directory: Path) -> Bounds:
    """The bounds that the directory's writers have left, or the default ones."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        given = json.loads((directory / BOUNDS).read_text())
        return Bounds(max(MIN_BYTES, int(given["max_bytes"])), float(given["max_age"]))
    return Bounds()


def make_private(directory: Path) -> None:
    """Make ``directory``, for its owner alone, if need be.

    Raises:
        OSError: that cannot be done, or it belongs to somebody else.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        directory.chmod(0o700)


def write_whole(path: Path, text: str) -> None:
    """Write a small file that nobody sees half of; not at all if it has that text already."""
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


def age(segment: Segment) -> float:
    """Seconds since ``segment`` was begun: by a clock that nobody sets, unless the machine has been restarted."""
    if segment.boot == boot():
        return max(0.0, int(uptime()) - segment.uptime)
    return max(0.0, time.time() - segment.created / 1e9)


@cache
def boot() -> str:
    """Which start of the machine this is."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return "00000000"  # another system than Linux; then the clock of a restart is taken for this one's


def uptime() -> float:
    """Seconds since the machine was started, the same for all processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Try to lock the file at ``path``; whether it is ours within the block."""
    descriptor = own(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        yield try_lock(descriptor, shared=shared)
    finally:
        let_go(descriptor)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file without waiting; whether that went well."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_empty(directory: Path) -> bool:
    """Whether nothing waits."""
    return not any(
        segment.acknowledged() < segment.size()
        for folder in targets(directory)
        for segment in segments(folder, *PRIORITIES)
    )


class _OwnDescriptors:
    """Open files that belong to this process alone, by descriptor: their device and inode.

    A lock of ``flock`` belongs to the open file, which a forked child shares. A child that outlived its parent would
    keep the parent's locks, and nobody could send, drop or remove anything.
    """

    def __init__(self) -> None:
        self.files: dict[int, tuple[int, int]] = {}
        reset_in_child(self)

    def _reset(self) -> None:
        """Close all of them, except descriptors that were reused for another file."""
        for descriptor, identity in list(self.files.items()):
            with suppress(OSError):
                status = os.fstat(descriptor)
                if (status.st_dev, status.st_ino) == identity:
                    os.close(descriptor)
        self.files.clear()


_own = _OwnDescriptors()


def own(descriptor: int) -> int:
    """Have ``descriptor`` closed in forked children; returns it."""
    status = os.fstat(descriptor)
    _own.files[descriptor] = status.st_dev, status.st_ino
    return descriptor


def let_go(descriptor: int) -> None:
    """Close a descriptor that :func:`own` has; never raises."""
    _own.files.pop(descriptor, None)
    with suppress(OSError):
        os.close(descriptor)
