"""One application reports the same facts in every environment, each destination in its own form.

The tests serve `tests/apps/swap.py` once for each environment and each way to start it. `REQUESTS` states what its
requests do; one reader for each kind of destination reads the facts back.
"""

import base64
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.otlp_data import KINDS, LogRecord, Span, log_records_of, metrics_of, read_lines, spans_of
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.relay import assert_accepted
from tests.support.services import Valkey
from tests.support.tiers import quick_first

DOORS = ("setup", "launcher")

Facts = dict[str, Any]


# -- the facts -----------------------------------------------------------------------------------------------

SAVED = (("db", "INSERT INTO orders (sku) VALUES (?)"), ("db.redis", "SET swap:{number} ?"))


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, its answer, and the facts that destinations report about it."""

    path: str
    body: str
    name: str
    status: int = 200
    calls: tuple[tuple[str, str], ...] = SAVED
    """Operation and description of each call that it makes, in order."""
    hop: str | None = None
    """The name of the request that it makes to this same service, in the same trace."""
    error: tuple[str, str] | None = None
    handled: bool | None = None
    extra: Mapping[str, str] | None = None

    @property
    def number(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def facts(self) -> Facts:
        """Everything that a destination may report about it, by name."""
        user = {"id": f"u-{self.number}", "email": f"u{self.number}@example.org", "plan": "premium"}
        crumb = ("orders", f"looking for order {self.number}")
        trail = [crumb, ("query", SAVED[0][1]), ("redis", SAVED[1][1].format(number=self.number))]
        errors = [self.error] if self.error is not None else []
        return {
            "status": self.status,
            "failed": self.error is not None and not self.handled,
            "marked": self.error is not None,
            "calls": [(operation, text.format(number=self.number)) for operation, text in self.calls],
            "hop": self.hop,
            "user": user,
            "user id": user["id"],
            "tags": {"tier": "gold"},
            "context": {"kilograms": int(self.number) / 2},
            "breadcrumbs": [crumb],
            "errors": errors,
            "errors on spans": errors,
            "handled": [self.handled] if errors else [],
            "extra": [dict(self.extra or {})] if errors else [],
            "errors in their place": [(self.name, user, {"tier": "gold"}, trail)] if errors else [],
        }


REQUESTS = (
    Request(
        path="/orders/7",
        body='{"order":7,"stock":4}',
        name="GET /orders/{order}",
        calls=(*SAVED, ("http.client", "GET http://app/stock/bolt"), ("order.pack", "pack the order")),
        hop="GET /stock/{sku}",
    ),
    Request(
        path="/handled/8",
        body='{"answer":"later"}',
        name="GET /handled/{order}",
        error=("OutOfStockError", "no nut for 8"),
        handled=True,
        extra={"shelf": "left"},
    ),
    Request(
        path="/unhandled/9",
        body="Internal Server Error",
        name="GET /unhandled/{order}",
        status=500,
        error=("OutOfStockError", "no screw for 9"),
        handled=False,
    ),
)


# -- the environments ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Run:
    """The observations of clients, the app and every destination for one process."""

    port: int
    answers: Mapping[str, tuple[int, str]]
    told: Mapping[str, Mapping[str, str]]
    """The trace id of each path, and the event id if the app has one."""
    ingest: SentryIngest
    otlp: OtlpReceiver
    memory: Mapping[str, list[Any]]
    files: Mapping[str, list[Any]]
    output: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment and its expected destinations."""

    destinations: tuple[str, ...]
    env: Mapping[str, str]
    sentry: bool = True


ENVIRONMENTS = {
    "development": Environment(
        destinations=("console", "sentry"),
        env={"SENTRY_ENVIRONMENT": "development", "SENTRY_PROFILES_SAMPLE_RATE": "0"},
    ),
    "test": Environment(destinations=("memory",), env={"SENTRY_ENVIRONMENT": "test"}, sentry=False),
    "staging": Environment(
        destinations=("sentry", "otlp"), env={"SENTRY_ENVIRONMENT": "staging", "SENTRY_TRACES_SAMPLE_RATE": "1"}
    ),
    "production": Environment(
        destinations=("sentry", "otlp"), env={"SENTRY_ENVIRONMENT": "production", "SENTRY_TRACES_SAMPLE_RATE": "1"}
    ),
    "own file": Environment(
        destinations=("sentry_otlp", "file"),
        env={"SENTRY_ENVIRONMENT": "qa", "OTEL_CONFIG_FILE": str(ROOT / "tests/apps/swap.yaml")},
    ),
}


