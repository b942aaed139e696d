"""File locks, and open files that forked children close.

A lock of ``flock`` belongs to the open file, which a forked child shares. A child that outlives its parent would keep
the parent's locks, and nobody could send, drop or remove anything. So each child closes these files.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from brain_otel.delivery.spool.files import open_file
from brain_otel.runtime.fork import reset_in_child


class _OwnFiles:
    """The open files of this process, by descriptor: their device and inode."""

    def __init__(self) -> None:
        self.by_descriptor: dict[int, tuple[int, int]] = {}
        reset_in_child(self)

    def _reset(self) -> None:
        """Close all of them, except descriptors that now stand for another file."""
        for descriptor, identity in list(self.by_descriptor.items()):
            with suppress(OSError):
                status = os.fstat(descriptor)
                if (status.st_dev, status.st_ino) == identity:
                    os.close(descriptor)
        self.by_descriptor.clear()


_own_files = _OwnFiles()


def open_own(path: Path, flags: int) -> int:
    """Open ``path`` for its owner alone, until :func:`close_own` or a fork closes it.

    Raises:
        OSError: It cannot be opened.
    """
    descriptor = open_file(path, flags)
    status = os.fstat(descriptor)
    _own_files.by_descriptor[descriptor] = status.st_dev, status.st_ino
    return descriptor


def close_own(descriptor: int) -> None:
    """Close a file from :func:`open_own`; never raises."""
    _own_files.by_descriptor.pop(descriptor, None)
    with suppress(OSError):
        os.close(descriptor)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file if that is possible at once; returns whether it was."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def locked(path: Path, *, timeout: float = 0.0) -> Iterator[bool]:
    """Try for up to ``timeout`` seconds to lock the file at ``path``; the value tells whether it is locked."""
    descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        deadline = time.monotonic() + timeout
        while not (is_ours := try_lock(descriptor)) and time.monotonic() < deadline:
            time.sleep(0.001)
        yield is_ours
    finally:
        close_own(descriptor)


def is_locked(path: Path) -> bool:
    """Whether somebody else has locked the file at ``path``; creates nothing."""
    try:
        descriptor = open_own(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        close_own(descriptor)
