"""Reads ``partial_success``: the items that an OTLP receiver rejects although it accepts the request.

The bodies of its answers to traces, logs and metrics have one form, in protobuf and in JSON, so that the shipper's
process can read them without OpenTelemetry: https://opentelemetry.io/docs/specs/otlp/#partial-success-1.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from brain_otel.configuration.error import masked
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.text import printable

MAX_MESSAGE = 200
"""Characters of a message."""

_MAX_REJECTED = 2**31 - 1
_PARTIAL_SUCCESS, _REJECTED, _MESSAGE = 1, 1, 2
"""Numbers of the fields in protobuf."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf."""

_JSON_REJECTED = expression(
    r'"(?:rejectedSpans|rejectedLogRecords|rejectedDataPoints|rejected_(?:spans|log_records|data_points))"'
    r'\s*:\s*"?(\d{1,20})'
)
_JSON_MESSAGE = expression(r'"(?:errorMessage|error_message)"\s*:\s*("(?:[^"\\]|\\.)*+)')
_PAGE = re.compile(rb"\s*+<(?:!doctype|html|\?xml)", re.IGNORECASE)


class PartialSuccess(NamedTuple):
    """A receiver's answer to a request that it accepted."""

    rejected: int = 0
    """Spans, log records or data points that it did not accept."""
    message: str = ""
    """Why, or a warning if it rejected nothing; masked, of bounded length and printable."""


def partial_success(content_type: str, body: bytes) -> PartialSuccess:
    """Read ``body``, the beginning of an answer with a status of 2xx; empty if it says nothing."""
    try:
        if "json" in content_type or body.startswith(b"{"):
            return _from_json(body.decode("utf-8", "replace"))
        return _from_protobuf(body)
    except ValueError:  # another receiver's idea of an answer
        return PartialSuccess()


def is_page(body: bytes) -> bool:
    """Whether ``body`` is a page for people: a web server or a login has answered, and no receiver of OTLP."""
    return _PAGE.match(body) is not None


def clean_message(text: str) -> str:
    """``text`` of a receiver on one line, masked, of bounded length and printable."""
    text = printable(masked(text[: 4 * MAX_MESSAGE]))
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 3]}..."


def _from_json(text: str) -> PartialSuccess:
    """Read JSON, which may be cut off; a number of 64 bits is text in it."""
    rejected, message = _JSON_REJECTED.search(text), _JSON_MESSAGE.search(text)
    return _said(int(rejected[1]) if rejected else 0, _unquoted(message[1]) if message else "")


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text + '"', strict=False))
    except ValueError:  # cut off within an escape
        return text[1:]


def _from_protobuf(body: bytes) -> PartialSuccess:
    for number, value in _fields(body):
        if number == _PARTIAL_SUCCESS and isinstance(value, bytes):
            found: dict[int, Any] = dict(_fields(value))
            rejected, message = found.get(_REJECTED, 0), found.get(_MESSAGE, b"")
            return _said(
                rejected if isinstance(rejected, int) else 0,
                message.decode("utf-8", "replace") if isinstance(message, bytes) else "",
            )
    return PartialSuccess()


def _said(rejected: int, message: str) -> PartialSuccess:
    is_negative = rejected >= 2**63  # a number of 64 bits with a sign
    return PartialSuccess(0 if is_negative else min(rejected, _MAX_REJECTED), clean_message(message))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message of protobuf by number; the last one may be cut off.

    https://protobuf.dev/programming-guides/encoding/
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == _BYTES:
            length, at = _varint(data, at)
            yield number, data[at : at + length]
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("not a message of protobuf")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("not a number of protobuf")
