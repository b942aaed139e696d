"""Bounds what an answer may cost: its bytes, its time and its decoding.

A server or a proxy may send a body without end, one byte a second, a header of megabytes, or a megabyte of gzip that
is a gigabyte. Of an answer, the status, the headers and the beginning of the body matter.
"""

import io
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from http.client import HTTPResponse
from typing import Any

from urllib3.exceptions import ProtocolError, ReadTimeoutError

MAX_BODY = 4_096
"""Bytes of a body that are read."""

_MAX_BYTES = 131_072
"""Bytes of all that is read of an answer, its status lines and headers among them."""

_MAX_SECONDS = 60.0
"""Seconds for an answer if the connection has no timeout."""

BODY_SECONDS = 1.0
"""Seconds for the body once the headers are there: the result is known by then."""


class _BoundedReader(io.RawIOBase):
    """Reads from a socket until a deadline; urllib3's timeout begins anew with each byte."""

    def __init__(self, sock: Any, received: bytes) -> None:
        self._socket = sock
        self._received = received
        self._file = sock.makefile("rb", buffering=0)
        self._left = _MAX_BYTES
        timeout = sock.gettimeout()
        self.deadline = time.monotonic() + (_MAX_SECONDS if timeout is None else timeout)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the answer takes too long")
        if self._left <= 0:
            raise OSError(f"the answer has more than {_MAX_BYTES:,} bytes")
        if self._received:
            count = min(len(buffer), len(self._received))
            buffer[:count], self._received = self._received[:count], self._received[count:]
            return count
        self._socket.settimeout(seconds)
        read: int = self._file.readinto(memoryview(buffer)[: self._left])
        self._left -= read
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


class BoundedResponse(HTTPResponse):
    """An answer of bounded size that arrives in bounded time and whose body is never decoded.

    Args:
        received: What has been read of it already.
    """

    def __init__(self, sock: Any, *args: Any, received: bytes = b"", **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self._reader = _BoundedReader(sock, received)
        self.fp = io.BufferedReader(self._reader, 8_192)

    def begin(self) -> None:
        """Read the status and the headers."""
        super().begin()
        del self.headers["Content-Encoding"]
        self._reader.deadline = min(self._reader.deadline, time.monotonic() + BODY_SECONDS)


def first_bytes(read: Callable[[int], bytes]) -> tuple[bytes, bool]:
    """The first bytes of a body, what has arrived of a slow one, and whether they are all of it.

    Args:
        read: Returns up to a number of bytes, and none at the end.
    """
    body = b""
    with suppress(TimeoutError, ReadTimeoutError):
        while len(body) <= MAX_BODY:  # one byte more tells whether the body ends there
            part = read(MAX_BODY + 1 - len(body))
            if not part:
                return body, True
            body += part
    return body[:MAX_BODY], False


def bound_answers(manager: Any) -> Any:
    """Bound all answers over the connections of ``manager``, a ``PoolManager`` of urllib3; returns it."""
    manager.pool_classes_by_scheme = {
        scheme: _bounded(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager


@cache
def _bounded(pool: Any) -> Any:
    connection = type(pool.ConnectionCls.__name__, (pool.ConnectionCls,), {"response_class": BoundedResponse})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def beginning_of_body(response: Any) -> bytes:
    """The first bytes of the body of ``response``, an answer of urllib3, and what has arrived of a slow one.

    Its connection is used again if that is the whole body, and closed if not.

    Raises:
        urllib3.exceptions.HTTPError: the body is malformed, or shorter than announced.
    """
    is_whole = False
    try:
        body, is_whole = first_bytes(partial(response.read, decode_content=False))
    except ValueError as error:  # of urllib3, for a chunk of a negative size
        raise ProtocolError(f"the body is malformed: {error}") from error
    finally:
        if not is_whole:  # else urllib3 has put the connection back
            response.close()
    return body
