"""Who sends what this process spools: a thread here, a process beside it, or somebody else's.

One :class:`ShipperSupervisor` serves all destinations of a process that use one directory.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Literal

from brain_otel.delivery.spool.directory import (
    SHIPPER_LOCK,
    Bounds,
    is_empty,
    let_go,
    locked,
    own,
    segments,
    try_lock,
)
from brain_otel.delivery.spool.writer import Spool
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.threads import start_daemon

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from brain_otel.configuration.settings import DeliverySettings
    from brain_otel.delivery.spool.shipper import Shipper
    from brain_otel.delivery.target import Target


Mode = Literal["thread", "process", "external"]


USERS = "users.lock"


WATCH = 1.0
"""Seconds between two looks whether there is still a shipper."""


logger = logging.getLogger(__name__)


class ShipperSupervisor:
    """Keeps a shipper for a directory, in a thread or a process, for as long as this process uses it."""

    def __init__(self, directory: Path, mode: Mode) -> None:
        self.mode: Mode = mode if mode != "process" or sys.executable else "thread"
        self.users = 0
        self._directory = directory
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Begin anew; in a forked child the thread, the process and the locks are the parent's."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._shipper: Shipper | None = None
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._use: int | None = None
        self._needed = threading.Event()
        """Whether there is something to send; without, a process may as well start a little later."""

    def begin(self) -> None:
        """The directory is used: see to it that what waits there since the last run is sent."""
        if self._thread is None:
            self._start()

    def wake(self, target_id: str) -> None:
        """A record has been written; see to it that somebody sends it."""
        if not self._needed.is_set():
            self._needed.set()
        if self._thread is None:
            self._start()
        if self._shipper is not None:
            self._shipper.wake(target_id)

    def wait(self, folder: Path, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until nothing for one target is left."""
        deadline = time.monotonic() + timeout
        while (
            self._thread is not None
            and time.monotonic() < deadline
            and any(segment.acknowledged() < segment.size() for segment in segments(folder, "errors", "traces"))
        ):
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the thread; a process ends by itself when nobody uses its directory."""
        with self._lock:
            self._stopped.set()
            self._needed.set()
            if self._shipper is not None:
                self._shipper.stop()
            if self._thread is not None and self._thread is not threading.current_thread():
                self._thread.join(0.5)
                if self.mode == "process" and self._process is None and not is_empty(self._directory):
                    with guarded("starting the shipper at the end"):
                        self._start_process()
            if self._use is not None:
                let_go(self._use)
                self._use = None

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
        """Hold the directory as one of its users, and start a shipper whenever there is none.

        The first not at once: its start would take the time of the application's.
        """
        with guarded("using a spool"):
            self._hold()
        self._needed.wait(WATCH)
        while not self._stopped.is_set():
            with guarded("looking after the shipper's process"):
                self._hold()
                if self.mode == "process":
                    self._start_process()
            self._stopped.wait(WATCH)

    def _hold(self) -> None:
        if self._use is not None and not os.fstat(self._use).st_nlink:
            let_go(self._use)
            self._use = None
        if self._use is None:
            descriptor = own(os.open(self._directory / USERS, os.O_RDWR | os.O_CREAT, 0o600))
            if try_lock(descriptor, shared=True):
                self._use = descriptor
            else:  # a shipper is just looking whether anybody is here
                let_go(descriptor)

    def _start_process(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        with locked(self._directory / SHIPPER_LOCK, shared=True) as is_free:
            pass
        if is_free:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                [sys.executable, "-m", "brain_otel.delivery", str(self._directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_without_instrumentation(os.environ),
                start_new_session=True,  # a Ctrl-C in the terminal is the application's
            )


def _without_instrumentation(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that is not to be instrumented, as ``opentelemetry-instrument`` would have it."""
    path = [each for each in sys.path if each and not each.endswith("auto_instrumentation")]
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


def supervisor_of(directory: Path, mode: Mode) -> ShipperSupervisor:
    """The supervisor for ``directory`` in this process; call :func:`leave` once for each call."""
    with _supervisors.lock:
        supervisor = _supervisors.by_use.setdefault((directory, mode), ShipperSupervisor(directory, mode))
        supervisor.users += 1
        return supervisor


def leave(directory: Path, mode: Mode) -> None:
    """Release a supervisor; it stops its shipper when the last user in this process has left."""
    with _supervisors.lock:
        supervisor = _supervisors.by_use.get((directory, mode))
        if supervisor is None:
            return
        supervisor.users -= 1
        if supervisor.users <= 0:
            del _supervisors.by_use[directory, mode]
            supervisor.stop()


def open_spool(settings: DeliverySettings, target: Target) -> tuple[Spool, ShipperSupervisor] | None:
    """The spool for ``target`` and who sends what is in it; None without a directory."""
    if settings.spool is None:
        return None
    bounds = Bounds(settings.spool.max_bytes, settings.spool.max_age)
    spool = Spool(settings.spool.directory, target, bounds)
    try:
        spool.prepare()
    except OSError as error:
        logger.error("The spool %s cannot be made (%s)", settings.spool.directory, error.strerror or error)
    shipping = supervisor_of(settings.spool.directory, settings.shipper)
    shipping.begin()
    return spool, shipping