def serve(env: Mapping[str, str], valkey: Valkey, *, door: str, sentry: bool) -> Run:
    """Make every request once, stop the server, and return the observations."""
    port = free_port()
    command = uvicorn_command("tests.apps.swap:app", port, launcher=door == "launcher")
    with SentryIngest() as ingest, OtlpReceiver() as otlp, tempfile.TemporaryDirectory() as directory:
        given = {"REDIS_URL": valkey.url, "SWAP_DIRECTORY": directory, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint}
        given |= {"SETUP": "1"} if door == "setup" else {}
        given |= {"SENTRY_DSN": ingest.dsn} if sentry else {}
        with Server(command, port, env={**given, **env}, pythonpath=[ROOT]) as server:
            replies = {each.path: server.get(each.path) for each in REQUESTS}
            told = server.get("/told").json()
            memory = server.get("/memory").json()
            server.terminate()
            ingest.settle(0.1)
            assert (ingest.rejected, otlp.rejected) == ([], [])
            return Run(
                port=port,
                answers={path: (reply.status_code, reply.text) for path, reply in replies.items()},
                told=told,
                ingest=ingest,
                otlp=otlp,
                memory={
                    signal: [KINDS[signal][0].FromString(base64.b64decode(each)) for each in encoded]
                    for signal, encoded in memory.items()
                },
                files={signal: read_lines(*Path(directory).glob(f"{signal}.jsonl")) for signal in KINDS},
                output=server.output,
            )


class Runs:
    """Serves each environment and door when a test first asks for it."""

    def __init__(self, valkey: Valkey) -> None:
        self._valkey = valkey
        self._kept: dict[tuple[str, str], Run] = {}

    def bare(self) -> Run:
        """The app without brain_otel."""
        return self._run("bare", "bare", {}, sentry=False)

    def run(self, environment: str, door: str) -> Run:
        given = ENVIRONMENTS[environment]
        return self._run(environment, door, given.env, sentry=given.sentry)

    def _run(self, environment: str, door: str, env: Mapping[str, str], *, sentry: bool) -> Run:
        if (environment, door) not in self._kept:
            self._kept[environment, door] = serve(env, self._valkey, door=door, sentry=sentry)
        return self._kept[environment, door]


@pytest.fixture(scope="module")
def runs(valkey: Valkey) -> Runs:
    return Runs(valkey)


# -- the readers: from a destination's form to facts ---------------------------------------------------------


def read_sentry(run: Run, request: Request) -> Facts:
    """Read envelopes: a transaction and its error events."""
    trace_id = run.told[request.path]["trace_id"]
    of_trace = [each for each in run.ingest.transactions if each["contexts"]["trace"]["trace_id"] == trace_id]
    (transaction,) = [each for each in of_trace if each["transaction"] == request.name]
    context = transaction["contexts"]["trace"]
    spans = [context, *transaction["spans"]]
    calls = sorted(transaction["spans"], key=lambda span: float(span["start_timestamp"]))
    hops = [
        each["transaction"]
        for each in of_trace
        if each["contexts"]["trace"].get("parent_span_id") in {span["span_id"] for span in transaction["spans"]}
    ]
    failed = context["status"] != "ok"
    events = [event for span in spans for event in span["data"].get("otel.events", ())]
    assert_accepted(transaction)
    return {
        "status": context["data"]["http.response.status_code"],
        "failed": failed,
        "calls": [(span["op"], _addressed(run, span["description"])) for span in calls],
        "hop": hops[0] if hops else None,
        "user": transaction["user"],
        "tags": {key: value for key, value in transaction["tags"].items() if key != "http.status_code"},
        "context": transaction["contexts"]["parcel"],
        "breadcrumbs": [(each["category"], each["message"]) for each in transaction["breadcrumbs"]["values"]],
        "errors on spans": [_exception(each["attributes"]) for each in events if each["name"] == "exception"],
        **read_sentry_errors(run, request),
    }


