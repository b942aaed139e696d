"""Runs one variant in this process: ``python -m tests.benchmarks.worker VARIANT ROUTES``.

Prints the cost of its start, and then executes commands, one a line: ``lifespan``, ``first PATH``, ``settle``,
``run PATH COUNT``, ``flush``. Every answer is a line of JSON. Variants take turns so that all share the machine's
fast and slow moments.
"""

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

# Modules that every service imports before it sets up a product.
import fastapi  # noqa: F401
import httpx  # noqa: F401
import psutil  # type: ignore[import-untyped]  # ships no types
import redis.asyncio  # noqa: F401
import sqlalchemy  # noqa: F401

from tests.benchmarks.variants import BY_NAME, Started

if TYPE_CHECKING:
    from fastapi import FastAPI


def start(name: str, routes: int = 1) -> tuple["FastAPI", Started, dict[str, float]]:
    """Set up the variant and create the app; return the wall time and CPU of the set-up, and of both, in seconds."""
    since = _clock()
    started = BY_NAME[name].start()
    set_up = since()
    from tests.benchmarks.application import create_app

    app = create_app(routes)
    if started.on_app is not None:
        started.on_app(app)
    return app, started, {**_named("start", set_up), **_named("ready", since()), "start_memory": _resident()}


def _clock() -> Callable[[], tuple[float, float]]:
    """Return a function that tells the wall time and the CPU of this process since now."""
    wall, cpu = time.perf_counter(), time.process_time()
    return lambda: (time.perf_counter() - wall, time.process_time() - cpu)


def _named(name: str, took: tuple[float, float]) -> dict[str, float]:
    return {name: took[0], f"{name}_cpu": took[1]}


async def _obey(app: "FastAPI", started: Started) -> None:
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "lifespan":
            since = _clock()
            lifespan = await begin_lifespan(app)  # noqa: F841 - it runs as long as its task is held
            _tell(_named("lifespan", since()))
        elif order == "first":
            since = _clock()
            await _run(app, arguments[0], 1)
            _tell(_named("first", since()))
        elif order == "run":
            _tell(await _run(app, arguments[0], int(arguments[1])))
        elif order == "settle":
            gc.collect()
            _tell({"process": time.process_time()})
        else:
            _tell(await asyncio.to_thread(_flush, started))


async def begin_lifespan(app: "FastAPI") -> "asyncio.Task[None]":
    """Start the app as a server does before the first request; the task lasts as long as the app."""
    started = asyncio.Event()
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    messages.put_nowait({"type": "lifespan.startup"})

    async def send(message: Any) -> None:
        assert message["type"] == "lifespan.startup.complete", message
        started.set()

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(app(scope, messages.get, send))
    await started.wait()
    return task


async def _run(app: "FastAPI", path: str, count: int) -> dict[str, Any]:
    """Return the CPU of this thread for ``count`` requests."""
    from tests.benchmarks.application import ask

    begun = time.thread_time()
    for _ in range(count):
        with contextlib.suppress(ValueError):  # the failing kind of request
            await ask(app, path)
    return {"loop": time.thread_time() - begun}


def _flush(started: Started) -> dict[str, Any]:
    """Send everything; return the CPU of the process since its start, and its resident memory."""
    if started.flush is not None:
        started.flush()
    time.sleep(0.1)  # threads finish their work
    return {"process": time.process_time(), "memory": _resident()}


def _resident() -> int:
    resident: int = psutil.Process().memory_info().rss
    return resident


def _tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    made, ready, took = start(sys.argv[1], int(sys.argv[2]))
    _tell(took)
    asyncio.run(_obey(made, ready))
    os._exit(0)  # skip the products' exit handlers
