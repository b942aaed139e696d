"""Fills a viewer with spans and errors, and measures it at several sizes: section ``viewer``.

CPU is that of the viewer's process: other processes on the machine do not change it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.benchmarks.load import quantile
from tests.support.viewer import RunningViewer, envelope, error

SHARES = (0.01, 0.1, 0.3, 1.0)
"""Where the curve is measured, in shares of all spans."""

PER_TRACE = 10
PER_BODY = 500
SPANS_PER_ERROR = 10
ISSUES = 400
HOURS = 20
LOOKS = 25
"""How often each page is asked for at each size."""

RATE = 1_000
CLIENTS = 2
CONNECTIONS = 32
"""Of each client."""

_FAILED, _OK = trace_pb2.Status.STATUS_CODE_ERROR, trace_pb2.Status.STATUS_CODE_UNSET

SCREENS = (
    "/issues",
    "/issues?sort=users",
    "/issues/1",
    "/performance",
    "/performance/route?route={route}",
    "/traces",
    "/traces?failed=1",
    "/traces/{trace}",
    "/releases",
    "/logs",
    "/logs?q=seldom",
)


def measure_viewer(spans: int, seconds: float) -> dict[str, Any]:
    """Fill a viewer, and return a point for each size, the start with all data, and the load of many requests."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        with RunningViewer(folder, fresh=True) as viewer:
            points = list(_points(viewer, spans))
        return {
            "points": points,
            "start": _start(folder),
            "load": _load(folder, seconds),
            "bound": _bound(folder / "bound", spans // 3),
        }


def _points(viewer: RunningViewer, spans: int) -> Iterator[dict[str, Any]]:
    process = psutil.Process(viewer.server.pid)
    sent = 0
    chance = random.Random(5)
    for share in SHARES:
        step = max(PER_BODY, int(spans * share)) - sent
        used, begun = _cpu(process), time.perf_counter()
        _send_spans(viewer, sent, step)
        ingest, wall = _cpu(process) - used, time.perf_counter() - begun
        used = _cpu(process)
        _send_errors(viewer, sent // SPANS_PER_ERROR, step // SPANS_PER_ERROR, chance)
        sent += step
        yield {
            "spans": sent,
            "errors": sent // SPANS_PER_ERROR,
            "span_cpu": ingest / step,
            "span_wall": wall / step,
            "error_cpu": (_cpu(process) - used) / max(1, step // SPANS_PER_ERROR),
            "screens": _look(viewer, process),
            "resident": process.memory_info().rss,
            "file": viewer.path.stat().st_size,
        }


def _cpu(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _body() -> ExportTraceServiceRequest:
    """A request with traces of a server span and its statements, whose ids and times are set for each sending."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    for key in ("service.version", "service.name", "deployment.environment.name"):
        group.resource.attributes.add(key=key).value.string_value = "production"
    spans = group.scope_spans.add().spans
    for place in range(PER_BODY):
        span = spans.add(name="SELECT missions", kind=trace_pb2.Span.SPAN_KIND_CLIENT)
        given = {"db.system.name": "postgresql", "db.query.text": f"SELECT name FROM t{place % 7} WHERE id = %s"}
        if place % PER_TRACE == 0:
            span.name, span.kind = "GET", trace_pb2.Span.SPAN_KIND_SERVER
            route = f"/missions/{place // PER_TRACE}"
            given = {"http.request.method": "GET", "http.route": route, "url.path": route, "user.id": "u"}
        for key, value in given.items():
            span.attributes.add(key=key).value.string_value = value
    return request


def _send_spans(viewer: RunningViewer, first: int, count: int) -> None:
    request, chance, now = _body(), random.Random(first), time.time_ns()
    group = request.resource_spans[0]
    headers = {"Content-Type": "application/x-protobuf"}
    for number in range(first, first + count, PER_BODY):
        begin = 0
        group.resource.attributes[0].value.string_value = f"shop@{number * 4 // 1_000_000}"
        for place, span in enumerate(group.scope_spans[0].spans):
            if place % PER_TRACE == 0:
                trace, root = chance.randbytes(16), chance.randbytes(8)
                begin = now - chance.randrange(HOURS * 3_600 * 10**9)
            else:
                span.parent_span_id = root
            span.trace_id = trace
            span.span_id = chance.randbytes(8) if place % PER_TRACE else root
            span.start_time_unix_nano = begin
            span.end_time_unix_nano = begin + int(chance.lognormvariate(16.5, 1))
            span.status.code = _FAILED if chance.random() < 0.02 else _OK
        viewer.post("/v1/traces", content=request.SerializeToString(), headers=headers).raise_for_status()


def _send_errors(viewer: RunningViewer, first: int, count: int, chance: random.Random) -> None:
    now = time.time()
    for number in range(first, first + count, 50):
        events = (_error(chance, now) for _ in range(min(50, first + count - number)))
        lines = [{"timestamp": now, "level": "info", "body": f"line {each}"} for each in range(50)]
        viewer.send(*(("event", each) for each in events), ("log", {"items": lines}))


def _error(chance: random.Random, now: float) -> dict[str, Any]:
    kind = min(int(chance.expovariate(8 / ISSUES)), ISSUES - 1)
    at = now - chance.uniform(0, HOURS * 3_600)
    user = {"id": f"u{chance.randrange(5_000)}"}
    release = f"shop@{chance.randrange(4)}"
    more = {"user": user, "release": release, "tags": {"plan": chance.choice("abc")}}
    return error(f"Error{kind}", f"number {at}", at=at, function=f"work{kind}", **more)


def _look(viewer: RunningViewer, process: Any) -> dict[str, dict[str, float]]:
    """The times of each page, in turns, and the CPU of each."""
    (trace,) = {each["trace"] for each in viewer.json("/traces")["roots"][:1]}
    taken: dict[str, list[float]] = {screen: [] for screen in SCREENS}
    cost: dict[str, list[float]] = {screen: [] for screen in SCREENS}
    for _ in range(LOOKS):
        for screen in SCREENS:
            used, begun = _cpu(process), time.perf_counter()
            viewer.get(screen.format(trace=trace, route="GET%20/missions/7")).raise_for_status()
            taken[screen].append(time.perf_counter() - begun)
            cost[screen].append(_cpu(process) - used)
    return {
        screen: {"p95": quantile(sorted(taken[screen]), 0.95), "cpu": sum(cost[screen]) / LOOKS} for screen in SCREENS
    }


def _start(folder: Path) -> dict[str, float]:
    """Start again on the full file, until the first page is there."""
    begun = time.perf_counter()
    with RunningViewer(folder, fresh=True) as viewer:
        viewer.get("/issues").raise_for_status()
        return {"seconds": time.perf_counter() - begun, "cpu": _cpu(psutil.Process(viewer.server.pid))}


def _load(folder: Path, seconds: float) -> dict[str, float]:
    """Send transactions and errors at :data:`RATE`, and count what is missing in the file."""
    with RunningViewer(folder, fresh=True) as viewer:
        process = psutil.Process(viewer.server.pid)
        before, used, begun = _kept(viewer.path), _cpu(process), time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.viewer",
            str(viewer.port),
            str(RATE / CLIENTS),
            str(seconds),
        ]
        clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(CLIENTS)]
        outputs = [json.loads(client.communicate(timeout=seconds * 10 + 60)[0]) for client in clients]
        wall, used = time.perf_counter() - begun, _cpu(process) - used
        taken = sorted(each for output in outputs for each in output["taken"])
        accepted = sum(output["accepted"] for output in outputs)
        return {
            "sent": len(taken),
            "accepted": accepted,
            "lost": accepted - (_kept(viewer.path) - before),
            "cpu": used / len(taken),
            "per_second": len(taken) / max(output["seconds"] for output in outputs),
            "p50": quantile(taken, 0.5),
            "p99": quantile(taken, 0.99),
            "seconds": wall,
            "resident": process.memory_info().rss,
        }


def _kept(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(
            "SELECT (SELECT count(*) FROM roots) + (SELECT count(*) FROM errors)"
        ).fetchone()[0]
        return found


def _bound(folder: Path, spans: int) -> dict[str, float]:
    """Send more spans than a file may hold, and return its largest size and the longest answer."""
    most = max(16, spans // 6_000) << 20  # a third of what they need
    with RunningViewer(folder, "--max-size", str(most >> 20), fresh=True) as viewer:
        largest, longest = 0, 0.0
        for number in range(0, spans, 5_000):
            begun = time.perf_counter()
            _send_spans(viewer, number, 5_000)
            longest = max(longest, time.perf_counter() - begun)
            largest = max(largest, viewer.path.stat().st_size)
        return {"bound": most, "largest": largest, "longest": longest}


async def _client(port: int, rate: float, seconds: float) -> dict[str, Any]:
    """Send a transaction or an error when each is due, over kept-alive connections."""
    begun = time.perf_counter() + 0.2
    due = iter([begun + number / rate for number in range(int(rate * seconds))])
    taken: list[float] = []
    accepted = 0

    async def work() -> None:
        nonlocal accepted
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for moment in due:
            await asyncio.sleep(moment - time.perf_counter())
            body = _small(len(taken))
            head = f"POST /api/1/envelope/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            accepted += answer.startswith(b"HTTP/1.1 200")
            taken.append(time.perf_counter() - moment)
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return {"taken": taken, "accepted": accepted, "seconds": time.perf_counter() - begun}


def _small(number: int) -> bytes:
    """A request with a statement, or, one time in ten, an error."""
    if number % 10 == 0:
        return envelope([("event", error(f"Error{number % 7}"))])
    ids = os.urandom(24).hex()
    now = time.time()
    trace = {"trace_id": ids[:32], "span_id": ids[32:], "op": "http.server", "status": "ok"}
    child = {"span_id": ids[8:24], "parent_span_id": ids[32:], "op": "db", "description": "SELECT 1"}
    times = {"start_timestamp": now - 0.1, "timestamp": now}
    event = {"type": "transaction", "transaction": "GET /load", "contexts": {"trace": trace}, **times}
    return envelope([("transaction", {**event, "spans": [{**child, **times}]})])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_client(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))))
