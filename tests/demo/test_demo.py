"""``brain-otel demo`` as a user runs it, with an empty environment."""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.support import forked
from tests.support.process import PROGRAMS, Server, environment, free_port
from tests.support.tiers import quick_first
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.ingest import SentryIngest

DRAWING = Path(__file__).parents[2] / "docs" / "demo.svg"
COMMAND = str(PROGRAMS / "brain-otel")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The output of a finished demo, and the files that it left in its temporary directory."""

    returncode: int
    out: str
    err: str
    drawing: str
    left: list[Path]
    temporary: Path

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def tree(self, name: str) -> list[str]:
        """The lines of the tree with ``name`` in its header, which is the first line."""
        first = next(number for number, line in enumerate(self.lines) if re.match(rf"[✔✘•] {re.escape(name)} ", line))
        below = self.lines[first + 1 :]
        end = next(number for number, line in enumerate(below) if not re.match(r"[│├└ ]", line))
        return [self.lines[first], *below[:end]]


def run_demo(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Run:
    """Run the demo to its end; it writes into ``folder`` only."""
    temporary = folder / "temporary"
    temporary.mkdir()
    drawing = folder / "demo.svg"
    result = forked.run(
        [COMMAND, "demo", "--svg", str(drawing), *arguments],
        env=environment({"TMPDIR": str(temporary), **(env or {})}),
        encoding="utf-8",
        timeout=60,
    )
    return Run(
        returncode=result.returncode,
        out=result.stdout,
        err=result.stderr,
        drawing=drawing.read_text(encoding="utf-8") if drawing.exists() else "",
        left=list(temporary.iterdir()),
        temporary=temporary,
    )


def processes_in(temporary: Path) -> list[str]:
    """Running processes with a working directory in ``temporary``; the demo's Valkey changes its command line."""
    return [
        process.info["name"]
        for process in psutil.process_iter(["name", "cwd"])
        if str(process.info["cwd"]).startswith(str(temporary))
    ]


