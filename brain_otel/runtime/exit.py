"""The end of the process: what was observed is sent before it goes, within a time bound.

There are four ways for a process to end, and each is met: the ASGI server's shutdown (while the loop still
runs), the interpreter's (``atexit``), that of multiprocessing's forked workers, which skips the interpreter's, and
SIGTERM where nobody else handles it. uvicorn restores the handler
that it found and raises the signal again once it has shut down, which with the default handler ends the
process before ``atexit``; so a handler is installed where there was none, which ends the process by the same
signal after sending.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import wrapt

from brain_otel.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_MULTIPROCESSING = "multiprocessing.util"

_flush: Callable[[], object] | None = None
_end: Callable[[], object] | None = None
_registered = False


def configure_exit(flush: Callable[[], object], end: Callable[[], object]) -> None:
    """Have ``flush`` called whenever the process is about to end, then ``end``, each bounded by itself.

    A server's shutdown is followed by another end: ``flush`` alone is called for it.
    """
    global _flush, _end, _registered
    _flush, _end = flush, end
    if not _registered:
        _registered = True
        atexit.register(_leave)
        wrapt.register_post_import_hook(_flush_in_workers, _MULTIPROCESSING)
    _handle_sigterm()


def forget_exit() -> None:
    """Have nothing called any more."""
    global _flush, _end
    _flush = _end = None
    with guarded("taking the handler for SIGTERM out"):
        if _in_main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def flush_before_exit() -> None:
    """Send what waits."""
    if _flush is not None:
        with guarded("sending what waits before the process ends"):
            _flush()


def _leave() -> None:
    flush_before_exit()
    if _end is not None:
        with guarded("leaving what was not sent"):
            _end()


def _flush_in_workers(util: Any) -> None:
    """Flush at the end of multiprocessing's forked workers, which leave by ``os._exit``, past ``atexit``."""

    def prepare(module: object) -> None:  # noqa: ARG001
        util.Finalize(None, _leave, exitpriority=0)

    # Of what is registered for after a fork, only as much is kept as lives: this module.
    util.register_after_fork(sys.modules[__name__], prepare)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _handle_sigterm() -> None:
    with guarded("installing a handler for SIGTERM"):
        if _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # On a thread: the signal may have come while this one held a lock that flushing needs.
    sender = threading.Thread(target=_leave, name="brain_otel.exit", daemon=True)
    with guarded("sending what waits on SIGTERM"):
        sender.start()
        sender.join(3.0)
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
