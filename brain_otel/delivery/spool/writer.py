"""The writing side of the spool, the queue on disk: a record that was appended outlives the process.

Each process writes to files of its own, its *segments*, so no process waits for another. One ``write`` is one record,
or several of one priority; one that a crash cuts off is recognized by its checksum. A process locks the segments that
it has open. The lock tells the shipper that more records may come, and goes with the process.
"""

import errno
import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from brain_otel.delivery.record import MAX_BODY, Record, framed
from brain_otel.delivery.spool.directory import (
    BOUNDS,
    EVICTION_LOCK,
    SHIPPER_LOCK,
    TARGET,
    USERS_LOCK,
    Bounds,
    segment_name,
)
from brain_otel.delivery.spool.files import open_file, prepare_folder, remove, write_atomically
from brain_otel.delivery.spool.locks import close_own, open_own, try_lock
from brain_otel.delivery.target import Target
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.threads import start_daemon

if TYPE_CHECKING:
    from brain_otel.delivery.spool import eviction
else:
    # The first record needs it.
    eviction = late_module("brain_otel.delivery.spool.eviction")

FULL_PAUSE = 10.0
"""Seconds between attempts to make room on a full disk, which take time while a request waits."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _OpenSegment:
    """A segment that this process writes to."""

    __slots__ = ("descriptor", "path", "size", "started")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        self.size = 0
        self.started = time.monotonic()
        if not try_lock(self.descriptor, shared=True):  # the shipper is removing the empty file
            close_own(self.descriptor)
            raise FileNotFoundError(errno.ENOENT, "the segment is being removed")

    def write(self, data: bytes) -> None:
        """Append all of ``data`` or nothing."""
        if os.fstat(self.descriptor).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the segment has been removed")
        written = os.write(self.descriptor, data)
        if written != len(data):
            os.ftruncate(self.descriptor, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def close(self) -> None:
        if not self.size:  # the disk was full, for example
            remove(self.path)
        close_own(self.descriptor)


class Spool:
    """The records of this process for one target."""

    def __init__(self, directory: Path, target: Target, bounds: Bounds) -> None:
        self.directory = directory
        self.folder = directory / target.id
        self._target = target
        self._bounds = bounds
        self.share = bounds.max_bytes // 4
        """Bytes of the largest body that displaces no others."""
        self.largest = min(MAX_BODY, self.share)
        """Bytes of the largest body that can be written."""
        self._drop_log: eviction.DropLog | None = None
        self._number = 0
        self._until_check = 0
        self._full_until = 0.0
        self._is_prepared = False
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Start without open segments: those that a forked child inherits belong to the parent."""
        self._lock = threading.Lock()
        self._open: dict[str, _OpenSegment] = {}
        self._evicting: threading.Thread | None = None

    def append(self, *records: Record) -> None:
        """Write ``records`` of one priority; they outlive the process as soon as this returns.

        Raises:
            OSError: They cannot be written. No part of them is on disk.
        """
        if self._drop_log is None:  # an import waits for other threads, and must not do so within the lock
            self._drop_log = eviction.DropLog(self.directory)
        data, priority = b"".join(map(framed, records)), records[0].priority
        with self._lock:
            try:
                if not self._is_prepared:
                    self.prepare()
                self._append(priority, data)
            except FileNotFoundError:  # somebody has removed the segment, or the directory
                self._close(priority)
                self._append(priority, data)
            except OSError as error:
                self._close_after(priority, error)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or time.monotonic() < self._full_until:
                    raise
                self._full_until = time.monotonic() + FULL_PAUSE
                self._make_room()
                self._append(priority, data)
            self._until_check -= len(data)
            is_due = self._until_check <= 0
            if is_due:
                self._until_check = self._bounds.check_bytes
        if is_due:
            self._check_size()

    def prepare(self) -> None:
        """Create the directory, and the files that describe it.

        Raises:
            OSError: They cannot be created.
        """
        prepare_folder(self.directory, is_shared=True)
        for name in (USERS_LOCK, SHIPPER_LOCK, EVICTION_LOCK):  # on a full disk they could not be created later
            os.close(open_file(self.directory / name, os.O_RDWR | os.O_CREAT))
        prepare_folder(self.folder)
        with suppress(OSError):  # the shipper can do without
            write_atomically(self.directory / BOUNDS, json.dumps(self._bounds._asdict()))
        write_atomically(self.folder / TARGET, self._target.to_json())
        self._is_prepared = True

    def close(self) -> None:
        """Tell the shipper that no more records come."""
        with self._lock:
            for priority in list(self._open):
                self._close(priority)

    def _append(self, priority: str, data: bytes) -> None:
        segment = self._open.get(priority)
        if segment is not None and self._is_complete(segment):
            self._close(priority)
            segment = None
        if segment is None:
            segment = self._open[priority] = self._create(priority)
        segment.write(data)

    def _is_complete(self, segment: _OpenSegment) -> bool:
        age = time.monotonic() - segment.started
        return segment.size >= self._bounds.segment_bytes or age > self._bounds.segment_age

    def _create(self, priority: str) -> _OpenSegment:
        self._number += 1
        try:
            return _OpenSegment(self.folder / segment_name(priority, self._number))
        except FileNotFoundError:
            self.prepare()
            return _OpenSegment(self.folder / segment_name(priority, self._number))

    def _close(self, priority: str) -> None:
        segment = self._open.pop(priority, None)
        if segment is not None:
            segment.close()

    def _close_after(self, priority: str, error: OSError) -> None:
        """Close the segment after ``error``. An empty one stays open if the disk is full, for the next attempt."""
        segment = self._open.get(priority)
        if segment is not None and (segment.size or error.errno not in _DISK_FULL):
            self._close(priority)

    def _check_size(self) -> None:
        """Evict records on another thread, because a request waits here; on this thread if the other falls behind."""
        with guarded("keeping the spool within its bounds"):
            if self._evicting is None or not self._evicting.is_alive():
                self._evicting = start_daemon(self._make_room, "brain_otel.spool")
                if self._evicting is not None:
                    return
            self._make_room()

    def _make_room(self) -> None:
        dropped = eviction.evict(self.directory, self._bounds)
        if self._drop_log is not None:
            self._drop_log.add(dropped)
