"""The process that makes the requests of an application; see :mod:`.http_process`. It sends what it gets on stdin.

stdin is a socket. First comes the target, as JSON. Then each request is a batch of bodies, and the answer to it is a
mark for each body, and an :class:`Answer` for those that were not simply sent.

It ends when the application does. It first sends the batch that it has got, unless the application has said that it
has counted these records as lost.
"""

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from brain_otel.configuration.sections.delivery import CONNECTIONS
from brain_otel.delivery.http import FAST, SENT, Answer, HttpClient
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target

LENGTH = struct.Struct("<I")
"""Before JSON its bytes, and before a body its bytes. As the first answer, the id of this process."""

BATCH = struct.Struct("<H?")
"""Number of bodies, and whether to send them at once; no bodies: the application sends no more."""

IS_SENT, IS_NOT = b"+", b"-"
"""Marks: the body was sent; it was not, and what the answers after the marks say became of it."""

GRACE = 5.0
"""Seconds to send the batch after the application was killed."""


def read_into(data: bytearray, sock: socket.socket, count: int) -> None:
    """Read until ``data`` has ``count`` bytes, also if a signal interrupts the system call.

    Raises:
        EOFError: The other side has ended.
        OSError: It took too long.
    """
    while left := count - len(data):
        try:
            more = sock.recv(left, socket.MSG_WAITALL)
        except BlockingIOError:
            raise TimeoutError("it does not answer") from None
        if not more:
            raise EOFError("it was killed")
        data += more


def read(sock: socket.socket, count: int) -> bytes:
    """Read ``count`` bytes.

    Raises:
        EOFError: The other side has ended.
        OSError: It took too long.
    """
    data = bytearray()
    read_into(data, sock, count)
    return bytes(data)


def read_json(sock: socket.socket) -> Any:
    """Read JSON and its length."""
    return json.loads(read(sock, *LENGTH.unpack(read(sock, LENGTH.size))))


def with_length(text: str) -> bytes:
    """``text`` as :func:`read_json` reads it."""
    data = text.encode()
    return LENGTH.pack(len(data)) + data


def serve(sock: socket.socket) -> None:
    """Send each batch until the application ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the application decides when to end
        signal.signal(number, signal.SIG_IGN)
    client = HttpClient(Target.from_data(read_json(sock)), connections=CONNECTIONS)
    sock.sendall(LENGTH.pack(os.getpid()))
    while _send_batch(sock, client):
        pass


def _send_batch(sock: socket.socket, client: HttpClient) -> bool:
    """Send one batch; returns whether another may come."""
    count, at_once = BATCH.unpack(read(sock, BATCH.size))
    if not count:
        return False
    lengths = [LENGTH.unpack(read(sock, LENGTH.size))[0] for _ in range(count)]
    records = [Record("default", read(sock, length)) for length in lengths]
    if at_once:
        answers = client.send_all(records)
    else:
        answers = list(_in_turn(sock, client, records))
        count -= sum(answer is SENT for answer in answers)
        answers = [answer for answer in answers if answer is not SENT]
    if count:
        _tell(sock, IS_NOT * count + with_length(json.dumps(answers, default=dict)))
    return True


def _in_turn(sock: socket.socket, client: HttpClient, records: list[Record]) -> Iterator[Answer]:
    """Send one after the other and mark each, up to the first that is slow or was not simply sent."""
    until: float | None = None
    for record in records:
        began = time.monotonic()
        answer = client.send(record, None if until is None else max(0.01, until - began))
        if answer != SENT:
            yield answer
            return
        _tell(sock, IS_SENT)
        yield SENT
        state = _state_of(sock)
        if state == "killed":
            until = until or time.monotonic() + GRACE
        elif state == "stopped" or time.monotonic() - began >= FAST:
            return
        if until is not None and time.monotonic() > until:
            return


def _tell(sock: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # nobody listens any more
        sock.sendall(data)


def _state_of(sock: socket.socket) -> str:
    """Whether the application goes on, has said that it stops, or was killed. It sends nothing else meanwhile."""
    try:
        return "stopped" if sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) else "killed"
    except BlockingIOError:
        return "goes on"
    except OSError:
        return "killed"


def main() -> None:
    """Serve the application at the other end of stdin, then end whatever is in flight."""
    with suppress(EOFError, OSError, ValueError):
        serve(socket.socket(fileno=0))
    os._exit(0)
