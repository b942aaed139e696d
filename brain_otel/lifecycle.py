"""The end of the process: what was observed is sent before it goes, within a time bound.

There are three ways for a service to end, and each is met: the ASGI server's shutdown (while the loop still
runs), the interpreter's (``atexit``), and SIGTERM where nobody else handles it. uvicorn restores the handler
that it found and raises the signal again once it has shut down, which with the default handler ends the
process before ``atexit``; so a handler is installed where there was none, which ends the process by the same
signal after sending.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from typing import TYPE_CHECKING

from brain_otel.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_flush: Callable[[], object] | None = None
_registered = False


def configure_exit(flush: Callable[[], object]) -> None:
    """Have ``flush`` called, bounded by itself, whenever the process is about to end."""
    global _flush, _registered
    _flush = flush
    if not _registered:
        _registered = True
        atexit.register(flush_before_exit)
        _handle_sigterm()


def forget_exit() -> None:
    """Have nothing called any more; a signal handler that was installed stays and does nothing of its own."""
    global _flush
    _flush = None


def flush_before_exit() -> None:
    """Send what waits."""
    if _flush is not None:
        with guarded("sending what waits before the process ends"):
            _flush()


def _handle_sigterm() -> None:
    with guarded("installing a handler for SIGTERM"):
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # On a thread: the signal may have come while this one held a lock that flushing needs.
    sender = threading.Thread(target=flush_before_exit, name="brain_otel.exit", daemon=True)
    with guarded("sending what waits on SIGTERM"):
        sender.start()
        sender.join(3.0)
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
