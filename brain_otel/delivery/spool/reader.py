"""The reading side of the spool, for the shipper: the segments of many processes."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from brain_otel.delivery.record import DONE, DONE_OFFSET, PRIORITIES, Record, framed
from brain_otel.delivery.spool.directory import REJECTED, Segment, segment_name, segments
from brain_otel.delivery.spool.files import write_new
from brain_otel.delivery.spool.frames import WINDOW, Found, Frames
from brain_otel.delivery.spool.locks import close_own, open_own, try_lock

AHEAD = 64
"""Records to read ahead in a segment, because some may have to be sent again later."""

AHEAD_BYTES = 2 * 2**20
"""Bytes of records to read ahead in a segment, and to send at once; a single record may have more."""


CLOCK_TICK = 50_000_000
"""Nanoseconds, more than a file system's clock takes to advance; Linux updates it 100 to 1,000 times a second."""

RELIST = 0.01
"""Seconds after which a folder that has just changed is listed again although there are records to send."""


class SpooledRecord:
    """A record in a segment."""

    __slots__ = ("found", "reader", "record")

    def __init__(self, record: Record, reader: _SegmentReader, found: Found) -> None:
        self.record = record
        self.reader = reader
        self.found = found


class _SegmentReader:
    """Reads a segment, and keeps track of which of its records are done."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.acknowledged = segment.acknowledged()
        self.descriptor = open_own(segment.path, os.O_RDWR)
        self.pending: deque[SpooledRecord] = deque()
        self.damaged = 0
        self.is_closed = False
        """Whether its descriptors may stand for other files."""
        self._read_to = self.acknowledged
        self._done: dict[int, int] = {}
        """Start and end of the records that are done and not acknowledged, because one before them is not done."""
        self._ack: int | None = None
        self._fruitless = -1
        """The size at which an unsealed file held no further record."""

    def fill(self) -> None:
        """Read more records, unless enough are pending."""
        if len(self.pending) >= AHEAD:
            return
        size = os.fstat(self.descriptor).st_size
        if self._read_to >= size or _is_much(self.pending):
            return
        sealed = self.is_sealed()
        if not sealed and size == self._fruitless:
            return
        start = self._read_to
        for each in Frames.of(self.descriptor).find(start, sealed=sealed):  # a sealed file does not grow
            if each.record is None or each.is_done:
                self.damaged += each.end - each.start if each.record is None else 0
                self._acknowledge(each.start, each.end)
            else:
                self.pending.append(SpooledRecord(each.record, self, Found(each.start, each.end, None)))
            self._read_to = each.end
            if each.end - start >= WINDOW:
                break
        self._fruitless = size if self._read_to == start else -1

    def is_sealed(self) -> bool:
        """Whether nobody writes to it any more."""
        return try_lock(self.descriptor)

    def is_finished(self) -> bool:
        """Whether every record is done and no more can come."""
        return not self.pending and self.is_sealed() and self.acknowledged >= os.fstat(self.descriptor).st_size

    def done(self, queued: SpooledRecord) -> None:
        """Never send ``queued`` again."""
        if self.pending and self.pending[0] is queued:  # usually
            self.pending.popleft()
        else:
            with suppress(ValueError):
                self.pending.remove(queued)
        if not self._acknowledge(queued.found.start, queued.found.end):
            with suppress(OSError):
                os.pwrite(self.descriptor, DONE, queued.found.start + DONE_OFFSET)

    def _acknowledge(self, start: int, end: int) -> bool:
        """Note that these bytes are done.

        Returns whether the note is on disk: not while earlier records are pending, nor if the disk is full.
        """
        self._done[start] = end
        before = self.acknowledged
        while self.acknowledged in self._done:
            self.acknowledged = self._done.pop(self.acknowledged)
        if self.acknowledged == before:
            return False
        try:
            if self._ack is None:
                self._ack = open_own(self.segment.ack_path, os.O_WRONLY | os.O_CREAT)
            return os.pwrite(self._ack, self.acknowledged.to_bytes(8, "little"), 0) == 8
        except OSError:
            return False

    def close(self) -> None:
        """Close the files."""
        self.is_closed = True
        for descriptor in (self.descriptor, self._ack):
            if descriptor is not None:
                close_own(descriptor)


def _is_much(records: Collection[SpooledRecord]) -> bool:
    return sum(len(each.record.body) for each in records) >= AHEAD_BYTES


class SpoolQueue:
    """The segments of one target, for the process that holds the shipper's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = str(folder)
        self._readers: dict[str, _SegmentReader] = {}
        self._segments: dict[str, list[Segment]] = {}
        self._changed_at = -1
        """The folder's time of change when its segments were listed; -1: they never were."""
        self._listed = 0.0
        self._is_settled = False
        """Whether the folder's next change has another time than the one before its segments were listed."""
        self.damaged = 0
        """Damaged bytes in finished segments."""

    def take(self, count: int, may_send: Callable[[SpooledRecord], bool]) -> list[SpooledRecord]:
        """The first ``count`` records that may be sent, errors before traces, older segments before younger."""
        taken = self._take(self._found_segments(), count, may_send)
        if not taken and not self._is_settled:  # a segment that came with the last change may be missing
            taken = self._take(self._found_segments(again=True), count, may_send)
        return taken

    def _take(
        self, found: Mapping[str, Sequence[Segment]], count: int, may_send: Callable[[SpooledRecord], bool]
    ) -> list[SpooledRecord]:
        taken: list[SpooledRecord] = []
        for priority in PRIORITIES:
            unsendable: list[SpooledRecord] = []
            for segment in found[priority]:
                reader = self._filled_reader(segment)
                if reader is None:
                    continue
                before = len(taken)
                for each in filter(may_send, reader.pending):
                    taken.append(each)
                    if len(taken) >= count or _is_much(taken):
                        return taken
                unsendable += () if len(taken) > before else reader.pending
                if len(unsendable) >= AHEAD or _is_much(unsendable):
                    break  # the category is rate-limited: do not open and read every segment
        return taken

    def _found_segments(self, *, again: bool = False) -> dict[str, list[Segment]]:
        """The segments by priority. The folder is listed again when its time of change says so.

        Just after a change the next one may get the same time. The folder is then listed ``again`` if there is
        nothing to send, else every :data:`RELIST` seconds: our own acknowledgements change it all the time.
        """
        try:
            changed_at = os.stat(self._path).st_mtime_ns  # noqa: PTH116 - for each record; a `Path` takes twice the time
        except OSError:
            changed_at = 0
        is_listed = self._is_settled or not (again or time.monotonic() - self._listed > RELIST)
        if changed_at == self._changed_at and is_listed:
            return self._segments
        self._changed_at, self._listed = changed_at, time.monotonic()
        self._is_settled = abs(time.time_ns() - changed_at) > CLOCK_TICK
        self._segments = {priority: [] for priority in PRIORITIES}
        for segment in segments(self._folder, *PRIORITIES):
            self._segments[segment.priority].append(segment)
        self._close_missing({each.name for found in self._segments.values() for each in found})
        return self._segments

    def done(self, queued: SpooledRecord) -> None:
        """Remove a record, unless its segment was dropped or its folder removed meanwhile."""
        reader = queued.reader
        if reader.is_closed:
            return
        reader.done(queued)
        if not reader.pending and reader.is_finished():
            self._remove(reader)

    def reject(self, queued: SpooledRecord, reason: str) -> None:
        """Move a record to a file of its own, with the reason in the first line."""
        note = json.dumps({"reason": reason, "category": queued.record.category, "at": time.time()}).encode()
        with suppress(OSError):  # a full disk must not keep the record in the queue
            path = self._folder / segment_name(REJECTED, time.monotonic_ns() % 10**9)
            write_new(path, note + b"\n" + framed(queued.record))
        self.done(queued)

    def close(self) -> None:
        """Close all files."""
        self._close_missing(set())

    def _filled_reader(self, segment: Segment) -> _SegmentReader | None:
        """The reader of ``segment``, with pending records if there are any; None if it is finished or unreadable."""
        try:
            if segment.name not in self._readers:
                self._readers[segment.name] = _SegmentReader(segment)
            reader = self._readers[segment.name]
            reader.fill()
            if reader.is_finished():
                self._remove(reader)
                return None
        except OSError:  # it was just evicted, or the disk fails; other segments go on
            return None
        return reader

    def _remove(self, reader: _SegmentReader) -> None:
        self.damaged += reader.damaged
        reader.segment.remove()
        reader.close()
        self._readers.pop(reader.segment.name, None)

    def _close_missing(self, present: set[str]) -> None:
        """Close segments that were evicted, or whose directory was removed."""
        for name in [name for name in self._readers if name not in present]:
            self._readers.pop(name).close()
