"""FastAPI: one server span a request, named by its route, however the app is put together."""

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from tests.instrumentation.process import Json, Outcome, run_traced, sentry_environment
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, run_python, uvicorn_command
from tests.support.tiers import thorough
from tests.support.waiting import until

APP = """
import asyncio, os
import brain_otel
brain_otel.setup(config_file=os.environ.get("FILE"))
from fastapi import APIRouter, BackgroundTasks, FastAPI, WebSocket

app, sub, deep = FastAPI(), FastAPI(), FastAPI()

@app.get("/items/{item_id}")
def item(item_id: str): return item_id

inner, outer = APIRouter(prefix="/inner"), APIRouter(prefix="/outer")
@inner.get("/{item_id}")
async def included(item_id: str): return item_id

@sub.get("/x/{item_id}")
async def mounted(item_id: str): return item_id

@deep.get("/y/{item_id}")
async def deeply_mounted(item_id: str): return item_id

@sub.get("/boom/{item_id}")
async def mounted_boom(item_id: str): raise RuntimeError("boom " + item_id)

@app.websocket("/rooms/{room}")
async def room(websocket: WebSocket, room: str):
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()

@app.get("/background/{item_id}")
async def background(item_id: str, tasks: BackgroundTasks):
    brain_otel.set_user_context(user_id="u1")
    brain_otel.set_tag("mission", "m1")
    tasks.add_task(later, item_id)
    return item_id

async def later(item_id):
    with brain_otel.start_span("work", "in the background"):
        await asyncio.sleep(0.1)
    if item_id == "bad":
        raise ValueError("later")

outer.include_router(inner)
app.include_router(outer, prefix="/api")
sub.mount("/deep", deep)
app.mount("/sub", sub)
"""

NATIVE = """
file_format: "1.1"
tracer_provider:
  processors:
    - sentry: {}
distribution:
  brain_otel:
    fast_paths: ${BRAIN_OTEL_FAST_PATHS:-true}
    sentry: {dsn: "${SENTRY_DSN}"}
    instrumentation: {fastapi: native}
"""

LOGS = """
logger_provider:
  processors:
    - memory: {}
"""

ROUTES = {
    "/items/1": "GET /items/{item_id}",
    "/api/outer/inner/1": "GET /api/outer/inner/{item_id}",
    "/sub/x/1": "GET /sub/x/{item_id}",
    "/sub/deep/y/1": "GET /sub/deep/y/{item_id}",
}

NO_ROUTES = ("/nowhere/1", "/sub/nowhere/1")

KINDS = ("contrib", "native")

Run = Callable[[str], Outcome]


