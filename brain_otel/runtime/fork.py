"""Forks: what a child resets, and a wait for imports before each fork.

A child has only the thread that forked. Locks that other threads held stay locked, and queued work belongs to the
parent. :func:`reset_in_child` gives an object a fresh start there.

The lock of a module belongs to the thread that imports it. A child that needs a module which another thread was
importing would wait forever. Libraries import some modules late (requests imports ``netrc`` with its first request),
and exporters call them on threads: a worker that a server forked at that moment exported nothing.
"""

import os
import threading
import time
from importlib import _bootstrap  # private: no public function tells which thread holds an import lock
from typing import Protocol
from weakref import WeakKeyDictionary

from brain_otel.runtime.guard import guarded

TIMEOUT = 1.0
"""Seconds that a fork waits at most."""


class Resettable(Protocol):
    """An object with locks, threads or queues that belong to one process."""

    def _reset(self) -> None:
        """Start as if the process had just made the object."""


# Weak: the interpreter never drops a fork hook, and a strong reference would keep the objects alive.
_resettable: WeakKeyDictionary[Resettable, None] = WeakKeyDictionary()


def reset_in_child(resettable: Resettable) -> None:
    """Call ``resettable._reset()`` in each forked child, for as long as the object lives.

    The calls happen in the order of registration, before the hooks of OpenTelemetry's SDK, which start threads.
    """
    _resettable[resettable] = None


def _reset_all() -> None:
    for resettable in list(_resettable):
        with guarded("resetting an object in a forked child"):
            resettable._reset()


def _wait_for_imports() -> None:
    with guarded("waiting for imports before a fork"):
        deadline = time.monotonic() + TIMEOUT
        while _others_import() and time.monotonic() < deadline:
            time.sleep(0.001)


def _others_import() -> bool:
    """Whether another thread is importing. A module's lock exists only while a thread imports the module."""
    locks = dict(getattr(_bootstrap, "_module_locks", {}))
    owners = {getattr(lock(), "owner", None) for lock in locks.values()}
    return not owners <= {None, threading.get_ident()}


# The first `before` hook to be registered runs last, next to the fork.
os.register_at_fork(before=_wait_for_imports, after_in_child=_reset_all)