def read_sentry_errors(run: Run, request: Request) -> Facts:
    """Read the error events of a trace."""
    trace_id = run.told[request.path]["trace_id"]
    events = [each for each in run.ingest.events if each["contexts"]["trace"]["trace_id"] == trace_id]
    exceptions = [each["exception"]["values"][-1] for each in events]
    for event in events:
        assert_accepted(event)
    return {
        "errors": [(each["type"], each["value"]) for each in exceptions],
        "handled": [each["mechanism"]["handled"] for each in exceptions],
        "extra": [each["contexts"].get("extra", {}) for each in events],
        "errors in their place": [
            (
                each["transaction"],
                each["user"],
                each["tags"],
                [(crumb["category"], crumb["message"]) for crumb in each["breadcrumbs"]["values"]],
            )
            for each in events
        ],
        "event ids": [each["event_id"] for each in events],
    }


def read_spans(run: Run, request: Request, spans: list[Span]) -> Facts:
    """Read OpenTelemetry's spans, whatever carried them."""
    of_trace = [span for span in spans if span.trace_id == run.told[request.path]["trace_id"]]
    (root,) = [span for span in of_trace if span.name == request.name]
    children = sorted(
        (span for span in of_trace if span.parent_span_id == root.span_id), key=lambda it: it.start_time
    )
    below = [span.name for span in of_trace if span.parent_span_id in {child.span_id for child in children}]
    user = _below(root.attributes, "user.") | _below(root.attributes, "brain_otel.user.")
    for span in children:
        assert span.attributes["user.id"] == user["id"]
    events = [event for span in (root, *children) for event in span.events]
    crumbs = [each.attributes for each in events if each.name == CRUMBS]
    return {
        "status": root.attributes["http.response.status_code"],
        "failed": root.status == "error",
        "calls": [_call(run, span) for span in children],
        "hop": below[0] if below else None,
        "user": user,
        "tags": {key: value for key, value in root.attributes.items() if key == "tier"},
        "context": _below(root.attributes, "parcel."),
        "breadcrumbs": [
            tuple(each[f"brain_otel.breadcrumb.{key}"] for key in ("category", "message")) for each in crumbs
        ],
        "errors on spans": [_exception(each.attributes) for each in events if each.name == "exception"],
    }


def read_logs(run: Run, request: Request, records: list[LogRecord]) -> Facts:
    """Read OpenTelemetry's log records, whatever carried them."""
    found = [each for each in records if each.trace_id == run.told[request.path]["trace_id"]]
    errors = [each for each in found if "exception.type" in each.attributes]
    for each in errors:
        assert each.severity == "ERROR"
        assert each.span_id
    ours = ("brain_otel.", "exception.")
    return {
        "errors": [_exception(each.attributes) for each in errors],
        "extra": [{k: v for k, v in each.attributes.items() if not k.startswith(ours)} for each in errors],
        "event ids": [each.attributes["brain_otel.event_id"] for each in errors],
    }


def read_otlp(run: Run, request: Request) -> Facts:
    return {**read_spans(run, request, run.otlp.spans), **read_logs(run, request, run.otlp.log_records)}


def read_memory(run: Run, request: Request) -> Facts:
    return _read_requests(run, request, run.memory)


def read_file(run: Run, request: Request) -> Facts:
    return _read_requests(run, request, run.files)


def read_sentry_otlp(run: Run, request: Request) -> Facts:
    return {**read_spans(run, request, run.ingest.spans), **read_sentry_errors(run, request)}


HEAD = re.compile(r"^([✔✘•]) (\S.*?)  http\.server\b.*? (\d{3}) +[\d.]+ m?s +trace (\w{8})$")
CALL = re.compile(r"^[├└]─ ([\w.]+)  (.*?) {2,}.*$")
CRUMBS = "brain_otel.breadcrumb"
CRUMB = re.compile(r"^[├└]─ · (\w+): (.*)$")
ERROR = re.compile(r"^[├└]─ ✘ (\w+): (.*)  (handled|unhandled)$")
IDS = re.compile(r"^ +event (\w{32}) · trace (\w{32})$")


