"""One variant in this process: ``python -m tests.benchmarks.worker VARIANT ROUTES``.

It tells what its start took, and then does what it is told, line by line: ``settle``, ``run PATH COUNT``, ``flush``.
Every answer is a line of JSON. Variants that take turns are measured in the same weather.
"""

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

# What every service has imported before any product is set up.
import fastapi  # noqa: F401
import httpx  # noqa: F401
import psutil  # type: ignore[import-untyped]  # ships no types
import redis.asyncio  # noqa: F401
import sqlalchemy  # noqa: F401

from tests.benchmarks.variants import BY_NAME, Started

if TYPE_CHECKING:
    from fastapi import FastAPI


def start(name: str, routes: int = 1) -> tuple["FastAPI", Started, dict[str, float]]:
    """Set the variant up and make the app; the seconds that the set-up took, by the clock and of CPU."""
    before = time.perf_counter(), time.process_time()
    started = BY_NAME[name].start()
    took = time.perf_counter() - before[0], time.process_time() - before[1]
    from tests.benchmarks.application import create_app

    app = create_app(routes)
    if started.on_app is not None:
        started.on_app(app)
    return app, started, {"start": took[0], "start_cpu": took[1], "start_memory": _resident()}


async def _obey(app: "FastAPI", started: Started) -> None:
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "run":
            _tell(await _run(app, arguments[0], int(arguments[1])))
        elif order == "settle":
            gc.collect()
            _tell({"process": time.process_time()})
        else:
            _tell(await asyncio.to_thread(_flush, started))


async def _run(app: "FastAPI", path: str, count: int) -> dict[str, Any]:
    """CPU of this thread for ``count`` requests."""
    from tests.benchmarks.application import ask

    begun = time.thread_time()
    for _ in range(count):
        with contextlib.suppress(ValueError):  # the kind of request that fails
            await ask(app, path)
    return {"loop": time.thread_time() - begun}


def _flush(started: Started) -> dict[str, Any]:
    """Let everything be sent; the CPU of the process since its start, and its resident memory."""
    if started.flush is not None:
        started.flush()
    time.sleep(0.1)  # threads that end what they have begun
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
    os._exit(0)  # what a product does at the end is not measured
