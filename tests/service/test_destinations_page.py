"""The table of docs/destinations.md that says what becomes of each kind of failure: each row is a request."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.test_linking import Answer, get, leave_socket, leave_stream, leave_upload, listen
from tests.support import ROOT
from tests.support.ingest import Json, SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.otlp_data import LogRecord, Span
from tests.support.process import Server, free_port, uvicorn_command

PAGE = ROOT / "docs" / "destinations.md"
LOGGERS = {"brain_otel": "", "tests.apps.linking": " of its logger", "uvicorn.error": " of the server"}
"""Scope of a log record -> how the page calls it."""

HEADING = "## What becomes of a failure"

FILE = """
file_format: "1.1"
tracer_provider: {processors: [{sentry: {}}, {otlp: &otlp {endpoint: "${OTLP}"}}, {console: {}}]}
logger_provider: {processors: [{otlp: *otlp}]}
meter_provider: {readers: [{periodic: {interval: 3600000, exporter: {otlp: *otlp}}}]}
propagator: {composite: [tracecontext:, baggage:, sentry:]}
distribution: {brain_otel: {sentry: {dsn: "${SENTRY_DSN}"}}}
"""

Call = Callable[[Server, str], Answer]

ROUTES: dict[str, tuple[str, Call]] = {
    "unhandled": ("async-endpoint", get),
    "handled and passed to `capture_exception`": ("captured", get),
    "handled and logged with `logger.exception`": ("logger-exception", get),
    "answered with a 4xx": ("http-404", get),
    "answered with a 4xx by a handler": ("handler-answers-400", get),
    "answered with a 5xx by a handler": ("handler-answers-500", get),
    "`HTTPException` with a 5xx": ("http-503", get),
    "answered with a 5xx by a middleware": ("answering-middleware", get),
    "raised by a middleware": ("asgi-middleware", get),
    "in a stream": ("streaming", get),
    "in a background task": ("async-background", get),
    "in a task that nobody awaits": ("forgotten-task", get),
    "in a thread": ("thread-without-context", get),
    "a client that left a stream": ("disconnect", leave_stream),
    "a client that left its upload": ("disconnect-in-body", leave_upload),
    "a cancelled request": ("cancelled", get),
    "in a WebSocket": ("websocket", listen),
    "a client that closed its WebSocket": ("websocket-disconnect", leave_socket),
}


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What each destination has of the requests."""

    trace_ids: dict[str, str]
    events: list[Json]
    transactions: list[Json]
    spans: list[Span]
    log_records: list[LogRecord]
    counted: list[tuple[str, bool]]
    """Route and whether handled, as often as it was counted."""
    console: str


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    return serve(tmp_path_factory.mktemp("failures"), FILE)


def serve(folder: Path, file: str, *, with_sentry: bool = True) -> Observed:
    """Request each route once."""
    (folder / "own.yaml").write_text(file)
    port = free_port()
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        env = {"OTEL_CONFIG_FILE": str(folder / "own.yaml"), "OTLP": receiver.endpoint}
        # The app sets brain_otel up if there is the variable.
        env["SENTRY_DSN"] = ingest.dsn if with_sentry else ""
        command = uvicorn_command("tests.apps.linking:app", port)
        with Server(command, port, env=env, pythonpath=[ROOT], ready_path="/seen") as server:
            for route, call in ROUTES.values():
                call(server, f"/{route}/1")
            seen = server.get("/seen").json()["seen"]
            ingest.settle(1.0)
            server.terminate()
            output = server.output
        # Each export has the counts since the start.
        last = [each for each in receiver.metrics if each.name == "brain_otel.errors"][-1]
        return Observed(
            trace_ids={path.split("/")[1]: ids[0] for path, ids in seen.items() if path.count("/") == 2},
            events=ingest.events,
            transactions=ingest.transactions,
            spans=receiver.spans,
            log_records=receiver.log_records,
            counted=[
                (str(p.attributes["http.route"]), bool(p.attributes["handled"]))
                for p in last.points
                if "http.route" in p.attributes
                for _ in range(int(p.value))
            ],
            console=output,
        )


def table() -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the page's table."""
    section = PAGE.read_text().partition(HEADING)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return rows[0], rows[2:]


def word(handled: bool) -> str:
    return "handled" if handled else "unhandled"


def counted_of(observed: Observed, route: str) -> list[str]:
    return [word(handled) for counted, handled in observed.counted if counted == f"/{route}/{{item}}"]


def seen_of(observed: Observed, route: str) -> dict[str, str]:
    """What the destinations have of the request to ``route``, in the words of the table."""
    trace_id = observed.trace_ids[route]
    events = [each for each in observed.events if each["contexts"]["trace"]["trace_id"] == trace_id]
    transactions = [each for each in observed.transactions if each["contexts"]["trace"]["trace_id"] == trace_id]
    spans = [each for each in observed.spans if each.trace_id == trace_id]
    (root,) = [each for each in spans if each.kind == "server"]
    others = [each for each in spans if each is not root]
    records = [each for each in observed.log_records if each.trace_id == trace_id]
    failures = [each for each in records if "exception.type" in each.attributes]
    found = {
        "event": [word(each["exception"]["values"][-1]["mechanism"]["handled"]) for each in events],
        "transaction": [each["contexts"]["trace"]["status"] for each in transactions],
        "span status": [root.status, *(f"{each.status} of its own" for each in others if each.status == "error")],
        "span event": [
            *("exception" for event in root.events if event.name == "exception"),
            *("exception of its own" for each in others for event in each.events if event.name == "exception"),
        ],
        "log record": [f"{each.severity.lower()}{LOGGERS[each.scope]}" for each in failures],
        "counter": counted_of(observed, route),
        "console": re.findall(rf"✘ \w+: .*?{route}\b.*?(handled|unhandled)", observed.console),
    }
    return {name: ", ".join(cells) or "-" for name, cells in found.items()}


@pytest.mark.parametrize("row", table()[1], ids=lambda row: row[0])
def test_the_page_says_what_becomes_of_a_failure(observed: Observed, row: list[str]) -> None:
    """In the words of each cell."""
    head = [name.strip("`") for name in table()[0]]
    route, _ = ROUTES[row[0]]
    assert dict(zip(head[1:], row[1:], strict=True)) == seen_of(observed, route)


def test_each_kind_of_failure_has_its_row() -> None:
    assert [row[0] for row in table()[1]] == list(ROUTES)


UNSAMPLED = FILE.replace("tracer_provider: {", "tracer_provider: {sampler: {always_off: {}}, ")


@pytest.mark.thorough
@pytest.mark.parametrize(("file", "with_sentry"), [(UNSAMPLED, True), (FILE, False), (UNSAMPLED, False)])
def test_the_counter_needs_neither_a_sampled_trace_nor_sentry(tmp_path: Path, file: str, with_sentry: bool) -> None:
    """It has the same failures as the page says."""
    observed = serve(tmp_path, file, with_sentry=with_sentry)
    assert (observed.spans == [], observed.events != []) == (file is UNSAMPLED, with_sentry)
    column = table()[0].index("counter")
    for row in table()[1]:
        assert (row[0], ", ".join(counted_of(observed, ROUTES[row[0]][0])) or "-") == (row[0], row[column])
