"""TCP ports of 127.0.0.1 that no other process of tests takes, in this run or in another beside it."""

import fcntl
import functools
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FIRST, BLOCK, BLOCKS = 10_000, 250, 90
"""The first port, the ports of a block, the blocks. The system gives higher ports to connections and to port 0."""


def free_port() -> int:
    """Return a port on which nothing listens; a port comes again after all others of this process's block."""
    for port in _ports():
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable")


@functools.cache
def _ports() -> Iterator[int]:
    first = FIRST + _claim_block() * BLOCK
    return itertools.cycle(range(first, first + BLOCK))


def _claim_block() -> int:
    """Return the number of a block that no living process has claimed; the lock ends with this process."""
    for number in range(BLOCKS):
        file = os.open(Path(tempfile.gettempdir(), f"ports-of-tests-{os.getuid()}-{number}"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        else:
            return number
    raise RuntimeError(f"{BLOCKS} processes of tests take ports")
