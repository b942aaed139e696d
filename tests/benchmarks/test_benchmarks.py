"""The benchmark measures what its tables say."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.curves import COMPARED, ROUTES, SIZES
from tests.benchmarks.figures import against
from tests.benchmarks.load import Connection, at_rate, quantile
from tests.benchmarks.plot import draw
from tests.benchmarks.report import BEGIN, END
from tests.benchmarks.surroundings import surroundings
from tests.benchmarks.tables import tables
from tests.benchmarks.turns import working
from tests.benchmarks.variants import (
    BARE,
    BY_NAME,
    FLOOR,
    OURS_BESIDE,
    OURS_IN_MEMORY,
    SENTRY_ALONE,
    SENTRY_NATIVE,
    VARIANTS,
)
from tests.support import ROOT
from tests.support.process import free_port, run_python

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.grid import Grid
    from tests.support.services import Valkey

ABOUT = {
    "measured": {},
    "rounds": 1,
    "requests": 50,
    "served": 60,
    "rate": 40.0,
    "seconds": 1,
    "kind": "request",
    "cores": 2,
    "python": "3.11.0",
}


def run(loop: float, **figures: Any) -> dict[str, Any]:
    """Return the figures of a run that needs this many microseconds of the loop, and twice as many of the process."""
    plain = {"beside": 0.0, "memory": loop * 2**20, "sent": 0.0, "spans": [], "start": loop, "start_cpu": loop}
    plain |= {"ready": 2 * loop, "ready_cpu": 2 * loop}
    return {"loop": loop / 1e6, "process": loop / 5e5, **plain, **figures}


def by_title(results: dict[str, Any]) -> dict[str, Grid]:
    made = tables({"about": ABOUT, **results})
    return {grid.title: grid for section in made.values() for grid in section}


class Measured:
    """The files and output of a run of the command."""

    def __init__(self, folder: Path) -> None:
        self.figures, self.drawing, self.page = (folder / name for name in ("f.json", "f.svg", "page.md"))
        self.page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")

    def command(self, *arguments: str) -> str:
        """Run the command with small settings and return its output."""
        command = [sys.executable, "-m", "tests.benchmarks", "--rounds", "1", "--requests", "20", "--seconds", "0.5"]
        command += ["--served", "60"]
        command += ["--plot", str(self.drawing), "--report", str(self.page), "--only", OURS_BESIDE, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, str]:
    """Run the sections CPU and load without other products."""
    left = Measured(tmp_path_factory.mktemp("benchmark"))
    return left, left.command("--sections", "cpu,load", "--json", str(left.figures))


@pytest.mark.thorough
def test_one_command_prints_a_table_of_each_section(measured: tuple[Measured, str]) -> None:
    """The tables have ratios to the floor, and the measured goals."""
    printed = measured[1]
    assert "CPU a request" in printed
    assert "Under uvicorn" in printed
    assert "loop CPU, 100 %, spool and shipper process" in printed
    assert "Server, SQL, Redis and HTTP spans were seen in what each product sent." in printed


@pytest.mark.thorough
def test_the_file_has_medians_least_and_every_run(measured: tuple[Measured, str]) -> None:
    """For each figure of each variant."""
    found = json.loads(measured[0].figures.read_text())
    for section, figures in (
        ("cpu", ("loop", "process", "memory", "start", "sent")),
        ("load", ("p50", "p99", "rps")),
    ):
        for name in (BARE, FLOOR, OURS_BESIDE):
            (only,) = found["runs"][section][name]
            for figure in figures:
                assert found["medians"][section][name][figure] == found["least"][section][name][figure]
                assert only[figure] == found["medians"][section][name][figure]


@pytest.mark.thorough
def test_the_benchmark_counts_what_the_shipper_sends(measured: tuple[Measured, str]) -> None:
    """The shipper's process outlives the application; the benchmark waits for it."""
    (only,) = json.loads(measured[0].figures.read_text())["runs"]["cpu"][OURS_BESIDE]
    assert only["sent"] > 100
    assert sorted(only["spans"]) == ["http", "redis", "server", "sql"]


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "has_sender"), [(OURS_BESIDE, True), (OURS_IN_MEMORY, True), (FLOOR, False)])
def test_the_cpu_of_the_process_that_sends_is_counted(name: str, has_sender: bool) -> None:
    """It ships the spool, or makes the requests of a busy application."""
    variant = BY_NAME[name]
    with surroundings([variant]) as around, working(variant, around) as worker:
        for order in ("lifespan", "run /missions/7 100", "flush"):
            worker.tell(order)
        assert (worker.beside_cpu() is not None) == has_sender


