"""Sends records from a process beside the application, which saves the application's interpreter most of the work.

The records stay in the application's queue until they are answered. So everything that counts, retries, limits or
logs is the same as with an :class:`HttpClient`, and whatever becomes of the process, a record is sent here instead.

The process starts when the application is busy. It is no child of the application, whose ``os.wait()`` never sees it.
"""

import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress

from brain_otel.delivery.http import SENT, Answer, HttpClient
from brain_otel.delivery.posting import BATCH, IS_NOT, IS_SENT, LENGTH, read_into, read_json, with_length
from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.shipper_process import without_instrumentation
from brain_otel.delivery.target import Target
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.limited_log import CountLog

logger = logging.getLogger(__name__)

IN_TURN = 32
"""Records that the process sends one after the other, and answers together."""

MAX_BYTES = 2**20
"""Bytes of the bodies that the process gets together, unless one has more."""

BUSY_RECORDS, BUSY_SECONDS = 20, 10.0
"""The process starts with so many records within so many seconds."""

START_SECONDS = 30.0
"""Seconds within which the process must have started."""

RESTART_SECONDS = 10.0
"""Seconds from one start to the next."""

ANSWER_SECONDS = 5.0
"""Seconds to wait for an answer, beyond the timeout of the target."""

_SECRETS = ("SENTRY_", "OTEL_", "BRAIN_OTEL_")
"""Prefixes of variables that the process does not need."""

_CODE = """
import os, sys, types
if os.fork():
    os._exit(0)  # the other is no child of the application
package = types.ModuleType("brain_otel")  # whose own imports would take half of the memory
package.__path__ = sys.argv[1:]
sys.modules["brain_otel"] = package
from brain_otel.delivery.posting import main
main()
"""


class HttpProcess:
    """An :class:`HttpClient` that has a process send while there is one; only one thread may call ``send_*``."""

    def __init__(self, target: Target, *, connections: int) -> None:
        self._target = target
        self._here = HttpClient(target, connections=connections)
        self._log = CountLog(
            logger, "The process that sends to %s has ended, and is started again: %s", target.address, of_items=False
        )
        self._process: _Process | None = None
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Start without a process: in a forked child it belongs to the parent."""
        if self._process is not None:
            self._process.forget()
            self._process = None
        self._may_start_at = 0.0
        self._since, self._count = 0.0, 0

    @property
    def in_turn(self) -> int:
        """Records that :meth:`send_in_turn` may send."""
        return IN_TURN if self._process is not None and self._process.pid else 1

    def send(self, record: Record, timeout: float | None = None) -> Answer:
        """Send ``record`` from this process."""
        return self._here.send(record, timeout)

    def send_in_turn(self, records: Sequence[Record], timeout: float | None = None) -> list[Answer]:
        """Send the first of ``records``; returns the answers to those that were sent, none if the process ended."""
        return self._sent(records, timeout, at_once=False)

    def send_all(self, records: Sequence[Record], timeout: float | None = None) -> list[Answer]:
        """Send ``records`` at once; returns the answers, none if the process ended."""
        return self._sent(records, timeout, at_once=True)

    def stop(self, thread: threading.Thread, timeout: float) -> None:
        """Have nothing more sent, and wait up to ``timeout`` seconds until ``thread`` has got the answers."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()
        thread.join(timeout)
        if process is not None:
            process.abandon()
            thread.join(0.1)
            if not thread.is_alive():
                process.close()

    def _sent(self, records: Sequence[Record], timeout: float | None, *, at_once: bool) -> list[Answer]:
        process = self._ready(len(records)) if timeout is None else None
        if process is None:
            return self._here.send_all(records, timeout) if at_once else self._here.send_in_turn(records, timeout)
        answers: list[Answer] = []
        try:
            process.send(_first(records), answers, at_once=at_once)
        except (EOFError, OSError, ValueError, TypeError) as error:
            process.close()
            if self._process is process:  # else it was stopped
                self._process = None
                self._log.add(str(error) or type(error).__name__)
        return answers

    def _ready(self, count: int) -> "_Process | None":
        """The process, if it runs; starts it if ``count`` more records make this process a busy one."""
        now = time.monotonic()
        if now - self._since > BUSY_SECONDS:
            self._since, self._count = now, 0
        self._count += count
        process = self._process
        try:
            if process is None and self._count >= BUSY_RECORDS and now >= self._may_start_at:
                self._may_start_at = now + RESTART_SECONDS
                process = self._process = _Process(self._target)
            return process if process is not None and process.is_ready() else None
        except RuntimeError:  # the interpreter is about to end
            return None
        except (EOFError, OSError) as error:
            if self._process is process:  # else it was stopped
                self._may_start_at, self._process = float("inf"), None
                logger.warning("No process can send to %s (%s); a thread sends instead", self._target.address, error)
            return None


