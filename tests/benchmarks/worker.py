"""One measurement of one variant, in this process: ``python -m tests.benchmarks.worker VARIANT KIND COUNT``."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # ships no types

from tests.benchmarks.application import ask, create_app
from tests.benchmarks.variants import BY_NAME

if TYPE_CHECKING:
    from fastapi import FastAPI

WARM_UP = 100
KINDS = {"request": "/missions/7", "health": "/healthz", "error": "/fails/7"}


def main(name: str, kind: str, count: int, routes: int = 1) -> dict[str, Any]:
    """Measure ``count`` requests."""
    logging.disable(logging.CRITICAL)
    before = time.perf_counter(), time.process_time()
    on_app = BY_NAME[name].start()
    started = time.perf_counter() - before[0], time.process_time() - before[1]
    app = create_app(routes)
    if on_app is not None:
        on_app(app)
    path = KINDS[kind]
    result = asyncio.run(_measure(app, path, count))
    return {**result, "start": started[0], "start_cpu": started[1]}


async def _measure(app: "FastAPI", path: str, count: int) -> dict[str, Any]:
    await _ask(app, path, WARM_UP)
    gc.collect()
    process, loop = time.process_time(), time.thread_time()
    await _ask(app, path, count)
    loop = time.thread_time() - loop
    await asyncio.sleep(0.5)  # what other threads still have to do for these requests
    process = time.process_time() - process
    return {
        "loop": loop / count,
        "process": process / count,
        "memory": psutil.Process().memory_info().rss,
    }


async def _ask(app: "FastAPI", path: str, count: int) -> None:
    for _ in range(count):
        with contextlib.suppress(ValueError):
            await ask(app, path)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(int, sys.argv[4:]))), flush=True)
    os._exit(0)  # what a product does at the end is not measured