@pytest.mark.thorough
def test_the_drawing_and_the_page_are_made_from_the_file_alone(
    measured: tuple[Measured, str], tmp_path: Path
) -> None:
    """``--from`` measures nothing and gives the same tables."""
    again = Measured(tmp_path)
    assert again.command("--from", str(measured[0].figures)) == measured[1]
    assert again.drawing.read_text() == measured[0].drawing.read_text()
    assert again.page.read_text() == measured[0].page.read_text()


@pytest.mark.thorough
def test_the_page_keeps_the_text_around_the_tables(measured: tuple[Measured, str]) -> None:
    """The benchmark replaces only the text between the marks."""
    text = measured[0].page.read_text()
    assert text.startswith(f"# Before\n\n{BEGIN}\n<!-- section cpu -->\nSection `cpu`: 20")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in text
    assert f"| {OURS_BESIDE} |" in text


def test_the_drawing_has_two_bars_for_each_variant() -> None:
    """The unit is the floor, the cost of bare OpenTelemetry; no bar has a negative width."""
    found = {BARE: [run(100)], FLOOR: [run(200)], OURS_BESIDE: [run(250)], "ddtrace": [run(90)]}
    root = ET.fromstring(draw(found, "request"))
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert texts[3:] == [FLOOR, "1.00", "1.00", OURS_BESIDE, "1.50", "1.50", "ddtrace", "-0.10", "-0.10"]
    bars = [float(each.get("width", "")) for each in root.iter() if each.get("class") in ("loop", "process")][2:]
    assert bars[2] / bars[0] == pytest.approx(1.5, rel=0.01)
    assert bars[-2:] == [1.0, 1.0]


def test_a_product_that_does_not_trace_is_named() -> None:
    """One product sends nothing, another lacks one kind of span in every round."""
    full = run(300, sent=9.0, spans=["server", "sql", "redis", "http"])
    cpu = {
        BARE: [run(100), run(100)],
        FLOOR: [run(200), run(200)],
        "elastic-apm": [run(200), run(200)],
        "ddtrace": [full, {**full, "spans": ["server", "redis", "http"]}],
        "logfire": [full, full],
    }
    (notes,) = [grid.notes for title, grid in by_title({"cpu": cpu}).items() if title.startswith("CPU")]
    assert notes[1:] == ["elastic-apm: nothing was sent.", "ddtrace: no sql spans were seen in what was sent."]


def test_a_ratio_belongs_to_one_round() -> None:
    """A round on a slow machine counts like any other. A round in which the floor adds nothing does not count."""
    found = {
        BARE: [run(100), run(300), run(100), run(100)],
        FLOOR: [run(200), run(700), run(200), run(90)],
        OURS_BESIDE: [run(250), run(900), run(230), run(900)],
    }
    assert against(found, OURS_BESIDE, "loop") == 1.5
    assert against({**found, FLOOR: found[BARE]}, OURS_BESIDE, "loop") is None


def test_a_ratio_of_cpu_belongs_to_one_turn() -> None:
    """In the second turn of the first round the machine is half as fast. Memory has no turns."""
    turns: dict[str, list[list[float]]] = {
        BARE: [[100, 200], [100]],
        FLOOR: [[200, 400], [200]],
        OURS_BESIDE: [[250, 500], [900]],
    }
    found = {name: [{**run(1), "loop_turns": each} for each in rounds] for name, rounds in turns.items()}
    assert against(found, OURS_BESIDE, "loop") == 1.5
    assert against({name: [run(number)] for number, name in enumerate(found, 1)}, OURS_BESIDE, "memory") == 2.0


