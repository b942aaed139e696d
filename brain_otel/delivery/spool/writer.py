"""The on-disk queue, as the application sees it: records are appended and, once they are, survive the process.

Each process writes to segments of its own, so that no two ever write to one file. One ``write`` is one record.
A segment that a process has open carries its lock, by which the shipper knows that more may come.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from brain_otel.delivery.record import MAX_BODY, framed
from brain_otel.delivery.spool.directory import (
    BOUNDS,
    TARGET,
    let_go,
    make_private,
    own,
    segment_name,
    try_lock,
    write_whole,
)
from brain_otel.delivery.spool.eviction import DropLog, evict
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.threads import start_daemon

if TYPE_CHECKING:
    from pathlib import Path

    from brain_otel.delivery.record import Record
    from brain_otel.delivery.spool.directory import Bounds
    from brain_otel.delivery.target import Target


FULL_PAUSE = 10.0
"""Seconds between two attempts to make room on a disk that is full: to look for it is work, and a request waits."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Open:
    """A segment that this process writes to."""

    __slots__ = ("begun", "descriptor", "path", "size")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = own(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600))
        self.size = 0
        self.begun = time.monotonic()
        if not try_lock(self.descriptor, shared=True):  # the shipper is just about to take an empty one away
            let_go(self.descriptor)
            raise FileNotFoundError(errno.ENOENT, "the segment is being removed")

    def write(self, data: bytes) -> None:
        """Append ``data`` whole or not at all."""
        if os.fstat(self.descriptor).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the segment has been removed")
        written = os.write(self.descriptor, data)
        if written != len(data):
            os.ftruncate(self.descriptor, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def close(self) -> None:
        if not self.size:  # a disk that was full, say
            with suppress(OSError):
                self.path.unlink()
        let_go(self.descriptor)


class Spool:
    """Records of this process for one target."""

    def __init__(self, directory: Path, target: Target, bounds: Bounds) -> None:
        self.directory = directory
        self.folder = directory / target.id
        self._target = target
        self._bounds = bounds
        self.largest = min(MAX_BODY, bounds.max_bytes // 4)
        """Bytes of the largest body there is room for."""
        self._drop_log = DropLog(directory)
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()
        self._number = 0
        self._until_check = 0
        self._full_until = 0.0
        self._is_prepared = False
        self._tidying: threading.Thread | None = None
        reset_in_child(self)

    def append(self, record: Record) -> None:
        """Write ``record``; when this returns it outlives the process.

        Raises:
            OSError: it cannot be written, and has not been in part either.
        """
        data = framed(record)
        with self._lock:
            if not self._is_prepared:
                self.prepare()
            try:
                self._append(record.priority, data)
            except FileNotFoundError:  # somebody has removed the segment, or the directory
                self._close(record.priority)
                self._append(record.priority, data)
            except OSError as error:
                self._leave(record.priority, error)
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or time.monotonic() < self._full_until:
                    raise
                self._full_until = time.monotonic() + FULL_PAUSE
                self._make_room()
                self._append(record.priority, data)
            self._until_check -= len(data)
            is_due = self._until_check <= 0
            if is_due:
                self._until_check = self._bounds.check_bytes
        if is_due:
            self._tidy()

    def prepare(self) -> None:
        """Make the directory and what describes it.

        Raises:
            OSError: that cannot be done.
        """
        make_private(self.directory)
        make_private(self.folder)
        write_whole(self.directory / BOUNDS, json.dumps(self._bounds._asdict()))
        write_whole(self.folder / TARGET, self._target.to_json())
        self._is_prepared = True

    def close(self) -> None:
        """Let the shipper know that no more comes."""
        with self._lock:
            for priority in list(self._open):
                self._close(priority)

    def _append(self, priority: str, data: bytes) -> None:
        segment = self._open.get(priority)
        if segment is not None and self._is_full(segment):
            self._close(priority)
            segment = None
        if segment is None:
            segment = self._open[priority] = self._begin(priority)
        segment.write(data)

    def _is_full(self, segment: _Open) -> bool:
        return segment.size >= self._bounds.segment_bytes or (
            time.monotonic() - segment.begun > self._bounds.segment_age
        )

    def _begin(self, priority: str) -> _Open:
        self._number += 1
        try:
            return _Open(self.folder / segment_name(priority, self._number))
        except FileNotFoundError:
            self.prepare()
            return _Open(self.folder / segment_name(priority, self._number))

    def _close(self, priority: str) -> None:
        segment = self._open.pop(priority, None)
        if segment is not None:
            segment.close()

    def _tidy(self) -> None:
        """Keep the directory within its bounds: on a thread, for a request waits; here if that one falls behind."""
        with guarded("keeping the spool within its bounds"):
            if self._tidying is None or not self._tidying.is_alive():
                self._tidying = start_daemon(self._make_room, "brain_otel.spool")
                if self._tidying is not None:
                    return
            self._make_room()

    def _leave(self, priority: str, error: OSError) -> None:
        """Go on in another segment, unless it is the disk that is full: an empty one is then tried again later."""
        segment = self._open.get(priority)
        if segment is not None and (segment.size or error.errno not in _FULL):
            self._close(priority)

    def _make_room(self) -> None:
        self._drop_log.tell(evict(self.directory, self._bounds))

    def _reset(self) -> None:
        """In a forked child the open segments are the parent's, and have been let go."""
        self._lock = threading.Lock()
        self._open = {}
        self._tidying = None
