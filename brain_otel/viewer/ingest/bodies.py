"""Reads bodies with a bound, compressed ones too."""

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

MAX_BODY = 32 << 20
"""Bytes of a request, compressed or not, and of what it decompresses to."""

PATIENCE = 30.0
"""Seconds for a body to arrive."""

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class BodyError(Exception):
    """The body is not taken; ``status`` is the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


async def read_body(request: Request) -> bytes:
    """The body, decompressed.

    Raises:
        BodyError: it is too large, damaged, abandoned, or compressed in a way that is not known.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower() or "identity"
    if encoding != "identity" and encoding not in _WINDOWS:
        raise BodyError(415, "encoding not supported")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY:
                    raise BodyError(413, "too large")
                parts.append(part)
    except TimeoutError:
        raise BodyError(408, "too slow") from None
    except ClientDisconnect:
        raise BodyError(400, "damaged") from None
    body = b"".join(parts)
    return body if encoding == "identity" else decompressed(body, _WINDOWS[encoding])


def decompressed(body: bytes, window: int = 31) -> bytes:
    """The body that zlib has packed, with gzip's header by default.

    Raises:
        BodyError: it is damaged, or has more than :data:`MAX_BODY` bytes.
    """
    unpacking = zlib.decompressobj(window)
    try:
        found = unpacking.decompress(body, MAX_BODY)
    except zlib.error:
        raise BodyError(400, "damaged") from None
    if unpacking.unconsumed_tail:
        raise BodyError(413, "too large")
    if not unpacking.eof:
        raise BodyError(400, "damaged")
    return found
