"""Sends long texts to a failing app and prints how long they stop the event loop, as JSON by place and text.

The figures are CPU time of the loop's thread in one step of the loop, without a plain request's, and what is
allowed, in milliseconds of the yardstick.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import brain_otel

brain_otel.setup()

from fastapi import FastAPI, Request  # noqa: E402 - after set-up, as in a service
from opentelemetry import trace  # noqa: E402

from tests.support.yardstick import yardstick_seconds  # noqa: E402

BENIGN = "benign "
PARTS = [
    "Duplicate entry '",
    "%41=%42&",
    "x'%41",
    "Cookie: a\n",
    "ab=cd ",
    "token='\\'",
    "token%3dabc%26 ",
    "sk-",
    "[SQL: '",
]
MAX_ADDED = 20.0
"""Milliseconds beside a plain failing request, or three times those of a harmless text of the same length."""

TRIES = 6
KIB = 1_024

app, log = FastAPI(), logging.getLogger("shop")


@app.post("/fails")
async def fails(request: Request) -> None:
    body = (await request.body()).decode("latin-1")  # noqa: F841 - a local variable
    raise ValueError("failed")


@app.post("/fails-with-text")
async def fails_with_text(request: Request) -> None:
    raise ValueError((await request.body()).decode())


@app.post("/logs")
async def logs(request: Request) -> None:
    log.info("got %s", (await request.body()).decode())
    log.error((await request.body()).decode())


@app.post("/span")
async def span(request: Request) -> None:
    trace.get_current_span().set_attribute("text", (await request.body()).decode())


class Longest:
    """The longest step of the loop."""

    seconds = 0.0


run_handle = asyncio.events.Handle._run


def timed_run(handle: asyncio.Handle) -> None:
    started = time.thread_time()
    run_handle(handle)
    Longest.seconds = max(Longest.seconds, time.thread_time() - started)


asyncio.events.Handle._run = timed_run  # type: ignore[assignment, method-assign]


async def call(
    path: str, body: bytes = b"", query: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    scope: Any = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": query}
    scope |= {"headers": [(b"host", b"shop"), (b"content-type", b"application/json"), *headers], "root_path": ""}
    scope |= {"scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 5), "server": ("shop", 80)}

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(_: Any) -> None:
        pass

    with suppress(ValueError):
        await app(scope, receive, send)


def text(part: str, length: int) -> bytes:
    return (part * (length // len(part) + 1))[:length].encode()


PLACES: dict[str, Callable[[str], Coroutine[Any, Any, None]]] = {
    "header of 30 KB": lambda part: call("/fails", headers=((b"x-text", text(part, 30 * KIB)),)),
    "eight headers of 8 KB": lambda part: call(
        "/fails", headers=tuple((b"x-%d" % number, text(part, 8 * KIB)) for number in range(8))
    ),
    "user agent of 30 KB": lambda part: call("/span", headers=((b"user-agent", text(part, 30 * KIB)),)),
    "cookie of 30 KB": lambda part: call("/fails", headers=((b"cookie", text(part, 30 * KIB)),)),
    "body of 256 KB": lambda part: call("/fails", text(part, 256 * KIB)),
    "JSON of 9 KB": lambda part: call("/fails", json.dumps([text(part, 9_000).decode()]).encode()),
    "query of 30 KB": lambda part: call("/fails", query=b"q=" + text(part.replace("&", "."), 30 * KIB)),
    "path of 30 KB": lambda part: call("/" + text(part, 30 * KIB).decode()),
    "log message of 256 KB": lambda part: call("/logs", text(part, 256 * KIB)),
    "exception of 1 MB": lambda part: call("/fails-with-text", text(part, KIB * KIB)),
    "attribute of 1 MB": lambda part: call("/span", text(part, KIB * KIB)),
}


async def longest(place: Callable[[str], Coroutine[Any, Any, None]], part: str, limit: float = 0.0) -> float:
    """The least of several tries; ends at once where that is below `limit`."""
    best = unit = float("inf")
    for _ in range(TRIES):
        unit = min(unit, yardstick_seconds())
        await asyncio.sleep(0.02)
        Longest.seconds = 0.0
        await asyncio.create_task(place(part))
        best = min(best, Longest.seconds)
        if best / unit < limit:
            break
    return best / unit


async def added(place: Callable[[str], Coroutine[Any, Any, None]], plain: float) -> dict[str, Any]:
    """What the texts take beside a plain request, and what is allowed."""
    benign = await longest(place, BENIGN)
    allowed = max(MAX_ADDED, 3 * benign)
    took = {part: await longest(place, part, allowed + plain) - plain for part in PARTS}
    return {"allowed": allowed, "took": took}


async def main() -> None:
    logging.basicConfig(level="INFO", handlers=[logging.NullHandler()])
    plain = await longest(lambda _: call("/fails"), "")
    found = {name: await added(place, plain) for name, place in PLACES.items()}
    print(json.dumps({"plain": plain, "found": found}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)
