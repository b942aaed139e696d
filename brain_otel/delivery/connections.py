"""Makes POSTs over kept-alive connections, for a quarter of the CPU that urllib3 needs for one.

urllib3 connects, and handles names, certificates and their errors. The usual answer is read here, any other by
http.client within the bounds of :mod:`.bounded_answers`. A request is sent once; whoever has a record sends it again.
"""

import os
import re
import select
import socket
import time
import weakref
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from http.client import IncompleteRead
from types import MappingProxyType
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import parse_url, wait_for_read

from brain_otel.delivery.bounded_answers import BODY_SECONDS, MAX_BODY, BoundedResponse, first_bytes
from brain_otel.delivery.target import Target
from brain_otel.runtime.named_tuple import NamedTuple

_CHUNK = 16_384
"""Bytes of an answer that are read at once."""

_JOINED = 65_536
"""Bytes of a body that is sent together with its headers; to copy a larger one costs more than a system call."""

_SLACK = 0.01
"""Seconds by which a timeout may be wrong: to set it is a system call."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]")
_OURS = frozenset({"host", "accept-encoding", "connection", "content-length", "expect", "transfer-encoding"})
"""Headers that would contradict those of :class:`Connections`."""

_STATUS = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [\x20-\x7e]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")
_CLOSES = re.compile(r"\bclose\b", re.IGNORECASE)
_WITHOUT_BODY = (204, 304)
_LENGTH = re.compile(r"\d{1,7}", re.ASCII)


class Response(NamedTuple):
    """The status, headers and first bytes of an answer."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    """Its beginning, and what had arrived in time."""


class Connections:
    """Kept-alive connections to the URL of ``target``; threads may share them.

    Args:
        content_type: The type of the bodies.
        size: Idle connections that are kept.
    """

    def __init__(self, target: Target, content_type: str, *, size: int) -> None:
        url = parse_url(target.url)
        self._target, self._size = target, size
        self._host, self._port = str(url.host), url.port
        is_usual_port = url.port in (None, 443 if url.scheme == "https" else 80)
        given = {"Content-Type": content_type, **target.headers}
        if "user-agent" not in map(str.lower, given):
            given["User-Agent"] = "brain_otel"
        lines = [
            f"POST {url.request_uri} HTTP/1.1",
            f"Host: {self._host if is_usual_port else f'{self._host}:{url.port}'}",
            "Accept-Encoding: identity",
            *(f"{name}: {value}" for name, value in given.items()),
        ]
        self._head = "\r\n".join(lines).encode("ascii") + b"\r\n"
        self._pid = os.getpid()
        self._idle: deque[_Connection] = deque()
        weakref.finalize(self, _close_all, self._idle)

    def post(self, body: bytes, encoding: str, seconds: float) -> Response:
        """Send ``body``, which has the content encoding ``encoding`` if any, within ``seconds``.

        Raises:
            Exception: there was no answer in time, or none that is HTTP.
        """
        deadline = time.monotonic() + seconds
        connection = self._take() or _Connection(self._connect(seconds))
        sock = connection.socket
        try:
            _limit(sock, deadline)
            is_sent = _send(sock, self._head, body, encoding)
            response, is_kept = _receive(sock, deadline)
        except BaseException:
            sock.close()
            raise
        if is_sent and is_kept and len(self._idle) < self._size:
            self._idle.append(connection)
        else:
            sock.close()
        return response

    def _take(self) -> "_Connection | None":
        """An idle connection of this process that the server has not closed."""
        if self._pid != os.getpid():  # a forked process would read its parent's answers
            self._pid = os.getpid()
            _close_all(self._idle)
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.has_ended():
                return connection
            connection.socket.close()

    def _connect(self, seconds: float) -> socket.socket:
        target = self._target
        if target.url[:6].lower() == "https:":
            connection: Any = HTTPSConnection(
                self._host,
                self._port,
                timeout=seconds,
                cert_reqs="CERT_REQUIRED",
                ca_certs=target.ca_certs,
                cert_file=target.cert_file,
                key_file=target.key_file,
            )
        else:
            connection = HTTPConnection(self._host, self._port, timeout=seconds)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        sock: socket.socket = connection.sock
        return sock


def can_connect(target: Target) -> bool:
    """Whether ``target`` has a plain URL and plain headers, and is reached without a proxy."""
    try:
        url = parse_url(target.url)
    except Exception:  # urllib3 tells why when the first record is sent
        return False
    return (
        target.proxy is None
        and url.scheme in ("http", "https")
        and url.auth is None
        and url.host is not None
        and _HOST.fullmatch(url.host) is not None
        and all(
            _NAME.fullmatch(name) and name.lower() not in _OURS and _VALUE.fullmatch(value)
            for name, value in target.headers.items()
        )
        and len({name.lower() for name in target.headers} | {"content-type"}) == len(target.headers) + 1
    )


class _Connection:
    """A connection to a server."""

    __slots__ = ("_poll", "socket")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._poll = select.poll() if hasattr(select, "poll") else None  # not on Windows
        if self._poll is not None:
            self._poll.register(sock, select.POLLIN)

    def has_ended(self) -> bool:
        """Whether the server has closed it, or has sent what nobody has asked for."""
        return bool(self._poll.poll(0)) if self._poll is not None else wait_for_read(self.socket, timeout=0)


def _close_all(idle: deque[_Connection]) -> None:
    while idle:
        idle.pop().socket.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _limit(sock: socket.socket, deadline: float) -> None:
    """Have the next call of ``sock`` end at ``deadline``, or within :data:`_SLACK` of it."""
    left, known = _left(deadline), sock.gettimeout()
    if known is None or abs(known - left) > _SLACK:
        sock.settimeout(left)


def _send(sock: socket.socket, head: bytes, body: bytes, encoding: str) -> bool:
    """Send a request; returns whether all of it was sent. A server may answer and close before it has read all."""
    encoded = f"Content-Encoding: {encoding}\r\n".encode() if encoding else b""
    head = b"%b%bContent-Length: %d\r\n\r\n" % (head, encoded, len(body))
    try:
        if len(body) <= _JOINED:
            sock.sendall(head + body)
        else:
            sock.sendall(head)
            sock.sendall(body)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _receive(sock: socket.socket, deadline: float) -> tuple[Response, bool]:
    """Read an answer; also returns whether the connection can be used again."""
    _limit(sock, deadline)
    data = sock.recv(_CHUNK)
    head, end, body = data.partition(b"\r\n\r\n")
    found = _usual(head) if end else None
    if found is None:
        return _unusual(sock, data, deadline)
    status, headers, length = found
    if len(body) < length:
        sock.settimeout(min(BODY_SECONDS, _left(deadline)))
        try:
            body += sock.recv(_CHUNK)
        except TimeoutError:
            return Response(status, headers, body), False  # the result is known
        if len(body) < length:
            return _unusual(sock, b"".join((head, end, body)), deadline)
    is_kept = len(body) == length and not _CLOSES.search(headers.get("connection", ""))
    return Response(status, headers, body[:length]), is_kept


@lru_cache(maxsize=4)  # many answers in a second differ in nothing
def _usual(head: bytes) -> tuple[int, Mapping[str, str], int] | None:
    """Status, headers and length of the body; None if the answer is not one that servers usually give."""
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            return None
        name = found[1].decode().lower()
        value = found[2].decode().rstrip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    length = headers.get("content-length", "")
    is_usual = _LENGTH.fullmatch(length) and int(length) <= MAX_BODY and int(status[1]) not in _WITHOUT_BODY
    if not is_usual or "transfer-encoding" in headers:
        return None
    return int(status[1]), MappingProxyType(headers), int(length)


def _unusual(sock: socket.socket, data: bytes, deadline: float) -> tuple[Response, bool]:
    """Read an answer that begins with ``data``: one in chunks, of unknown length, large, slow or malformed."""
    sock.settimeout(_left(deadline))
    with BoundedResponse(sock, method="POST", received=data) as response:
        response.begin()
        headers: dict[str, str] = {}
        for name, value in response.headers.items():
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        body, is_whole = first_bytes(response.read1)
        if is_whole and response.length:
            raise IncompleteRead(body, response.length)
        return Response(response.status, headers, body), is_whole and not response.will_close