@pytest.fixture(scope="module")
def outcome_of(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ask the app everything under uvicorn, once a kind of spans, and give what arrived."""

    @cache
    def run(kind: str) -> Outcome:
        directory = tmp_path_factory.mktemp(kind)
        (directory / "shop.py").write_text(APP)
        (directory / "native.yaml").write_text(NATIVE)
        port = free_port()
        with SentryIngest() as ingest:
            env = sentry_environment(ingest, {"FILE": "native.yaml"} if kind == "native" else {})
            command = uvicorn_command("shop:app", port)
            with Server(command, port, env=env, cwd=directory, pythonpath=[directory, ROOT]) as server:
                ask_everything(server)
                server.terminate()
                return Outcome(transactions=ingest.transactions, events=ingest.events, output=server.output)

    return run


def ask_everything(server: Server) -> None:
    for path in ROUTES:
        assert server.get(path).json() == "1"
    for path in NO_ROUTES:
        assert server.get(path).status_code == 404
    assert server.get("/sub/boom/1").status_code == 500
    with connect(server.url.replace("http", "ws") + "/rooms/blue", proxy=None) as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"
    assert server.get("/background/1").json() == "1"
    assert server.get("/background/bad").json() == "bad"


@pytest.fixture(params=KINDS)
def outcome(request: pytest.FixtureRequest, outcome_of: Run) -> Outcome:
    """Give what arrived with each kind of spans."""
    return outcome_of(request.param)


def root(transaction: Json) -> Json:
    trace: Json = transaction["contexts"]["trace"]
    return trace


def server_spans(transaction: Json) -> list[Json]:
    """Return the spans inside the transaction that say that they are a server's."""
    return [span for span in transaction["spans"] if span["data"].get("sentry.kind") == "server"]


def asked(outcome: Outcome, path: str) -> Json:
    """Return the one transaction of the request for this path."""
    found = [each for each in outcome.transactions if urlsplit(each["request"]["url"]).path == path]
    assert len(found) == 1, f"{len(found)} transactions for {path}: {outcome.names}"
    return found[0]


@pytest.mark.parametrize("path", ROUTES)
def test_a_request_is_one_server_span_named_by_its_route(outcome: Outcome, path: str) -> None:
    """The name has the prefixes of routers and mounted apps."""
    transaction = asked(outcome, path)
    assert transaction["transaction"] == ROUTES[path]
    assert transaction["transaction_info"] == {"source": "route"}
    assert root(transaction)["op"] == "http.server"
    assert root(transaction)["status"] == "ok"
    assert root(transaction)["data"]["http.route"] == ROUTES[path].removeprefix("GET ")
    assert server_spans(transaction) == []


def test_each_request_is_one_trace(outcome: Outcome) -> None:
    """No two requests share a trace, and none has two."""
    traces = Counter(root(each)["trace_id"] for each in outcome.transactions)
    assert set(traces.values()) == {1}
    assert len(traces) == len(ROUTES) + len(NO_ROUTES) + 4


def test_there_are_no_send_and_receive_spans(outcome_of: Run) -> None:
    """Contrib's spans for ASGI messages are left out."""
    outcome = outcome_of("contrib")
    for path in (*ROUTES, "/rooms/blue"):
        assert asked(outcome, path)["spans"] == []


def test_native_spans_are_fastapis_own(outcome_of: Run) -> None:
    """With `fastapi: native` the stages of FastAPI are spans, in a mounted app too."""
    outcome = outcome_of("native")
    for path in ("/items/1", "/sub/x/1"):
        names = [span["description"] for span in asked(outcome, path)["spans"]]
        assert sorted(names) == ["fastapi.dependencies", "fastapi.endpoint", "fastapi.serialization"]


NATIVE_LOGS = """
import os
import brain_otel
from brain_otel.destinations.memory import MEMORY
brain_otel.setup(config_file="logs.yaml")
from fastapi import FastAPI
from fastapi.testclient import TestClient
app, sub = FastAPI(), FastAPI()
app.mount("/sub", sub)
@app.get("/boom/{number}")
@sub.get("/boom/{number}")
def boom(number: int): raise ValueError(number)
with TestClient(app, raise_server_exceptions=False) as client:
    for path in ("/boom/1", "/sub/boom/1", "/boom/no"):
        client.get(path)
brain_otel.flush()
for each in MEMORY.log_records:
    print(each.log_record.event_name, (each.log_record.attributes or {}).get("exception.message"))
"""


def test_an_error_is_one_log_record_with_native_telemetry(tmp_path: Path) -> None:
    """Ours, which has the event's id, replaces FastAPI's own record of an unhandled exception, and has its name."""
    (tmp_path / "logs.yaml").write_text(NATIVE.replace("sentry: {}", "memory: {}") + LOGS)
    done = run_python(NATIVE_LOGS, cwd=tmp_path, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "http.server.request.exception 1",
        "http.server.request.exception 1",
        "fastapi.validation.failed None",
    ]


def test_a_request_without_a_route_is_named_by_its_path(outcome: Outcome) -> None:
    """Its source is `url`, so that Sentry may group it."""
    transaction = asked(outcome, "/nowhere/1")
    assert root(transaction)["status"] == "not_found"
    assert transaction["transaction_info"] == {"source": "url"}
    assert transaction["transaction"] == "GET /nowhere/1"


@pytest.mark.parametrize(("kind", "name"), [("contrib", "GET /sub"), ("native", "GET /sub/{path}")])
def test_a_request_that_only_a_mount_matches_is_named_by_the_mount(outcome_of: Run, kind: str, name: str) -> None:
    """The mounted app has no route for it, so the name has no path."""
    transaction = asked(outcome_of(kind), "/sub/nowhere/1")
    assert root(transaction)["status"] == "not_found"
    assert transaction["transaction_info"] == {"source": "route"}
    assert transaction["transaction"] == name


def test_a_websocket_is_one_server_span(outcome: Outcome) -> None:
    """It lasts as long as the connection and is named by its route."""
    transaction = asked(outcome, "/rooms/blue")
    assert root(transaction)["op"] == "websocket"
    assert "/rooms/{room}" in transaction["transaction"]
    assert transaction["transaction_info"] == {"source": "route"}


def test_an_error_in_a_mounted_app_has_the_requests_name(outcome: Outcome) -> None:
    """Event and transaction are of one trace and have one name."""
    transaction = asked(outcome, "/sub/boom/1")
    events = [each for each in outcome.events if each["exception"]["values"][-1]["value"] == "boom 1"]
    assert [each["transaction"] for each in events] == ["GET /sub/boom/{item_id}"]
    assert transaction["transaction"] == "GET /sub/boom/{item_id}"
    assert root(transaction)["status"] == "internal_error"
    assert root(events[0])["trace_id"] == root(transaction)["trace_id"]


def test_a_background_task_has_its_own_span_and_duration(outcome_of: Run) -> None:
    """It is a child of the request's span, which ends with the response."""
    transaction = asked(outcome_of("contrib"), "/background/1")
    task, work = sorted(transaction["spans"], key=lambda span: float(span["start_timestamp"]))
    assert task["description"] == "BackgroundTask later"
    assert task["op"] == "function"
    assert task["parent_span_id"] == root(transaction)["span_id"]
    assert work["parent_span_id"] == task["span_id"]
    assert task["timestamp"] - task["start_timestamp"] > 0.09  # asyncio may wake up a little early
    assert transaction["timestamp"] < task["timestamp"]
    assert task["data"]["user.id"] == "u1"


def test_a_background_task_belongs_to_its_request(outcome: Outcome) -> None:
    """Its error has the request's trace, name, user and tags, like the transaction."""
    transaction = asked(outcome, "/background/bad")
    events = [each for each in outcome.events if each["exception"]["values"][-1]["value"] == "later"]
    assert len(events) == 1
    for each in (events[0], transaction):
        assert each["transaction"] == "GET /background/{item_id}"
        assert each["user"]["id"] == "u1"
        assert each["tags"]["mission"] == "m1"
    assert root(events[0])["trace_id"] == root(transaction)["trace_id"]


SCRIPT = """
import brain_otel
brain_otel.setup()
import asyncio, httpx
from fastapi import FastAPI
from sqlalchemy import create_engine, text
app, engine = FastAPI(), create_engine("sqlite://")
@app.get("/x")
def x():
    with engine.connect() as connection: connection.execute(text("SELECT 1"))
async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app.test") as client:
        (await client.get("/x")).raise_for_status()
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_an_app_without_propagators_works_and_is_traced(tmp_path: Path, kind: str) -> None:
    """Upstream's empty propagator returns no context."""
    file = tmp_path / "file.yaml"
    file.write_text(NATIVE.replace("native", kind))
    script = SCRIPT.replace("brain_otel.setup()", f"brain_otel.setup(config_file={str(file)!r})")
    outcome = run_traced(script)
    assert len(outcome.transaction("GET /x")["spans"]) == (1 if kind == "contrib" else 4)


@pytest.mark.parametrize(
    ("opt_in", "expected"),
    [
        pytest.param(None, {"http.request.method", "db.query.text"}, id="default"),
        pytest.param(
            "http/dup", {"http.request.method", "http.method", "db.statement"}, id="http twice", marks=thorough
        ),
        pytest.param("database", {"http.method", "db.query.text"}, id="database only"),
    ],
)
def test_the_users_choice_of_conventions_is_respected(opt_in: str | None, expected: set[str]) -> None:
    """The stable ones are the default; Sentry always gets the same op, name and description."""
    env: dict[str, Any] = {} if opt_in is None else {"OTEL_SEMCONV_STABILITY_OPT_IN": opt_in}
    transaction = run_traced(SCRIPT, env).transaction("GET /x")
    (statement,) = transaction["spans"]
    # `data` has Sentry's own names beside OpenTelemetry's, so only those that Sentry has not tell them apart.
    told = {"http.method", "url.scheme", "http.scheme", "db.statement", "db.query.text"}
    found = (root(transaction)["data"].keys() | statement["data"].keys()) & told
    assert expected - {"http.request.method"} <= found
    assert ("http.method" in found) == ("http.method" in expected)
    assert ("db.statement" in found) == ("db.statement" in expected)
    assert (root(transaction)["op"], statement["op"], statement["description"]) == ("http.server", "db", "SELECT ?")


APPS = """
import asyncio, json, os, sys, tempfile
from collections import Counter
import httpx
from fastapi import BackgroundTasks, FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from starlette.background import BackgroundTask
import brain_otel

made = Counter()

def create(name):
    app = FastAPI()
    class Middleware:
        def __init__(self, app):
            self.app = app
            made[name] += 1
        async def __call__(self, scope, receive, send):
            await self.app(scope, receive, send)
    app.add_middleware(Middleware)
    @app.get("/")
    def home(tasks: BackgroundTasks):
        tasks.add_task(int)
    return app

async def ask(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app.test") as client:
        (await client.get("/")).raise_for_status()

apps = {name: create(name) for name in ("new", "built", "wrapped", "own", "own and built")}
wrapper = apps["wrapped"].build_middleware_stack
apps["wrapped"].build_middleware_stack = lambda: wrapper()
theirs = apps["wrapped"].build_middleware_stack
for name in ("own", "own and built"):
    FastAPIInstrumentor.instrument_app(apps[name])
for name in ("built", "own and built"):
    asyncio.run(ask(apps[name]))
stacks = {name: app.middleware_stack for name, app in apps.items()}
call = BackgroundTask.__call__

with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
    file.write(sys.argv[1])
    file.flush()
    brain_otel.setup(config_file=file.name)
for app in apps.values():
    asyncio.run(ask(app))
brain_otel.shutdown()

found = {
    name: {
        "stack": app.middleware_stack is stacks[name],
        "own": "build_middleware_stack" in vars(app),
        "traced": getattr(app, "_is_instrumented_by_opentelemetry", False),
        "made": made[name],
    }
    for name, app in apps.items()
}
found["wrapped"]["theirs"] = apps["wrapped"].build_middleware_stack is theirs
for app in apps.values():
    asyncio.run(ask(app))
print(json.dumps([found, BackgroundTask.__call__ is call]))
"""

MEMORY = """
file_format: "1.1"
tracer_provider: {{processors: [{{memory: {{}}}}]}}
distribution:
  brain_otel:
    instrumentation: {{fastapi: {kind}}}
"""


@pytest.mark.parametrize("kind", ["contrib", "native"])
def test_apps_are_left_as_they_were_found(kind: str) -> None:
    """A stack that was built stays; contrib's instrumentation that the application has set up stays too."""
    done = run_python(APPS, arguments=[MEMORY.format(kind=kind)], pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    found, is_their_call = json.loads(done.stdout)
    assert is_their_call
    assert found == {
        "new": {"stack": True, "own": False, "traced": False, "made": 1},
        "built": {"stack": True, "own": False, "traced": False, "made": 1},
        "wrapped": {"stack": True, "own": True, "traced": False, "made": 1, "theirs": True},
        "own": {"stack": True, "own": True, "traced": True, "made": 1},
        "own and built": {"stack": True, "own": True, "traced": True, "made": 1},
    }


BUSY = """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from fastapi import FastAPI
import brain_otel

@asynccontextmanager
async def lifespan(app):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Pool(1))
    loop.run_in_executor(None, threading.Event().wait)
    yield

class Pool(ThreadPoolExecutor):
    def shutdown(self, wait=True, *, cancel_futures=False):
        pass

app = FastAPI(lifespan=lifespan)
brain_otel.setup()

@app.get("/")
def home():
    return brain_otel.capture_message("before the end")
"""


def test_a_server_shuts_down_while_the_loops_threads_hang(ingest: SentryIngest, tmp_path: Path) -> None:
    """Its flush has a thread of its own."""
    (tmp_path / "busy.py").write_text(BUSY)
    port = free_port()
    env = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "staging"}
    with Server(uvicorn_command("busy:app", port), port, env=env, pythonpath=[tmp_path]) as server:
        server.request("GET", "/")
        server.terminate(timeout=20.0)
    until(lambda: len(ingest.events) == 1)