def read_console(run: Run, request: Request) -> Facts:
    """Read the trees on the terminal."""
    trace_id = run.told[request.path]["trace_id"]
    trees = [
        (found, tree.splitlines()[1:]) for tree in _trees(run.output) if (found := HEAD.match(tree.splitlines()[0]))
    ]
    of_trace = [(head, below) for head, below in trees if trace_id.startswith(head[4])]
    ((head, lines),) = [(head, below) for head, below in of_trace if head[2] == request.name]
    facts = dict(each.split(" ") if " " in each else each.split("=") for each in lines[0].strip("│ ").split(" · "))
    errors = [found for line in lines if (found := ERROR.match(line))]
    ids = [found for line in lines if (found := IDS.match(line))]
    assert {found[2] for found in ids} <= {trace_id}
    return {
        "status": int(head[3]),
        "marked": head[1] == "✘",
        "calls": [(found[1], _addressed(run, found[2])) for line in lines if (found := CALL.match(line))],
        "hop": next((other[2] for other, _ in of_trace if other is not head), None),
        "user id": facts.pop("user"),
        "tags": facts,
        "breadcrumbs": [(found[1], found[2]) for line in lines if (found := CRUMB.match(line))],
        "errors": [(found[1], found[2]) for found in errors],
        "handled": [found[3] == "handled" for found in errors],
        "event ids": [found[1] for found in ids],
    }


def _trees(output: str) -> Iterator[str]:
    """Yield the trees in the server's output: from a mark to an empty line."""
    for part in re.split(r"\n(?=[✔✘•] )", output)[1:]:
        yield part.partition("\n\n")[0]


def _read_requests(run: Run, request: Request, requests: Mapping[str, list[Any]]) -> Facts:
    spans = [span for each in requests["traces"] for span in spans_of(each)]
    records = [record for each in requests["logs"] for record in log_records_of(each)]
    return {**read_spans(run, request, spans), **read_logs(run, request, records)}


def _call(run: Run, span: Span) -> tuple[str, str]:
    """Return operation and description by OpenTelemetry's semantic conventions."""
    attributes = span.attributes
    if "brain_otel.op" in attributes:
        return attributes["brain_otel.op"], span.name
    if "db.system.name" in attributes:
        redis = attributes["db.system.name"] == "redis"
        return "db.redis" if redis else "db", attributes["db.query.text"]
    assert span.kind == "client"
    return "http.client", _addressed(run, f"{attributes['http.request.method']} {attributes['url.full']}")


def _below(attributes: Mapping[str, Any], prefix: str) -> Facts:
    return {key.removeprefix(prefix): value for key, value in attributes.items() if key.startswith(prefix)}


def _exception(attributes: Mapping[str, Any]) -> tuple[str, str]:
    assert "Traceback" in attributes["exception.stacktrace"]
    return attributes["exception.type"].rpartition(".")[2], attributes["exception.message"]


def _addressed(run: Run, text: str) -> str:
    return text.replace(f"127.0.0.1:{run.port}", "app")


Reader = Callable[[Run, Request], Facts]

SPANS = ("status", "failed", "calls", "hop", "user", "tags", "context", "breadcrumbs", "errors on spans")
EVENTS = ("errors", "handled", "extra", "errors in their place")

FORMS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "sentry": (read_sentry, (*SPANS, *EVENTS)),
    "sentry_otlp": (read_sentry_otlp, (*SPANS, *EVENTS)),
    "otlp": (read_otlp, (*SPANS, "errors", "extra")),
    "file": (read_file, (*SPANS, "errors", "extra")),
    "memory": (read_memory, (*SPANS, "errors", "extra")),
    "console": (
        read_console,
        ("status", "marked", "calls", "hop", "user id", "tags", "breadcrumbs", "errors", "handled"),
    ),
}
"""For each destination: its reader, and the facts that its form can express."""


# -- the tests -----------------------------------------------------------------------------------------------

CELLS = [
    *zip(ENVIRONMENTS, (DOORS * 3)[:-1], strict=True),
    *zip(ENVIRONMENTS, (DOORS[::-1] * 3)[:-1], strict=True),
]
"""Every environment with one door, then every environment with the other."""