def structure(drawing: str) -> list[str]:
    """The lines of an SVG drawing without times, ids, ports and bars, which differ from run to run."""
    rows: dict[float, str] = {}
    for x, y, text in re.findall(r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', drawing):
        assert x
        rows[float(y)] = rows.get(float(y), "") + " " + html.unescape(text)
    changing = r"[0-9a-f]{8,32}\b|:\d{4,5}|\d+(\.\d+)?\sm?s\b|━+"
    return [" ".join(re.sub(changing, " ", rows[y]).split()) for y in sorted(rows)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run for all tests."""
    return run_demo(tmp_path_factory.mktemp("demo"))


def test_the_demo_succeeds_in_an_empty_environment(demo: Run) -> None:
    """It needs no server, no DSN and no variable, and writes nothing to stderr."""
    assert demo.returncode == 0, demo.err
    assert demo.err == ""
    assert "Traceback" not in demo.out
    assert "Warning" not in demo.out


def test_piped_output_has_no_escape_sequences(demo: Run) -> None:
    """It is readable in a file."""
    assert "\x1b" not in demo.out


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("GET /missions/{mission_id}", "200"),
        ("POST /missions/{mission_id}/plan", "200"),
        ("POST /missions", "202"),
        ("process_mission", ""),
        ("GET /reports/usage", "200"),
        ("GET /missions", "200"),
        ("GET /missions/{mission_id}/budget", "500"),
        ("POST /missions/{mission_id}/review", "200"),
        ("GET /mission/1", "404"),
    ],
)
def test_each_request_and_job_is_a_tree(demo: Run, name: str, status: str) -> None:
    """The header has the name, the status and the trace."""
    header = demo.tree(name)[0]
    assert status in header
    assert re.search(r" trace [0-9a-f]{8}$", header)


@pytest.mark.parametrize(
    ("name", "span"),
    [
        ("GET /missions/{mission_id}", r"db  SELECT id, name, agents FROM missions WHERE id = \?"),
        ("GET /missions/{mission_id}", r"db\.redis  GET"),
        ("GET /missions/{mission_id}", r"user ada"),
        ("POST /missions", r"function  BackgroundTask announce"),
        ("POST /missions", r"   └─ db\.redis  PUBLISH"),
        ("process_mission", r"mission_id=2"),
        ("process_mission", r"validation: Mission is valid"),
        ("process_mission", r"agent\.run  Run the planner"),
        ("process_mission", r"✉ Mission processed without a review  warning"),
        ("GET /reports/usage", r"db  WITH RECURSIVE .* [\d.]+ m?s "),
        ("GET /missions", r"6× SELECT name FROM steps WHERE mission_id = \?"),  # noqa: RUF001
    ],
)
def test_each_span_tag_and_message_is_in_its_tree(demo: Run, name: str, span: str) -> None:
    """SQL, Redis, tasks, users, tags, breadcrumbs and messages."""
    assert any(re.search(span, line) for line in demo.tree(name)), demo.tree(name)


def test_only_the_query_in_a_loop_is_marked_as_n_plus_1(demo: Run) -> None:
    """With the number of statements."""
    assert "N+1" in demo.tree("GET /missions")[0]
    assert "7 SQL" in demo.tree("GET /missions")[0]
    assert sum("N+1" in line for line in demo.lines if re.match("[✔✘•]", line)) == 1


def test_the_second_service_is_in_the_tree_of_the_first(demo: Run) -> None:
    """The span of HTTPX is the parent of the server span."""
    tree = demo.tree("POST /missions/{mission_id}/plan")
    client = next(number for number, line in enumerate(tree) if "http.client  POST http://127.0.0.1:" in line)
    assert re.match(r"\s+└─ http\.server  POST /v1/completions .* 200 ", tree[client + 1])


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("GET /missions/{mission_id}/budget", "ZeroDivisionError: division by zero  unhandled"),
        ("POST /missions/{mission_id}/review", "HTTPStatusError: Client error '429 Too Many Requests'"),
    ],
)
def test_an_error_is_in_the_tree_of_its_trace(demo: Run, name: str, error: str) -> None:
    """The line below the error has its event id and the trace id."""
    tree = demo.tree(name)
    place = next(number for number, line in enumerate(tree) if error in line)
    ids = re.search(r"event ([0-9a-f]{32}) · trace ([0-9a-f]{32})$", tree[place + 1])
    assert ids is not None
    assert tree[0].endswith(f"trace {ids[2][:8]}")


def test_a_404_is_a_trace_but_no_error(demo: Run) -> None:
    """The last table has two errors and one message."""
    assert len(demo.tree("GET /mission/1")) == 1
    first = demo.lines.index("Errors and messages, each with its trace") + 1
    table = demo.lines[first : demo.lines.index("", first)]
    assert [line.split()[0] for line in table] == ["Mission", "ZeroDivisionError:", "HTTPStatusError:"]


def test_the_end_says_how_to_use_sentry(demo: Run) -> None:
    """With the variable and two lines of code."""
    end = demo.out[demo.out.index("To see the same in Sentry") :]
    assert "SENTRY_DSN=" in end
    assert "import brain_otel\n" in end
    assert "brain_otel.setup()\n" in end


def test_no_file_and_no_process_remains(demo: Run) -> None:
    """After the demo has ended."""
    assert demo.left == []
    assert processes_in(demo.temporary) == []


def test_the_drawing_in_the_documentation_is_up_to_date(demo: Run) -> None:
    """docs/demo.svg has the same lines as today's output, apart from times and ids.

    ``brain-otel demo --svg docs/demo.svg`` renews it.
    """
    assert len(structure(demo.drawing)) > 50
    assert structure(DRAWING.read_text(encoding="utf-8")) == structure(demo.drawing)


def test_with_a_dsn_the_demo_sends_to_sentry(ingest: SentryIngest, tmp_path: Path) -> None:
    """Transactions and events arrive with the ids that the terminal shows, and the demo says so."""
    run = run_demo(tmp_path, env={"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "staging"})
    assert run.returncode == 0, run.err
    assert "to Sentry, environment staging." in run.out
    names = {transaction["transaction"] for transaction in ingest.transactions}
    assert {"GET /missions/{mission_id}", "process_mission", "POST /v1/completions"} <= names
    event: Any = next(event for event in ingest.events if "ZeroDivisionError" in str(event.get("exception")))
    assert f"event {event['event_id']} · trace {event['contexts']['trace']['trace_id']}" in run.out


@pytest.mark.parametrize(
    ("sent", "expected"), quick_first([(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
)
def test_serve_prints_each_trace_until_it_is_stopped(tmp_path: Path, sent: signal.Signals, expected: int) -> None:
    """The tree of a request that the user sends is printed; after Ctrl-C or SIGTERM nothing remains."""
    port = free_port()
    command = [COMMAND, "demo", "--serve", "--port", str(port)]
    with Server(command, port, env={"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}) as server:
        wait_until(lambda: "BRAiN Core listens on" in server.output, server)
        assert "valkey-server" in processes_in(tmp_path)
        assert server.get("/missions/5").status_code == 200
        assert server.get("/api/missions/info").json() == {"missions": 6}
        assert server.get("/api/test-error").status_code == 500
        wait_until(lambda: re.search(r"Ctrl-C[\s\S]*✔ GET /missions/\{mission_id\} ", server.output), server)
        psutil.Process(server.pid).send_signal(sent)
        wait_until(lambda: server.returncode is not None, server)
        assert server.returncode == expected
        assert "Traceback" not in server.output
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_after_ctrl_c_no_file_and_no_process_remains(tmp_path: Path) -> None:
    """The terminal sends it to Valkey too."""
    with subprocess.Popen(
        [COMMAND, "demo"],
        env=environment({"TMPDIR": str(tmp_path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # The demo prints more than fits, and waits until somebody reads: it has not ended when the signal comes.
        bufsize=0,
        pipesize=4_096,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith(b"1  A request"))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_a_port_in_use_is_one_line(tmp_path: Path, ingest: SentryIngest) -> None:
    """It says what is wrong and what to do."""
    run = run_demo(tmp_path, "--port", str(ingest.port))
    assert run.returncode == 1
    assert re.fullmatch(rf"port {ingest.port} cannot be used \(.*\); choose another with --port\n", run.err)
    assert run.left == []


def wait_until(condition: Any, server: Server, timeout: float = PATIENCE) -> None:
    """Poll until ``condition()`` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, server.output
        time.sleep(0.02)
