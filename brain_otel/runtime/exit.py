"""The end of the process: flush before it, within a time bound.

A process ends in one of four ways, and each is handled:

- The ASGI server shuts down, while the event loop still runs: the lifespan ends, or uvicorn's server, which may serve
  without one.
- The interpreter exits (``atexit``).
- A forked worker of multiprocessing ends, which skips ``atexit``.
- SIGTERM arrives and nobody else handles it. uvicorn restores the handler that it found and raises the signal again
  once it has shut down; the default handler ends the process before ``atexit``. So a handler replaces the default
  one, flushes, and ends the process by the same signal.
"""

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import wrapt

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.limited_log import log_counts
from brain_otel.runtime.threads import finished, start_daemon

logger = logging.getLogger(__name__)

_MULTIPROCESSING = "multiprocessing.util"
_PROCESSES = "multiprocessing.process"
_UVICORN = "uvicorn.server"

SHUTDOWN_PAUSE = 1.0
"""Seconds after a lifespan's end within which the server's end needs no flush."""


class _Exit:
    """What to call at the end of this process."""

    def __init__(self) -> None:
        self.begin: Callable[[], object] | None = None
        self.flush: Callable[[], object] | None = None
        self.pause: Callable[[], Mapping[str, int]] | None = None
        self.end: Callable[[], object] | None = None
        self.is_registered = False
        self.is_leaving = False
        """Whether :meth:`leave` is running."""
        self.has_left = False
        """Whether :meth:`leave` has run at an end that is not the server's."""
        self.shut_down_at = float("-inf")
        """When the server's latest shutdown was flushed."""

    def leave(self) -> None:
        """Flush, then end."""
        self.is_leaving = True
        if self.begin is not None:
            with guarded("ending the script's transaction"):
                self.begin()
        flush_before_exit()
        if self.end is not None:
            with guarded("ending the destinations"):
                self.end()
        log_counts()
        self.is_leaving, self.has_left = False, True

    def leave_in_worker(self, util: Any) -> None:
        """Leave at the end of multiprocessing's workers, which call ``os._exit()`` and skip ``atexit``.

        A worker begins by forgetting what to call at its end, and then calls what was registered before: in the
        process that forked it, or while it imported the main module. A worker that is running registers itself.
        """
        # multiprocessing keeps only a weak reference to its first argument, which must live as long as the process.
        util.register_after_fork(self, lambda exit_: util.Finalize(None, exit_.leave, exitpriority=0))
        if sys.modules[_PROCESSES].parent_process() is not None:
            util.Finalize(None, self.leave, exitpriority=0)


def _flush_at_uvicorns_shutdown(server: Any) -> None:
    """Flush at the end of uvicorn's servers; a worker then ends by its signal, which nobody handles."""

    @wrapt.decorator
    async def shutdown(wrapped: Callable[..., Any], _: object, args: Any, kwargs: Any) -> Any:
        try:
            return await wrapped(*args, **kwargs)
        finally:
            if time.monotonic() - _exit.shut_down_at > SHUTDOWN_PAUSE:
                await finished(flush_at_shutdown, "brain_otel.shutdown")

    with guarded("wrapping uvicorn's shutdown"):
        server.Server.shutdown = shutdown(server.Server.shutdown)


_exit = _Exit()


def configure_exit(
    flush: Callable[[], object], pause: Callable[[], Mapping[str, int]], end: Callable[[], object]
) -> None:
    """Call ``flush`` and then ``end`` when the process is about to end; each bounds its own time.

    A server's shutdown calls ``flush`` and ``pause``, which returns what waits in memory, by category. Another end
    may follow, or none: uvicorn ends its process by the signal that it has got.
    """
    _exit.flush, _exit.pause, _exit.end, _exit.has_left = flush, pause, end, False
    if not _exit.is_registered:
        _exit.is_registered = True
        atexit.register(_exit.leave)
        wrapt.register_post_import_hook(_exit.leave_in_worker, _MULTIPROCESSING)
        wrapt.register_post_import_hook(_flush_at_uvicorns_shutdown, _UVICORN)
    handle_sigterm()


def forget_exit() -> None:
    """Call nothing any more."""
    _exit.begin = _exit.flush = _exit.pause = _exit.end = None
    with guarded("removing the handler of SIGTERM"):
        if _in_main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def flush_before_exit() -> object:
    """Flush, because the process may end; returns what the flush returns."""
    with guarded("flushing before the process ends"):
        return _exit.flush() if _exit.flush is not None else None
    return None


def call_before_leaving(begin: Callable[[], object] | None) -> None:
    """Call ``begin`` at the end of this process, before everything is flushed; None: nothing."""
    _exit.begin = begin


def leave_process() -> None:
    """Flush and end now; for processes that end by ``os._exit()`` where no hook of Python's runs."""
    if _exit.flush is not None:
        _exit.leave()


def flush_at_shutdown() -> None:
    """Flush when a server shuts down, and log what is left: a signal may end the process before anything else can."""
    is_complete, left = flush_before_exit(), ""
    with guarded("preparing for the end of the process"):
        if _exit.pause is not None:
            left = ", ".join(f"{count} {category}" for category, count in sorted(_exit.pause().items()))
    if left:
        logger.warning("The server shuts down before everything was sent; what is in memory may be lost: %s", left)
    elif is_complete is False:
        logger.warning("The server shuts down before everything was sent; without a spool the rest may be lost")
    log_counts()
    _exit.shut_down_at = time.monotonic()


def flush_if_late() -> None:
    """Flush again if the flush at exit is over: nothing else will send what an ``atexit`` handler captures.

    The interpreter runs handlers in reverse order, so those from before ``setup()`` run after ours.
    """
    if _exit.has_left and not _exit.is_leaving and _in_main_thread():
        _exit.leave()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def handle_sigterm() -> None:
    """Flush on SIGTERM unless somebody handles it; a process that has reset its signals calls this again."""
    with guarded("installing a handler of SIGTERM"):
        if _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _on_sigterm)


def _on_sigterm(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    with guarded("flushing on SIGTERM"):
        # On a thread: the signal may have interrupted code that holds a lock which flushing needs.
        leaving = start_daemon(_exit.leave, "brain_otel.exit")
        if leaving is not None:
            leaving.join(3.0)
        elif not _exit.is_leaving:  # the main thread has ended, and holds no lock of ours
            _exit.leave()
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