cells = pytest.mark.parametrize(
    ("environment", "door"),
    quick_first(CELLS, len(ENVIRONMENTS)),
    ids=lambda value: str(value).replace(" ", "-"),
)
cells_and_requests = pytest.mark.parametrize(
    "request_", REQUESTS, ids=lambda it: it.path.strip("/").replace("/", "-")
)


@cells
@cells_and_requests
def test_every_destination_reports_the_facts(
    request_: Request, environment: str, door: str, runs: Runs, matrix: "Matrix"
) -> None:
    """Each destination reports all facts that its form can express."""
    run = runs.run(environment, door)
    for destination in ENVIRONMENTS[environment].destinations:
        read, names = FORMS[destination]
        told = read(run, request_)
        told.pop("event ids")
        assert told == {name: request_.facts[name] for name in names}, destination
        matrix.note(environment, door, destination, len(told))


@cells
@cells_and_requests
def test_an_error_has_one_id_everywhere(request_: Request, environment: str, door: str, runs: Runs) -> None:
    """Every destination has the event id that the app got."""
    run = runs.run(environment, door)
    found = (
        {FORMS[each][0](run, request_)["event ids"][0] for each in ENVIRONMENTS[environment].destinations}
        if (request_.error)
        else set()
    )
    assert len(found) == (1 if request_.error else 0)
    given = run.told[request_.path]["event_id"]
    assert given is None or found == {given}


@cells
def test_the_answers_are_the_bare_apps(environment: str, door: str, runs: Runs) -> None:
    """The answers are the same in every environment and without brain_otel."""
    answers = {each.path: (each.status, each.body) for each in REQUESTS}
    assert runs.run(environment, door).answers == answers
    assert runs.bare().answers == answers


@cells
def test_only_the_destinations_of_the_environment_get_anything(environment: str, door: str, runs: Runs) -> None:
    """The log has no failure of brain_otel."""
    run = runs.run(environment, door)
    got = {
        "sentry": bool(run.ingest.transactions),
        "sentry_otlp": bool(run.ingest.otlp),
        "otlp": bool(run.otlp.requests),
        "memory": bool(run.memory["traces"][0].resource_spans),
        "file": bool(run.files["traces"]),
        "console": bool(list(_trees(run.output))),
    }
    assert {name for name, anything in got.items() if anything} == set(ENVIRONMENTS[environment].destinations)
    assert "brain_otel failed" not in run.output


@cells
def test_metrics_count_the_requests(environment: str, door: str, runs: Runs) -> None:
    """Each request is one measurement with its route and status."""
    run = runs.run(environment, door)
    sources = {
        "otlp": [each.message for each in run.otlp.accepted if each.signal == "metrics"],
        "memory": run.memory["metrics"],
        "file": run.files["metrics"],
    }
    expected = {(each.name.removeprefix("GET "), each.status): 1 for each in REQUESTS}
    for destination in ENVIRONMENTS[environment].destinations:
        if destination not in sources:
            continue
        counted = {
            (point.attributes["http.route"], point.attributes["http.response.status_code"]): point.count
            for message in sources[destination]
            for metric in metrics_of(message)
            if metric.name == "http.server.request.duration"
            for point in metric.points
        }
        assert {key: counted.get(key) for key in expected} == expected


class Matrix:
    """The facts that each destination reported, for the reader of a test run."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[int]] = {}

    def note(self, environment: str, door: str, destination: str, facts: int) -> None:
        self._found.setdefault((environment, door, destination), []).append(facts)

    def __str__(self) -> str:
        rows = [
            f"{environment:12} {door:9} {destination:12} {len(facts)} of {len(REQUESTS)} requests, {facts[0]} facts"
            for (environment, door, destination), facts in sorted(self._found.items())
        ]
        return "\n".join(["", *rows])


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    """Print the reported facts at the end of a verbose run."""
    made = Matrix()
    yield made
    if request.config.option.verbose > 0:
        listener = request.config.pluginmanager.getplugin("terminalreporter")
        capture = request.config.pluginmanager.getplugin("capturemanager")
        if listener is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                listener.write_line(str(made))
