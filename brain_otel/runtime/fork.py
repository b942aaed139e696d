"""Forks while other threads import: a child would wait for ever for a module that its parent was in the middle of.

The lock of a module belongs to the thread that imports it, and a child has only the thread that forked. Libraries
import some things when they need them first, as requests does with ``netrc``, and what sends telemetry needs them on
threads: a worker that a server forked just then exported nothing.
"""

from __future__ import annotations

import os
import threading
import time
from importlib import _bootstrap  # private: there is no other way to ask

from brain_otel.runtime.guard import guarded

TIMEOUT = 1.0
"""Seconds that a fork waits at most."""


def _wait_for_imports() -> None:
    with guarded("waiting for imports before a fork"):
        deadline = time.monotonic() + TIMEOUT
        while _others_import() and time.monotonic() < deadline:
            time.sleep(0.001)


def _others_import() -> bool:
    """Whether a thread but this one is importing. The locks are there for as long as somebody imports."""
    locks = dict(getattr(_bootstrap, "_module_locks", {}))
    owners = {getattr(lock(), "owner", None) for lock in locks.values()}
    return not owners <= {None, threading.get_ident()}


# Of these hooks the first that was registered runs last: next to the fork.
os.register_at_fork(before=_wait_for_imports)
