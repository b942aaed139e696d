"""A finished request body, and its frame on disk.

A frame is a header of fixed size, then the body. The header holds the length and a checksum of both, so that a record
which a crash cut off, or which was damaged later, is recognized and never sent.
"""

import struct
import time
import zlib

from brain_otel.runtime.named_tuple import NamedTuple

MAGIC = b"BOR1"
"""The first bytes of each frame; the digit is the version."""

HEADER = struct.Struct("<4sBBHQII")
"""Magic, category, done, quantity, nanoseconds since 1970, length of the body, CRC-32.

The checksum covers the fields before it and the body, with ``done`` as 0: that byte changes later.
"""

DONE_OFFSET = 5
DONE = b"\x01"

MAX_BODY = 4 * 2**20
"""Bytes of one body on disk; a longer length means damage. To send a body takes three times as much memory."""

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
    {"transaction", "profile", "profile_chunk", "span", "otlp_traces", "otlp_metrics", "trace_metric", "log_item"}
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