class _Process:
    """A process that sends, and the socket to it.

    Raises:
        OSError: It cannot be started.
        RuntimeError: The interpreter is about to end.
    """

    def __init__(self, target: Target) -> None:
        self.pid = 0
        """Its id, once it is ready."""
        self._writing = threading.Lock()
        self._until = time.monotonic() + START_SECONDS
        self._socket, other = socket.socketpair()
        try:
            with other:
                self._parent = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                    [_interpreter(), "-P", "-S", "-c", _CODE, *sys.modules["brain_otel"].__path__],
                    stdin=other.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(os.environ),
                    start_new_session=True,  # Ctrl-C in the terminal is for the application
                )
        except BaseException:
            self._socket.close()
            raise
        self._release = weakref.finalize(self, _release, self._socket, self._parent)
        self._release.atexit = False  # the exit may still send
        self._socket.settimeout(0.0)
        self._socket.sendall(with_length(target.to_json()))
        seconds = struct.pack("ll", int(target.timeout + ANSWER_SECONDS), 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # Python's timeout would wake us for each mark
            self._socket.setsockopt(socket.SOL_SOCKET, option, seconds)

    def is_ready(self) -> bool:
        """Whether it has started.

        Raises:
            EOFError: It could not.
            OSError: It has taken too long.
        """
        if self.pid:
            return True
        try:
            data = self._socket.recv(LENGTH.size)
        except BlockingIOError:
            if time.monotonic() > self._until:
                self.close()
                raise TimeoutError("it did not start in time") from None
            return False
        if not data:
            self.close()
            raise EOFError("it ended at its start")
        self._parent.wait()
        self._socket.settimeout(None)
        (self.pid,) = LENGTH.unpack(data)
        return True

    def send(self, records: Sequence[Record], answers: list[Answer], *, at_once: bool) -> None:
        """Send ``records``, and add the answers to ``answers`` as far as there are any.

        Raises:
            EOFError: It has ended.
            OSError: It does not answer.
        """
        bodies = [each.body for each in records]
        lengths = b"".join(LENGTH.pack(len(body)) for body in bodies)
        marks = bytearray()
        try:
            with self._writing:
                self._socket.sendall(b"".join((BATCH.pack(len(bodies), at_once), lengths, *bodies)))
            read_into(marks, self._socket, len(bodies))
        finally:
            answers += [SENT] * marks.count(IS_SENT)
        if IS_NOT in marks:
            answers += [Answer(*each) for each in read_json(self._socket)]

    def stop(self) -> None:
        """Have it send nothing more, and end."""
        if self._writing.acquire(timeout=0.1):
            with suppress(OSError):
                self._socket.sendall(BATCH.pack(0, False))
            self._writing.release()

    def abandon(self) -> None:
        """Let nobody wait for an answer any more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Close the socket in a forked child, which must not wait for a process of its parent's."""
        self._release.detach()
        self._socket.close()
        self._parent.returncode = 0

    def close(self) -> None:
        """Close the socket, and collect the process where orphans become children of this one."""
        self._release()
        if self.pid and os.getpid() == 1:
            with suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)


def _release(sock: socket.socket, parent: subprocess.Popen[bytes]) -> None:
    """Close the socket to a process, and collect its parent, which ends at once, or hangs and is killed."""
    sock.close()
    if parent.returncode is None:
        parent.kill()
        parent.wait()


def _first(records: Sequence[Record]) -> list[Record]:
    """The first record, and more up to :data:`MAX_BYTES`."""
    size = 0
    chosen: list[Record] = []
    for record in records:
        size += len(record.body)
        if chosen and size > MAX_BYTES:
            break
        chosen.append(record)
    return chosen


def _interpreter() -> str:
    """The path of Python, which a frozen application or an embedding server does not have.

    Raises:
        OSError: There is none.
    """
    name = os.path.basename(sys.executable or "").lower()  # noqa: PTH119 - no path is made
    if getattr(sys, "frozen", False) or not name.startswith(("python", "pypy")):
        raise OSError("the interpreter cannot be started")
    return sys.executable


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for the process: none with a secret of ours."""
    variables = without_instrumentation(environ)
    return {name: value for name, value in variables.items() if not name.startswith(_SECRETS)}
