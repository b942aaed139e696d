"""A finished request body, and its frame on disk.

A frame is a header of fixed size, then the body. The header holds the length and a checksum of both, so that a record
which a crash cut off, or which was damaged later, is recognized and never sent.
"""

from __future__ import annotations

import struct
import time
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"BOR1"
"""The first bytes of each frame; the digit is the version."""

HEADER = struct.Struct("<4sBBHQII")
"""Magic, category, done, quantity, nanoseconds since 1970, length of the body, CRC-32.

The checksum covers the fields before it and the body, with ``done`` as 0: that byte changes later.
"""

DONE_OFFSET = 5
DONE = b"\x01"

MAX_BODY = 64 * 2**20
"""Bytes of one body; a longer length means damage."""

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
"""`Sentry's data categories <https://develop.sentry.dev/sdk/expected-features/rate-limiting/>`_ and OTLP's signals.

Files hold the position in this tuple: add at the end only.
"""

PRIORITIES = ("errors", "traces")
"""Errors are sent first and dropped last."""

_INDEX = {name: index for index, name in enumerate(CATEGORIES)}
_TRACES = frozenset(
    {"transaction", "profile", "profile_chunk", "span", "otlp_traces", "otlp_metrics", "trace_metric"}
)


class Record(NamedTuple):
    """A request body, and what delivery needs to know of it."""

    category: str
    body: bytes
    quantity: int = 1
    """Items of ``category`` in the body; for a transaction itself and its spans."""
    time: int = 0
    """When it was made, in nanoseconds since 1970."""

    @property
    def priority(self) -> str:
        """One of :data:`PRIORITIES`."""
        return "traces" if self.category in _TRACES else "errors"


def framed(record: Record) -> bytes:
    """The frame of ``record``."""
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
    """A stretch of a file: a record, or damaged bytes (``record`` is None)."""

    start: int
    end: int
    record: Record | None
    is_done: bool = False
    """The record was sent, or set aside."""


def records_in(data: bytes, *, sealed: bool) -> Iterator[Found]:
    """Find the records in ``data``, in order; offsets count from its start, where a record begins.

    Damaged bytes are skipped up to the next record. An incomplete record at the end counts as damaged only if the
    file is ``sealed``: otherwise the rest may still be written.
    """
    start = 0
    while start < len(data):
        found = _record_at(data, start)
        if found is not None:
            yield found
            start = found.end
            continue
        if not sealed and _is_cut_off(data, start):
            return  # do not search the body that was read so far: it may contain what looks like a record
        following = _next_record(data, start + 1)
        if following is None:
            if sealed:
                yield Found(start, len(data), None)
            return
        yield Found(start, following, None)
        start = following


def headers_in(data: bytes, start: int) -> Iterator[tuple[str, int]]:
    """Category and quantity of each record from ``start`` on that is not done; checks no body."""
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
    """Whether a record begins at ``start`` and goes on beyond the end of ``data``."""
    if len(data) - start < HEADER.size:
        return True
    magic, *_, length, _ = HEADER.unpack_from(data, start)
    return bool(magic == MAGIC and length <= MAX_BODY and start + HEADER.size + length > len(data))


def _name(category: int) -> str:
    return CATEGORIES[category] if category < len(CATEGORIES) else "default"


def _next_record(data: bytes, start: int) -> int | None:
    offset = data.find(MAGIC, start)
    while offset >= 0:
        if _record_at(data, offset) is not None:
            return offset
        offset = data.find(MAGIC, offset + 1)
    return None


def _record_at(data: bytes, start: int) -> Found | None:
    """The complete, undamaged record at ``start``, else None."""
    if len(data) - start < HEADER.size:
        return None
    magic, category, done, quantity, made, length, checksum = HEADER.unpack_from(data, start)
    body_start = start + HEADER.size
    if magic != MAGIC or length > MAX_BODY or body_start + length > len(data):
        return None
    body = data[body_start : body_start + length]
    head = data[start : start + DONE_OFFSET] + b"\0" + data[start + DONE_OFFSET + 1 : body_start - 4]
    if done > 1 or zlib.crc32(body, zlib.crc32(head)) != checksum:
        return None
    return Found(start, body_start + length, Record(_name(category), body, quantity, made), bool(done))
