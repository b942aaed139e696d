"""One finished request body that waits to be sent, and how it is framed on disk.

A record is a header of fixed size and the body. The header has the length and a checksum of both, so that a record
which was cut off by a crash, or damaged later, is known for what it is and never sent.
"""

from __future__ import annotations

import struct
import time
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"BOR1"
"""Begins each record; the digit is the version of the frame."""

HEADER = struct.Struct("<4sBBHQII")
"""Magic, category, whether it is done with, quantity, nanoseconds since 1970, length of the body, CRC-32.

The checksum is of all before it and of the body, with the third field 0: that is the one byte which is changed later.
"""

DONE_OFFSET = 5
DONE = b"\x01"

MAX_BODY = 64 * 2**20
"""Bytes of one body; what claims to be longer is damaged."""

CATEGORIES = (
    "default",
    "error",
    "transaction",
    "profile",
    "session",
    "attachment",
    "monitor",
    "log_item",
    "trace_metric",
    "feedback",
    "internal",
    "span",
    "profile_chunk",
    "otlp_traces",
    "otlp_logs",
    "otlp_metrics",
)
"""`Sentry's data categories <https://develop.sentry.dev/sdk/expected-features/rate-limiting/>`_, and OTLP's signals.

The place in this tuple is what a file says: add at the end only.
"""

_INDEX = {name: index for index, name in enumerate(CATEGORIES)}
_TRACES = frozenset(
    {"transaction", "profile", "profile_chunk", "span", "otlp_traces", "otlp_metrics", "trace_metric"}
)


class Record(NamedTuple):
    """A request body with what delivery has to know of it."""

    category: str
    body: bytes
    quantity: int = 1
    """How much of ``category`` is lost if this is: 1, or the transaction and its spans."""
    time: int = 0
    """When it was made, in nanoseconds since 1970."""

    @property
    def priority(self) -> str:
        """``errors``, which are sent first and dropped last, or ``traces``."""
        return "traces" if self.category in _TRACES else "errors"


def framed(record: Record) -> bytes:
    """The bytes that stand for ``record`` in a file."""
    head = HEADER.pack(
        MAGIC,
        _INDEX.get(record.category, 0),
        0,
        min(record.quantity, 0xFFFF),
        record.time or time.time_ns(),
        len(record.body),
        0,
    )[:-4]
    checksum = zlib.crc32(record.body, zlib.crc32(head))
    return b"".join((head, checksum.to_bytes(4, "little"), record.body))


class Found(NamedTuple):
    """What was found in a piece of a file: a record, or bytes that are none (``record`` is None)."""

    start: int
    end: int
    record: Record | None
    is_done: bool = False
    """It has been sent, or set aside."""


def records_in(data: bytes, *, sealed: bool) -> Iterator[Found]:
    """The records in ``data``, which begins with one, in order; places are relative to its beginning.

    What cannot be read is passed over up to the next record. At the end, what may still be written to is left
    alone unless the file is ``sealed``.
    """
    start = 0
    while start < len(data):
        found = _record_at(data, start)
        if found is not None:
            yield found
            start = found.end
            continue
        if not sealed and _is_cut_off(data, start):
            return  # the rest is still to be read; a body may hold what looks like a record
        following = _next_record(data, start + 1)
        if following is None:
            if sealed:
                yield Found(start, len(data), None)
            return
        yield Found(start, following, None)
        start = following


def headers_in(data: bytes, start: int) -> Iterator[tuple[str, int]]:
    """Category and quantity of the records from ``start`` on that are not done with, without a look at the bodies."""
    while start + HEADER.size <= len(data):
        magic, category, done, quantity, _, length, _ = HEADER.unpack_from(data, start)
        if magic == MAGIC and length <= MAX_BODY:
            if not done:
                yield _name(category), quantity
            start += HEADER.size + length
        else:
            start = data.find(MAGIC, start + 1)
            if start < 0:
                return


def _is_cut_off(data: bytes, start: int) -> bool:
    """Whether what begins like a record at ``start`` goes on behind the end of ``data``."""
    if len(data) - start < HEADER.size:
        return True
    magic, *_, length, _ = HEADER.unpack_from(data, start)
    return bool(magic == MAGIC and length <= MAX_BODY and start + HEADER.size + length > len(data))


def _name(category: int) -> str:
    return CATEGORIES[category] if category < len(CATEGORIES) else "default"


def _next_record(data: bytes, start: int) -> int | None:
    place = data.find(MAGIC, start)
    while place >= 0:
        if _record_at(data, place) is not None:
            return place
        place = data.find(MAGIC, place + 1)
    return None


def _record_at(data: bytes, start: int) -> Found | None:
    """The whole and undamaged record at ``start``, else None."""
    if len(data) - start < HEADER.size:
        return None
    magic, category, done, quantity, made, length, checksum = HEADER.unpack_from(data, start)
    body_start = start + HEADER.size
    if magic != MAGIC or length > MAX_BODY or body_start + length > len(data):
        return None
    body = data[body_start : body_start + length]
    untouched = data[start : start + DONE_OFFSET] + b"\0" + data[start + DONE_OFFSET + 1 : body_start - 4]
    if done > 1 or zlib.crc32(body, zlib.crc32(untouched)) != checksum:
        return None
    return Found(start, body_start + length, Record(_name(category), body, quantity, made), bool(done))
