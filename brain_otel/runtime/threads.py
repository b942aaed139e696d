"""Daemon threads that no instrumentation has patched."""

import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from inspect import unwrap


class _Daemon(threading.Thread):
    """A thread without sentry-sdk's patch, which copies the starter's scopes and so those of its request."""

    start = unwrap(threading.Thread.start)
    run = unwrap(threading.Thread.run)


def start_daemon(target: Callable[[], object], name: str) -> threading.Thread | None:
    """Run ``target`` on a daemon thread, in an empty context.

    Returns:
        The thread, or None if the interpreter starts no more threads: Python 3.12.1 from the end of the main thread
        on, later versions while ``atexit`` handlers run, any version at the system's limit.
    """
    thread = _Daemon(target=target, name=name, daemon=True)
    try:
        contextvars.Context().run(thread.start)
    except RuntimeError:
        return None
    return thread


async def finished(job: Callable[[], object], name: str) -> None:
    """Run ``job``, which must not raise, on a daemon thread, and wait for its end while the event loop runs.

    The threads of the loop's own executor may all be busy with jobs of the application that hang.
    """
    import asyncio  # here: `import brain_otel` stays cheap

    loop, end = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            job()
        finally:
            with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
                loop.call_soon_threadsafe(end.set)

    if start_daemon(run, name) is None:
        job()
        return
    await end.wait()
