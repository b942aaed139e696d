"""The section ``tail`` measures slow requests, collections, errors, large traces and the shipper."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.benchmarks.load import Connection, closed
from tests.benchmarks.native import MISSING, closed_loop
from tests.benchmarks.server import Collections
from tests.benchmarks.tables import tables
from tests.benchmarks.test_benchmarks import ABOUT, run, wait_for
from tests.benchmarks.variants import BARE, FLOOR, OURS_BESIDE, SENTRY_NATIVE
from tests.support import ROOT
from tests.support.process import free_port

if TYPE_CHECKING:
    from pathlib import Path


def served(times: float, full: int) -> dict[str, Any]:
    """Return a run whose times are so many milliseconds, and which had so many long full collections."""
    quantiles = dict.fromkeys(("p50", "p90", "p99", "p999", "longest"), times / 1000.0)
    collections = {"gc_young": 100, "gc_middle": 10, "gc_full": full, "gc_long": full, "gc_longest": 0.05}
    return {
        **quantiles,
        **{f"closed_{key}": 2 * value for key, value in quantiles.items()},
        **collections,
        "rps": times,
        "rate": 150.0,
    }


def test_a_table_holds_the_figures_against_the_goals() -> None:
    """Times are compared as they are, CPU without the bare application's, collections with the floor's."""
    tail = {
        "served": {
            BARE: [served(1, 0), served(1, 0)],
            FLOOR: [served(2, 1), served(20, 0)],
            OURS_BESIDE: [served(3, 1), served(60, 2)],
        },
        "errors": {BARE: [run(100)], FLOOR: [run(200)], OURS_BESIDE: [run(400)], SENTRY_NATIVE: [run(1300)]},
        "spans": {
            FLOOR: {"0": [run(100)], "1000": [run(10_100)]},
            OURS_BESIDE: {"0": [run(100)], "1000": [run(14_100)]},
        },
        "shipper": {OURS_BESIDE: [{"cpu": 140e-6}]},
    }
    grids = tables({"about": ABOUT, "tail": tail})["tail"]
    assert grids[0].title == "Under uvicorn, open loop of 150 requests a second"
    assert [list(row)[:2] for row in grids[-1].rows] == [
        ["p99 of an open loop", "2.25"],
        ["p99 of a closed loop", "2.25"],
        ["full collections longer than 5 ms, beyond the floor's", "1.00"],
        ["an error with its event, loop", "3.00"],
        ["the same, sentry-sdk native", "12.00"],
        ["requests a second, at least", "2.25"],
        ["us of a record through the shipper", "140"],
        ["a span in a trace of 1,000, loop", "1.40"],
    ]


def test_a_server_tells_its_collections_once() -> None:
    """By generation, since it was last asked; requests to other paths reach the application."""
    app = Collections(app=None)
    try:
        gc.collect()
        gc.collect(0)
        told, again = ask(app), ask(app)
    finally:
        gc.callbacks.remove(app._count)
    assert (told["full"], told["young"]) == (1, 1)
    assert told["longest"] > 0
    assert again["full"] == 0


def ask(app: Any) -> Any:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "http", "path": "/collections"}, None, send))
    return json.loads(sent[1]["body"])


def test_a_closed_loop_times_every_request() -> None:
    """One connection, a server that takes 20 ms for each tenth request."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while await reader.read(65536):
            asked += 1
            await asyncio.sleep(0.02 * (asked % 10 == 0))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def measure() -> tuple[list[float], float]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            connection = Connection(server.sockets[0].getsockname()[1])
            found = await closed([connection], seconds=0.3)
            connection.close()
            await asyncio.sleep(0)
            return found

    taken, per_second = asyncio.run(measure())
    assert len(taken) == asked
    assert taken == sorted(taken)
    assert taken[-1] >= 0.02
    assert per_second >= 1


def test_the_load_generator_in_c_tells_the_same_figures() -> None:
    """Where the machine has wrk; else the one in Python measures."""
    port = free_port()
    sink = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.sink", str(port)], cwd=ROOT)
    try:
        wait_for(port)
        found = closed_loop(port, 1, 0.2)
    finally:
        sink.terminate()
        sink.wait()
    assert set(found) == {"p50", "p90", "p99", "p999", "longest", "rps"}
    assert 0 < found["p50"] <= found["p99"] <= found["longest"] < 2


@pytest.mark.thorough
def test_the_section_measures_everything(tmp_path: Path) -> None:
    """One short round without other products."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--sections", "tail", "--rounds", "1", "--requests", "20"]
    command += ["--served", "60", "--only", OURS_BESIDE, "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert ("is missing here" in done.stdout) == bool(MISSING)
    found = json.loads(file.read_text())["medians"]["tail"]
    assert all(found["served"][name]["p50"] > 0 for name in (BARE, FLOOR, OURS_BESIDE))
    assert found["errors"][SENTRY_NATIVE]["loop"] > found["errors"][BARE]["loop"]
    assert found["spans"][OURS_BESIDE]["1000"]["loop"] > found["spans"][OURS_BESIDE]["0"]["loop"]
    assert found["shipper"][OURS_BESIDE]["cpu"] > 0
