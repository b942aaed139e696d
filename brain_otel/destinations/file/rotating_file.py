"""A file that several processes append lines to and rotate at a maximum size."""

import errno
import os
import threading
import time
from contextlib import contextmanager

try:
    import fcntl
except ImportError:
    _LOCKS = False  # Windows, where only one process may write to a file
else:
    _LOCKS = True

from collections.abc import Iterator
from pathlib import Path

from brain_otel.runtime.fork import reset_in_child

LOCK_TIMEOUT = 5.0
"""Seconds to wait for another process that writes to the same file; a stopped one would hold the lock forever."""


class RotatingFile:
    """Appends lines to a file; at ``max_bytes`` it becomes ``path.1``, that becomes ``path.2``, up to ``backups``.

    Only the owner can read the files. A lock on ``path.lock`` keeps other processes out while a line is written. A
    line that fits only in part is removed again.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.backups = backups
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Append ``line``, which ends with a newline, and create a missing folder.

        Raises:
            OSError: the line cannot be written.
            ValueError: the line is longer than ``max_bytes``.
        """
        if len(line) > self.max_bytes:
            raise ValueError(f"a line of {len(line)} bytes is longer than max_bytes, {self.max_bytes}")
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                if self._size() + len(line) > self.max_bytes:
                    self._rotate()
                self._append(line)

    def check(self) -> None:
        """Check whether this user can write the file, without creating it: it would belong to the wrong user.

        Raises:
            OSError: the user cannot.
        """
        if self.path.exists():
            os.close(os.open(self.path, os.O_WRONLY | os.O_APPEND))
            return
        folder = next(each for each in self.path.absolute().parents if each.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and line and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # a killed process may have left half a line
            left = memoryview(line)
            try:
                while left:
                    left = left[os.write(descriptor, left) :]
            except OSError:
                if len(left) < len(line):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not _LOCKS:
            yield
            return
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            try:
                yield
            finally:
                # Not left to close(): a child forked meanwhile has a copy of the descriptor and would keep the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        for number in range(self.backups, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self.path
            if newer.exists():
                newer.replace(older)
        if self.backups == 0:
            self.path.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return
