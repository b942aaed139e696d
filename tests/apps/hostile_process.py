"""Runs one service through hostile texts, headers, answers and spools, and prints what each cost, as JSON.

Arguments: the spool's directory, beside which lies a file that nobody may touch, and the kinds of rows. Each row has
the stops of the event loop in units of the yardstick, if each try had one: what the loop itself computed, the time,
and the time that is allowed. It also has the growth of the process's peak in MiB, and whether the file was touched.
"""

import asyncio
import json
import os
import re
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SPOOL = Path(sys.argv[1])
OUTSIDE = SPOOL.with_name("outside")
OUTSIDE.write_text("precious")


class Answers(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    answer: Callable[[Callable[[bytes], Any]], None]


class Exchange(socketserver.StreamRequestHandler):
    server: Answers

    def handle(self) -> None:
        try:
            length = 0
            while (line := self.rfile.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            self.rfile.read(length)
            self.server.answer(self.request.sendall)
        except OSError:
            return


from tests.delivery.test_bounded_answers import ANSWERS  # noqa: E402 - the same answers in a running service

server = Answers(("127.0.0.1", 0), Exchange)
server.answer = ANSWERS["usual"][0]
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {
    "SENTRY_DSN": f"http://public@127.0.0.1:{server.server_address[1]}/1",
    "SENTRY_ENVIRONMENT": "production",
    "SENTRY_TRACES_SAMPLE_RATE": "1",
    "BRAIN_OTEL_SPOOL_DIR": str(SPOOL),
}

import brain_otel  # noqa: E402 - after the variables

brain_otel.setup()

from fastapi import FastAPI, Request  # noqa: E402 - after set-up, as in a service

from brain_otel.delivery.record import HEADER, MAGIC, MAX_BODY  # noqa: E402
from brain_otel.delivery.spool.directory import segment_name  # noqa: E402
from tests.apps.hostile import GARBAGE, create_scope  # noqa: E402
from tests.runtime.test_object_size import LARGE  # noqa: E402
from tests.support.yardstick import yardstick_seconds  # noqa: E402

Json = dict[str, Any]
Row = tuple[Callable[[], Json], Callable[[], object]]
"""The request of a row, and what is done before it."""

MAX_STOP = 20.0
"""Milliseconds of the yardstick. Where others use the machine too, three times the stop beside a thread that only
computes, of which the loop itself computes less than twice this."""

TRIES = 6
app = FastAPI()
held: list[Any] = [None]


@app.post("/fails")
async def fails(request: Request) -> None:
    local = held[0], await request.body()  # noqa: F841 - a local variable
    raise ValueError("failed")


def nothing() -> None:
    pass


def asked(*headers: tuple[bytes, bytes], body: bytes = b"{}", **fields: Any) -> Callable[[], Json]:
    given = [(b"host", b"shop"), (b"content-type", b"application/json"), *headers]
    return lambda: {**create_scope(method="POST", path="/fails", headers=given, **fields), "body": body}


def text_rows() -> dict[str, Row]:
    texts = {
        "entries": b"Duplicate entry '",
        "pairs": b"token%3dabc%26 ",
        "statements": b"[SQL: '",
        "quotes": b"\\'\"{",
    }
    rows: dict[str, Row] = {
        f"text: {name} in {place}": (request, nothing)
        for name, part in texts.items()
        for place, request in {
            "a header": asked((b"x-note", part * (30_000 // len(part)))),
            "the agent": asked((b"user-agent", part * (30_000 // len(part)))),
            "the body": asked(body=part * (256_000 // len(part))),
            "the query": asked(query_string=b"q=" + (part * (30_000 // len(part))).replace(b" ", b"+")),
        }.items()
    }
    return rows | {f"text: a local {name}": (asked(), lambda make=make: keep(make())) for name, make in LARGE.items()}


def keep(value: Any) -> None:
    held[0] = value


def header_rows() -> dict[str, Row]:
    names = (b"baggage", b"traceparent", b"sentry-trace", b"cookie", b"user-agent")
    rows: dict[str, Row] = {
        f"header: {name.decode()} {number}": (asked((name, value)), nothing)
        for name in names
        for number, value in enumerate(GARBAGE[::3])
    }
    many = [(b"x-%d" % number, b"1") for number in range(8_000)]
    return rows | {
        "header: 900 KB of baggage": (asked((b"baggage", b"a=1," * 225_000)), nothing),
        "header: 900 KB of entries for Sentry": (asked((b"baggage", b"sentry-a=1," * 80_000)), nothing),
        "header: 60 KB of cookies": (asked((b"cookie", b"a=1; " * 12_000)), nothing),  # which FastAPI reads
        "header: 8,000 headers": (asked(*many), nothing),
        "header: the same name 8,000 times": (asked(*[(b"x-a", b"a" * 100)] * 8_000), nothing),
        "header: 900 KB of a state": (asked((b"tracestate", b"a=1," * 225_000)), nothing),
    }


def answer_rows() -> dict[str, Row]:
    chosen = [name for name in ANSWERS if "now and then" not in name]
    limits = (b"1e400::", b"9" * 5_000 + b"::", b"60:error:key," * 50_000, b"\xff::", b"-1::", b"inf:error")
    given = {name: ANSWERS[name][0] for name in chosen}
    given |= {f"limit {number}": limited(value) for number, value in enumerate(limits)}
    return {f"answer: {name}": (asked(), lambda answer=answer: respond(answer)) for name, answer in given.items()}  # type: ignore[misc]


def limited(value: bytes) -> Callable[[Callable[[bytes], Any]], None]:
    head = (
        b"HTTP/1.1 429 Slow\r\nx-sentry-rate-limits: " + value + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    return lambda send: send(head)


def respond(answer: Callable[[Callable[[bytes], Any]], None]) -> None:
    server.answer = answer


def folders() -> list[Path]:
    return [each for each in SPOOL.iterdir() if each.is_dir() and not each.is_symlink()]


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[], None]:
    """Put something else in the place of each target's file."""

    def plant() -> None:
        for folder in folders():
            path = folder / name
            if not path.is_dir() or path.is_symlink():
                path.unlink(missing_ok=True)
                make(path)

    return plant


def segment(data: bytes, size: int = 0) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)
        if size:
            os.truncate(path, size)

    return make


def link(path: Path) -> None:
    path.symlink_to(OUTSIDE)


def many(path: Path) -> None:
    for number in range(3_000):
        path.with_name(f"{number:0200}").touch()


def plant_in_directory() -> None:
    for name in ("spool.json", "evict.lock", "linked"):
        (SPOOL / name).unlink(missing_ok=True)
        link(SPOOL / name)


def spool_rows() -> dict[str, Row]:
    first = segment_name("errors", 1)
    files = ("target.json", "limits.json", "losses.json", "ship.lock", "users.lock", f"{first}.ack", first)
    made: dict[str, Callable[[], object]] = {f"link for {name}": replaced(name, link) for name in files}
    made |= {f"pipe for {name}": replaced(name, os.mkfifo) for name in files}
    made |= {f"depth in {name}": replaced(name, segment(b"[" * 100_000)) for name in files[:3]}
    made |= {
        "overlapping headers": replaced(first, segment(HEADER.pack(MAGIC, 1, 0, 1, 1, MAX_BODY, 5) * 50_000)),
        "magic alone": replaced(first, segment(MAGIC * 2**18)),
        "a sparse file": replaced(first, segment(MAGIC, 2**36)),
        "other files": replaced("other", many),
        "links in the directory": plant_in_directory,
    }
    return {f"spool: {name}": (asked(), plant) for name, plant in made.items()}


async def request(fields: Json) -> None:
    incoming = [{"type": "http.request", "body": fields.pop("body")}]

    async def receive() -> Any:
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    with suppress(ValueError):
        await app(fields, receive, send)


async def longest_stop(fields: Json) -> tuple[float, float]:
    """The most CPU time of the loop, and the most time, between two looks at the clock, in units of the yardstick."""
    unit = min(yardstick_seconds() for _ in range(3))
    computed, longest, ends = 0.0, 0.0, time.monotonic() + 0.12
    task = asyncio.create_task(request(fields))
    own, before = time.thread_time(), time.monotonic()
    while time.monotonic() < ends or not task.done():
        await asyncio.sleep(0)
        own_now, now = time.thread_time(), time.monotonic()
        computed, own = max(computed, own_now - own), own_now
        longest, before = max(longest, now - before), now
        if task.done():
            time.sleep(0.0001)  # lets go of the interpreter
            before = time.monotonic()
    return computed / unit, longest / unit


@contextmanager
def busy_thread() -> Iterator[None]:
    """Compute beside the block, as the thread that builds events does: the loop takes turns with it."""
    ended = threading.Event()

    def compute() -> None:
        while not ended.is_set():
            sum(range(2_000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def peak() -> float:
    """The most memory that the process has had since it was asked last, and what it has now, in MiB."""
    status = Path("/proc/self/status").read_text()
    high, now = (float(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 1024 for name in ("VmHWM", "VmRSS"))
    Path("/proc/self/clear_refs").write_text("5")
    return high if high > now else now


def facts() -> list[Any]:
    status = OUTSIDE.stat()
    return [
        OUTSIDE.read_text(),
        *(getattr(status, f"st_{name}") for name in ("ino", "mode", "mtime_ns", "size", "uid")),
    ]


async def measured(make: Callable[[], Json], prepare: Callable[[], object]) -> Json:
    """The least of several tries, as others use the machine too."""
    before = facts()
    stops: list[tuple[float, float, float]] = []
    prepare()
    local = sys.getsizeof(held[0]) / 2**20
    peak()
    base = peak()
    for _ in range(TRIES):
        (computed, longest), allowed = await longest_stop(make()), MAX_STOP
        if longest >= allowed:
            with busy_thread():
                _, plain = await longest_stop(asked()() if held[0] is None else {**asked()(), "path": "/none"})
            allowed = max(allowed, 3 * plain)
        if longest < MAX_STOP or (longest < allowed and computed < 2 * MAX_STOP):
            stops.clear()
            break
        stops.append((computed, longest, allowed))
    keep(None)
    respond(ANSWERS["usual"][0])
    return {"stops": stops, "grown": peak() - base, "touched": facts() != before, "local": local}


async def main() -> None:
    for _ in range(5):
        await longest_stop(asked()())
    rows = {**text_rows(), **header_rows(), **answer_rows(), **spool_rows()}
    chosen = sys.argv[2:]
    rows = {name: row for name, row in rows.items() if not chosen or name.partition(":")[0] in chosen}
    print(json.dumps({name: await measured(*row) for name, row in rows.items()}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