def test_the_other_sections_have_tables_with_ratios() -> None:
    """Start-up is compared with sentry_sdk.init, a span with one in a trace of ten; memory has its growth."""
    sizes = {str(size): [run(100 + 20 * size + size // 1000 * 4000)] for size in SIZES}
    kinds = {kind: {each.name: [run(100 * number)] for number, each in enumerate(COMPARED)} for kind in ("error",)}
    routes = {str(count): {each.name: kinds["error"][each.name] for each in COMPARED[:3]} for count in ROUTES}
    start = {BARE: [run(0)], FLOOR: [run(100)], SENTRY_ALONE: [run(200)], OURS_BESIDE: [run(300)]}
    start[SENTRY_NATIVE] = [run(400)]
    found = by_title(
        {
            "start": start,
            "curves": {"spans": {OURS_BESIDE: sizes}, "routes": routes, "kinds": kinds},
            "memory": [[0, 104 * 2**20], [250, 100 * 2**20], [500, 103 * 2**20], [1000, 102 * 2**20]],
        }
    )
    assert len(found) == 9
    held = [row for title, grid in found.items() if title.endswith("held against its goals") for row in grid.rows]
    assert held == [
        ["start-up against sentry_sdk.init", "1.50", "1.15", "1.00"],
        ["start-up against sentry_sdk.init, CPU", "1.50", "1.15", "1.00"],
        ["to the first answer against sentry-sdk native", "0.75", "1.15", "1.00"],
        ["to the first answer against sentry-sdk native, CPU", "0.75", "1.15", "1.00"],
        ["a span's loop CPU, 1,000 a trace against 10", "1.20", "1.20", "1.00"],
        ["a span's process CPU, 1,000 a trace against 10", "1.20", "1.20", "1.00"],
        ["MiB grown in 1,000 spans", "3.0", "5.0", "0.0"],
    ]


def test_the_documented_variants_exist() -> None:
    """Each has one name."""
    names = [each.name for each in VARIANTS]
    assert len(set(names)) == len(names)
    assert {BARE, FLOOR, OURS_BESIDE, SENTRY_ALONE, "logfire", "ddtrace", "elastic-apm"} <= set(names)


@pytest.mark.thorough
def test_the_floor_traces_every_call_of_the_request(valkey: Valkey) -> None:
    """The floor, the unit of all ratios, has contrib's spans, including the statement's."""
    code = (
        "import asyncio\n"
        "from tests.benchmarks.worker import start\n"
        "app, _, _ = start('floor')\n"
        "from tests.benchmarks.application import ask\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "kept = InMemorySpanExporter()\n"
        "trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(kept))\n"
        "asyncio.run(ask(app, '/missions/7'))\n"
        "print(*[span.name for span in kept.get_finished_spans()], sep='\\n')\n"
    )
    sink = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.sink", str(port := free_port())], cwd=ROOT)
    try:
        wait_for(port)
        environment = {"VALKEY_PORT": str(valkey.port), "UPSTREAM_URL": f"http://127.0.0.1:{port}"}
        done = run_python(code, environment, pythonpath=[ROOT])
    finally:
        sink.terminate()
        sink.wait()
    server = "GET /missions/{mission_id}"
    assert done.stdout.splitlines() == [
        *("GET", "connect", "SELECT", "SET", "GET"),
        *(f"{server} http send", f"{server} http send", server),
    ], done.stderr


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


# -- the load ----------------------------------------------------------------------------------------------------


def test_a_pause_of_the_server_counts_for_every_waiting_request() -> None:
    """A request counts from the moment it is due, although the only connection is busy."""
    asked, served = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        for _ in range(100):
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            if asked == 10:
                await asyncio.sleep(0.5)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()
        served.set()

    async def measure() -> list[float]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            connection = Connection(server.sockets[0].getsockname()[1])
            taken = await at_rate([connection], rate=100, seconds=1)
            connection.close()
            await served.wait()
            return taken

    taken = asyncio.run(measure())
    assert len(taken) == 100
    assert taken == sorted(taken)
    assert len([each for each in taken if each > 0.1]) >= 40


def test_a_quantile_is_one_of_the_measured_values() -> None:
    """It is the smallest value that the share does not exceed."""
    values = [float(number) for number in range(1, 201)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (100.0, 198.0, 7.0)
