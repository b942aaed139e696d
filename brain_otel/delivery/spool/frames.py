"""Finds the frames of records in a file that may be damaged, in bounded memory and linear time."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from brain_otel.delivery.record import CATEGORIES, HEADER, MAGIC, MAX_BODY, Record
from brain_otel.runtime.named_tuple import NamedTuple

WINDOW = 2**19
"""Bytes to read at once."""

MAX_SIZE = 2**23 + MAX_BODY
"""Bytes of a file that are searched; no segment is longer."""

MAX_CHECKED = 4
"""Bytes whose checksum turns out to be wrong, for each byte of the file.

Headers in a damaged file may overlap: without this bound each costs a body.
"""

_RELOAD = 2**16
"""Bytes left in the window, below which the next window is read."""


class Found(NamedTuple):
    """A stretch of a file: a record, or damaged bytes (``record`` is None)."""

    start: int
    end: int
    record: Record | None
    is_done: bool = False
    """The record was sent, or set aside."""


class Frames:
    """The frames of a file of ``size`` bytes; ``read`` returns a number of bytes from an offset on."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        self._size = size
        self._limit = min(size, MAX_SIZE)
        self._checks_left = MAX_CHECKED * self._limit
        self._window = b""
        self._window_start = 0

    @classmethod
    def of(cls, descriptor: int) -> Frames:
        """The frames of an open file."""
        pread = partial(os.pread, descriptor)
        return cls(lambda start, length: pread(length, start), os.fstat(descriptor).st_size)

    def find(self, start: int, *, sealed: bool, with_bodies: bool = True) -> Iterator[Found]:
        """Find the records from ``start`` on, where one begins, in their order.

        Damaged bytes are skipped up to the next record. An incomplete record at the end counts as damaged only if the
        file is ``sealed``: otherwise the rest may still be written.
        """
        while start < self._limit:
            self._load(start)
            found = self._frame_at(start, with_body=with_bodies)
            if found is None:
                if not sealed and self._is_cut_off(start):
                    return  # do not search the body that was written so far: it may contain what looks like a record
                following = self._next_frame(start + 1)
                if following is None and not sealed:
                    return
                found = Found(start, self._size if following is None else following, None)
            yield found
            start = found.end
        if sealed and start < self._size:
            yield Found(start, self._size, None)

    def headers(self, start: int) -> Iterator[tuple[str, int, int]]:
        """Category, quantity and length of each record from ``start`` on that is not done; checks no body."""
        while start + HEADER.size <= self._limit:
            self._load(start)
            header = self._header_at(start)
            if header is None:
                following = self._next_magic(start + 1)
                if following is None:
                    return
                start = following
            else:
                _, category, done, quantity, _, length, _ = header
                if not done:
                    yield _name(category), quantity, length
                start += HEADER.size + length

    def _load(self, start: int) -> None:
        """Have the bytes from ``start`` on in the window, if they are not there already."""
        end = self._window_start + len(self._window)
        if not self._window_start <= start < end or (end - start < _RELOAD and end < self._limit):
            self._window_start = start
            self._window = self._read(start, min(WINDOW, self._limit - start))

    def _bytes(self, start: int, length: int) -> bytes:
        offset = start - self._window_start
        if 0 <= offset <= len(self._window) - length:
            return self._window[offset : offset + length]
        return self._read(start, length)

    def _header_at(self, start: int) -> tuple[bytes, int, int, int, int, int, int] | None:
        """The fields of the header at ``start``, if one can be there."""
        data = self._bytes(start, HEADER.size)
        if len(data) < HEADER.size or not data.startswith(MAGIC):
            return None
        fields = HEADER.unpack(data)
        return fields if fields[5] <= MAX_BODY else None

    def _frame_at(self, start: int, *, with_body: bool) -> Found | None:
        """The complete, undamaged record at ``start``, else None."""
        header = self._header_at(start)
        if header is None:
            return None
        magic, category, done, quantity, made, length, checksum = header
        body_start = start + HEADER.size
        end = body_start + length
        if done > 1 or end > self._limit or length > self._checks_left:
            return None
        head = HEADER.pack(magic, category, 0, quantity, made, length, 0)[:-4]
        body = self._bytes(body_start, length) if with_body else b""
        found = zlib.crc32(body, zlib.crc32(head)) if with_body else self._checksum(head, body_start, length)
        if found != checksum:
            self._checks_left -= length
            return None
        return Found(start, end, Record(_name(category), body, quantity, made), bool(done))

    def _checksum(self, head: bytes, start: int, length: int) -> int:
        checksum = zlib.crc32(head)
        for offset in range(0, length, WINDOW):
            checksum = zlib.crc32(self._bytes(start + offset, min(WINDOW, length - offset)), checksum)
        return checksum

    def _is_cut_off(self, start: int) -> bool:
        """Whether a record begins at ``start`` and goes on beyond the end of the file."""
        if self._limit - start < HEADER.size:
            return True
        header = self._header_at(start)
        return header is not None and start + HEADER.size + header[5] > self._limit

    def _next_frame(self, start: int) -> int | None:
        offset = self._next_magic(start)
        while offset is not None:
            if self._frame_at(offset, with_body=False) is not None:
                return offset
            offset = self._next_magic(offset + 1)
        return None

    def _next_magic(self, start: int) -> int | None:
        while start + HEADER.size <= self._limit:
            self._load(start)
            offset = self._window.find(MAGIC, start - self._window_start)
            if offset >= 0:
                return self._window_start + offset
            if len(self._window) < HEADER.size:
                return None  # the file has become shorter
            start = self._window_start + len(self._window) - len(MAGIC) + 1
        return None


def _name(category: int) -> str:
    return CATEGORIES[category] if category < len(CATEGORIES) else "default"
