"""What waits to be sent, as the sender sees it; and what waits on disk, in the segments of many processes."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from brain_otel.delivery.record import DONE, DONE_OFFSET, Found, framed, records_in
from brain_otel.delivery.spool.directory import PRIORITIES, let_go, own, segment_name, segments, try_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brain_otel.delivery.record import Record
    from brain_otel.delivery.spool.directory import Segment

WINDOW = 2**19
"""Bytes of a segment that are read at once."""

AHEAD = 64
"""Records of a segment that are read before others are sent; a few of them may have to be sent again later."""


class QueuedRecord(Protocol):
    """A record that has been taken from a backlog, and is in it until it is done with."""

    @property
    def record(self) -> Record:
        """The record."""


W = TypeVar("W", bound=QueuedRecord)


class Queue(Protocol[W]):
    """Records in the order in which they are to be sent."""

    def take(self, count: int, may_send: Callable[[W], bool]) -> list[W]:
        """Up to ``count`` records that may be sent, errors first."""

    def done(self, waiting: W) -> None:
        """Take a record out for good."""

    def refuse(self, waiting: W, reason: str) -> None:
        """Take a record out that will never be taken, and remember why."""


class SpooledRecord:
    """A record in a segment."""

    __slots__ = ("found", "reader", "record")

    def __init__(self, record: Record, reader: _Reader, found: Found) -> None:
        self.record = record
        self.reader = reader
        self.found = found


class _Reader:
    """One segment that is being sent: what of it has been read, and what of that has been sent."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.descriptor = own(os.open(segment.path, os.O_RDWR))
        self.acknowledged = segment.acknowledged()
        self.pending: deque[SpooledRecord] = deque()
        self._read_to = self.acknowledged
        self._done: dict[int, int] = {}
        self._ack: int | None = None
        self.damaged = 0

    def fill(self) -> None:
        """Read on, if there is little to send."""
        if len(self.pending) >= AHEAD:
            return
        if self._read_to >= os.fstat(self.descriptor).st_size:
            return
        sealed = self.is_sealed()
        size = os.fstat(self.descriptor).st_size  # after that look: what is sealed does not grow
        window = WINDOW
        while True:
            data = os.pread(self.descriptor, window, self._read_to)
            whole = self._read_to + len(data) >= size
            found = list(records_in(data, sealed=sealed and whole))
            if found or whole:
                break
            window *= 4
        base = self._read_to
        for each in found:
            end = base + each.end
            if each.record is None or each.is_done:
                self.damaged += each.end - each.start if each.record is None else 0
                self._acknowledge(base + each.start, end)
            else:
                self.pending.append(SpooledRecord(each.record, self, Found(base + each.start, end, None)))
            self._read_to = end

    def is_sealed(self) -> bool:
        """Whether nobody writes to it any more."""
        return try_lock(self.descriptor)

    def is_spent(self) -> bool:
        """Whether all of it has been sent and nothing more comes."""
        return not self.pending and self.is_sealed() and self.acknowledged >= os.fstat(self.descriptor).st_size

    def done(self, waiting: SpooledRecord) -> None:
        """``waiting`` has been sent, or never will be."""
        with suppress(ValueError):
            self.pending.remove(waiting)
        if waiting.found.start != self.acknowledged:  # out of turn: another has to be sent again
            with suppress(OSError):
                os.pwrite(self.descriptor, DONE, waiting.found.start + DONE_OFFSET)
        self._acknowledge(waiting.found.start, waiting.found.end)

    def _acknowledge(self, start: int, end: int) -> None:
        self._done[start] = end
        before = self.acknowledged
        while self.acknowledged in self._done:
            self.acknowledged = self._done.pop(self.acknowledged)
        if self.acknowledged != before:
            with suppress(OSError):
                if self._ack is None:
                    self._ack = own(os.open(self.segment.ack_path, os.O_WRONLY | os.O_CREAT, 0o600))
                os.pwrite(self._ack, self.acknowledged.to_bytes(8, "little"), 0)

    def close(self) -> None:
        """Let the files go."""
        for descriptor in (self.descriptor, self._ack):
            if descriptor is not None:
                let_go(descriptor)


class SpoolQueue:
    """The segments of one target. One process at a time may have it: who holds the directory's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[Path, _Reader] = {}
        self.damaged = 0
        """Bytes that were no records."""

    def take(self, count: int, may_send: Callable[[SpooledRecord], bool]) -> list[SpooledRecord]:
        """Up to ``count`` records that may be sent: errors before traces, older segments before younger."""
        taken: list[SpooledRecord] = []
        found = segments(self._folder, *PRIORITIES)
        self._forget({segment.path for segment in found})
        for priority in PRIORITIES:
            resting = 0
            for segment in (each for each in found if each.priority == priority):
                reader = self._filled(segment)
                if reader is None:
                    continue
                sendable = [each for each in reader.pending if may_send(each)]
                taken += sendable[: count - len(taken)]
                if len(taken) >= count:
                    return taken
                resting += 0 if sendable else len(reader.pending)
                if resting >= AHEAD:
                    break  # the lane rests; there is no use in opening and reading all of it
        return taken

    def done(self, waiting: SpooledRecord) -> None:
        """Take a record out for good."""
        reader = waiting.reader
        reader.done(waiting)
        if not reader.pending and reader.is_spent():
            self._remove(reader)

    def refuse(self, waiting: SpooledRecord, reason: str) -> None:
        """Set a record aside, in a file of its own, with the reason in the first line."""
        told = json.dumps({"reason": reason, "category": waiting.record.category, "at": time.time()}).encode()
        with suppress(OSError):  # a full disk must not keep it in the way
            path = self._folder / segment_name("refused", time.monotonic_ns() % 10**9)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, told + b"\n" + framed(waiting.record))
            finally:
                os.close(descriptor)
        self.done(waiting)

    def close(self) -> None:
        """Let all files go."""
        self._forget(set())

    def _filled(self, segment: Segment) -> _Reader | None:
        """The reader of ``segment`` with something to send, if it can be read and there is anything in it."""
        try:
            if segment.path not in self._readers:
                self._readers[segment.path] = _Reader(segment)
            reader = self._readers[segment.path]
            reader.fill()
            if reader.is_spent():
                self._remove(reader)
                return None
        except OSError:  # it has just been evicted, or the disk is at fault; the others go on
            return None
        return reader

    def _remove(self, reader: _Reader) -> None:
        self.damaged += reader.damaged
        reader.segment.remove()
        reader.close()
        self._readers.pop(reader.segment.path, None)

    def _forget(self, present: set[Path]) -> None:
        """Close what is no longer there: it was evicted, or its directory removed."""
        for path in [path for path in self._readers if path not in present]:
            self._readers.pop(path).close()
