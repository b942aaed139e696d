"""Decides who sends what this process spools: a thread here, a process beside it, or somebody else's.

All destinations of a process that use one directory share a :class:`ShipperSupervisor`.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from brain_otel.configuration.sections.delivery import DeliverySettings
from brain_otel.delivery.spool.directory import SHIPPER_LOCK, USERS_LOCK, Bounds, is_empty, is_sent
from brain_otel.delivery.spool.locks import close_own, is_locked, open_own, try_lock
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.limited_log import CountLog
from brain_otel.runtime.threads import start_daemon

if TYPE_CHECKING:
    from brain_otel.delivery.spool import state
    from brain_otel.delivery.spool.shipper import Shipper
else:
    # A flush needs it.
    state = late_module("brain_otel.delivery.spool.state")

logger = logging.getLogger(__name__)

Mode = Literal["thread", "process", "external"]

WATCH_INTERVAL = 1.0
"""Seconds between two checks that a shipper's process runs."""

LAST_ANSWER = 0.5
"""Seconds to wait for the answers to requests in flight at the end of a process."""


class ShipperSupervisor:
    """Keeps a shipper running for a directory, in a thread or a process, while this process uses the directory."""

    def __init__(self, directory: Path, mode: Mode) -> None:
        self.mode: Mode = mode if mode != "process" or sys.executable else "thread"
        self.users = 0
        self._directory = directory
        self._end_log = CountLog(
            logger, "The shipper's process for %s has ended, and is started again: %s", directory, of_items=False
        )
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Start anew: in a forked child the thread, the process and the locks belong to the parent."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._shipper: Shipper | None = None
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._users_lock: int | None = None
        self._needed = threading.Event()
        """Set with the first record; until then a process may start later."""

    def start(self) -> None:
        """Start the shipper, for records that an earlier run has left."""
        if self._thread is None:
            self._start()

    def wake(self, target_id: str) -> None:
        """Have a record sent that was just written."""
        if not self._needed.is_set():
            self._needed.set()
        self.start()
        if self._shipper is not None:
            self._shipper.wake(target_id)

    def wait(self, folder: Path, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until all records of a target are sent that are not limited for longer."""
        deadline = time.monotonic() + timeout
        self.start()
        while self._thread is not None and (left := deadline - time.monotonic()) > 0:
            with suppress(OSError):  # there is no descriptor to look with
                if is_sent(folder) or state.is_limited_for(folder, left):
                    return
            time.sleep(0.01)

    def pause(self, timeout: float) -> None:
        """Stop the thread, so that no request is in flight if the process ends; the next record starts another."""
        with self._lock:
            if self._shipper is not None:
                self._shipper.stop()
                if self._thread is not None:
                    self._thread.join(timeout)
                self._shipper = self._thread = None

    def stop(self) -> None:
        """Stop the thread. A process ends by itself when nobody uses its directory."""
        with self._lock:
            self._stopped.set()
            self._needed.set()
            if self._shipper is not None:
                self._shipper.stop()
            if self._thread is not None and self._thread is not threading.current_thread():
                self._thread.join(LAST_ANSWER)
                with guarded("starting the shipper at the end"):
                    if self.mode == "process" and self._process is None and not is_empty(self._directory):
                        self._start_process()
            if self._users_lock is not None:
                close_own(self._users_lock)
                self._users_lock = None

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._stopped.is_set() or self.mode == "external":
                return
            if self.mode == "thread":
                from brain_otel.delivery.spool.shipper import Shipper

                self._shipper = Shipper(self._directory)
            run = self._shipper.run if self._shipper is not None else self._watch
            self._thread = start_daemon(run, "brain_otel.shipper")

    def _watch(self) -> None:
        """Hold the directory as one of its users, and start a shipper's process whenever there is none.

        The first start waits for a record, or for a second: it would slow the start of the application down.
        """
        with guarded("using a spool"):
            self._hold()
        self._needed.wait(WATCH_INTERVAL)
        while not self._stopped.is_set():
            with guarded("watching the shipper's process"):
                self._hold()
                self._start_process()
            self._stopped.wait(WATCH_INTERVAL)

    def _hold(self) -> None:
        """Lock the users' file, also after somebody has removed it."""
        if self._users_lock is not None and not os.fstat(self._users_lock).st_nlink:
            close_own(self._users_lock)
            self._users_lock = None
        if self._users_lock is None:
            descriptor = open_own(self._directory / USERS_LOCK, os.O_RDWR | os.O_CREAT)
            if try_lock(descriptor, shared=True):
                self._users_lock = descriptor
            else:  # a shipper is checking whether there are users
                close_own(descriptor)

    def _start_process(self) -> None:
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            if code:
                self._end_log.add(f"exit code {code}")
            self._process = None
        if not is_locked(self._directory / SHIPPER_LOCK):
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                [sys.executable, "-P", "-m", "brain_otel.delivery", str(self._directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=without_instrumentation(os.environ),
                start_new_session=True,  # Ctrl-C in the terminal is for the application
            )


def without_instrumentation(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that ``opentelemetry-instrument`` does not instrument."""
    path = [each for each in sys.path if isinstance(each, str) and each and not each.endswith("auto_instrumentation")]
    return {**environ, "PYTHONPATH": os.pathsep.join(path)}


class _Supervisors:
    """The supervisors of this process, by directory and mode."""

    def __init__(self) -> None:
        self.by_use: dict[tuple[Path, Mode], ShipperSupervisor] = {}
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self.lock = threading.Lock()


_supervisors = _Supervisors()


def acquire_supervisor(directory: Path, mode: Mode) -> ShipperSupervisor:
    """The supervisor for ``directory`` in this process; call :func:`release_supervisor` once for each call."""
    with _supervisors.lock:
        supervisor = _supervisors.by_use.setdefault((directory, mode), ShipperSupervisor(directory, mode))
        supervisor.users += 1
        return supervisor


def release_supervisor(directory: Path, mode: Mode) -> None:
    """Release a supervisor; with its last user in this process it stops."""
    with _supervisors.lock:
        supervisor = _supervisors.by_use.get((directory, mode))
        if supervisor is None:
            return
        supervisor.users -= 1
        if supervisor.users <= 0:
            del _supervisors.by_use[directory, mode]
            supervisor.stop()


def open_spool(settings: DeliverySettings, target: Target) -> tuple[Spool, ShipperSupervisor] | None:
    """The spool for ``target`` and the supervisor of its shipper; None without a directory."""
    if settings.spool is None:
        return None
    directory = settings.spool.directory
    spool = Spool(directory, target, Bounds(settings.spool.max_bytes, settings.spool.max_age))
    try:
        spool.prepare()
    except OSError as error:
        logger.error("The spool %s cannot be created (%s)", directory, error.strerror or error)
    supervisor = acquire_supervisor(directory, settings.shipper)
    supervisor.start()
    return spool, supervisor
