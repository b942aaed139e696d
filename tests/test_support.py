"""Tests of what the other tests stand on."""

import asyncio
import gzip
import json
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import httpx
import psutil  # type: ignore[import-untyped]  # ships no types
import pytest
import redis
from sqlalchemy import create_engine, text

from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, gunicorn_command, run_python, uvicorn_command
from tests.support.relay import assert_accepted
from tests.support.services import Postgres, Valkey, start_postgres, start_valkey

SENDER = """
import os
import sentry_sdk

client = sentry_sdk.Client(
    dsn=os.environ["DSN"], traces_sample_rate=1.0, release="shop@1.2.3", environment="test", server_name="web"
)
scope = sentry_sdk.get_global_scope()
scope.set_client(client)
scope.set_user({"id": 5, "email": "a@example.com", "plan": "gold"})
scope.set_tags({"number": 3, "truth": True, "text": "x y"})
scope.set_context("order", {"id": 7, "prices": [1.5, 2, None]})
scope.set_extra("cart", {"lines": [1, "2"]})
scope.add_event_processor(lambda event, hint: {**event, "request": {
    "url": "http://shop.test/orders?page=1",
    "method": "POST",
    "query_string": "page=1&q=%20z&flag",
    "headers": {"Host": "shop.test", "x-thing": "1", "cookie": "s=1", "content-type": "application/json"},
    "cookies": {"s": "1"},
    "data": {"lines": [1, {"count": 2}]},
    "env": {"SERVER_PORT": "80"},
}})

def fail(amount):
    details = {"amount": amount, "nested": [{"a": None}]}
    raise ValueError(f"bad {amount}")

with sentry_sdk.start_transaction(op="http.server", name="POST /orders", source="route") as transaction:
    transaction.set_data("http.route", "/orders")
    sentry_sdk.add_breadcrumb(message="paid", category="shop", level="warning", data={"k": 1})
    with sentry_sdk.start_span(op="db", name="SELECT 1") as span:
        span.set_data("rows", 3)
    try:
        try:
            fail(3)
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        sentry_sdk.capture_exception(error)
sentry_sdk.capture_message("hello")
client.close()
"""

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("asked for", scope["path"], flush=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


def minimal_event(**fields: Any) -> dict[str, Any]:
    return {"event_id": "c" * 32, "timestamp": time.time(), "platform": "python", "level": "error", **fields}


def envelope_body(payload: bytes = b'{"a": 1}', **header: Any) -> bytes:
    return b"\n".join([b'{"event_id": "x"}', json.dumps({"type": "event", **header}).encode(), payload])


def post(ingest: SentryIngest, content: Any, **headers: str) -> httpx.Response:
    url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(url, content=content, headers=names, trust_env=False)


@pytest.fixture
def app_directory(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(APP)
    return tmp_path


def test_events_of_the_sdk_arrive_and_are_accepted(ingest: SentryIngest) -> None:
    """Events, transactions and their order survive the way through HTTP and gzip."""
    done = run_python(SENDER, {"DSN": ingest.dsn})
    assert done.returncode == 0, done.stderr
    ingest.wait_for(lambda it: len(it.events) == 2 and len(it.transactions) == 1)
    error, message = ingest.events
    assert [value["value"] for value in error["exception"]["values"]] == ["bad 3", "outer"]
    assert message["message"] == "hello"
    for event in (*ingest.events, *ingest.transactions):
        assert_accepted(event)
    assert ingest.envelopes[0].request_headers["content-encoding"] == "gzip"
    assert ingest.refused == []


def test_all_encodings_and_framings_are_read(ingest: SentryIngest) -> None:
    """A payload with newlines, NUL bytes or no length arrives as it was sent, in every transfer."""
    binary = b"\x00\n\xff\n\n{"
    post(ingest, envelope_body(binary, length=len(binary)) + b"\n")
    post(ingest, gzip.compress(envelope_body()), Content_Encoding="gzip")
    post(ingest, zlib.compress(envelope_body()), Content_Encoding="deflate")
    post(ingest, iter([envelope_body()[:20], envelope_body()[20:]]))
    assert [item.payload for item in ingest.items("event")] == [binary, *[b'{"a": 1}'] * 3]
    assert ingest.envelopes[3].request_headers["transfer-encoding"] == "chunked"


def test_a_test_chooses_the_answer(ingest: SentryIngest) -> None:
    """The envelope is kept whatever the answer is."""
    ingest.respond = lambda: (429, {"Retry-After": "60"})
    ingest.delay = 0.1
    answer = post(ingest, envelope_body())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert answer.elapsed.total_seconds() >= 0.1
    assert len(ingest.events) == 1


def test_what_is_no_envelope_is_refused(ingest: SentryIngest) -> None:
    """A payload shorter than it says is answered with 400 and named."""
    assert post(ingest, envelope_body(length=100)).status_code == 400
    assert ingest.envelopes == []
    assert "item says 100 bytes" in ingest.refused[0]


def test_waiting_in_vain_names_what_did_arrive(ingest: SentryIngest) -> None:
    """The failure of a test says what came instead."""
    event = {"exception": {"values": [{"type": "KeyError", "value": "gone"}]}}
    post(ingest, envelope_body(json.dumps(event).encode()))
    ingest.settle(quiet=0.05)
    with pytest.raises(AssertionError, match=r"no transaction within 0.05 s.*'event': 1.*KeyError: gone"):
        ingest.wait_for(lambda it: bool(it.transactions), timeout=0.05, message="no transaction")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        pytest.param({"event_id": "nope"}, "event_id", id="identifier"),
        pytest.param({"spans": "x"}, "expected an array", id="spans"),
        pytest.param({"tags": {"a!": "x"}}, "invalid character", id="tag"),
        pytest.param({"nonsense": 1}, "invalid_attribute", id="unknown field"),
        pytest.param({"sdk": {"name": "x", "version": "1", "colour": "red"}}, "removed: sdk.colour", id="silent"),
        pytest.param({"type": "transaction"}, "start_timestamp hard-required", id="rejected"),
        pytest.param({"extra": {"long": "x " * 200_000}}, "_meta", id="shortened"),
        pytest.param({"tags": {"a b": "x"}}, "removed: tags.a b", id="renamed tag"),
    ],
)
def test_a_bad_field_is_not_accepted(fields: dict[str, Any], complaint: str) -> None:
    """Relay's complaints, its rejections and its silent losses all fail the assertion."""
    assert_accepted(minimal_event())
    with pytest.raises(AssertionError, match=complaint):
        assert_accepted(minimal_event(**fields))


def test_valkey_answers(valkey: Valkey) -> None:
    """The URL works with redis-py."""
    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()


def test_postgres_answers_psycopg(postgres: Postgres) -> None:
    """The URL works with SQLAlchemy's synchronous driver."""
    engine = create_engine(postgres.sqlalchemy_url("psycopg"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


async def select_one_with_asyncpg(postgres: Postgres) -> None:
    connection = await asyncpg.connect(postgres.url)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def select_one_with_sqlalchemy(postgres: Postgres) -> None:
    # Here, not above: the import fails without greenlet, which SQLAlchemy 2.1 has in an extra, `asyncio`.
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(postgres.sqlalchemy_url("asyncpg"))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await engine.dispose()


def test_postgres_answers_asyncpg(postgres: Postgres) -> None:
    """The URL works with asyncpg alone."""
    asyncio.run(select_one_with_asyncpg(postgres))


def test_postgres_answers_sqlalchemy_over_asyncpg(postgres: Postgres) -> None:
    """The URL works with SQLAlchemy's asynchronous driver."""
    asyncio.run(select_one_with_sqlalchemy(postgres))


def test_services_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a process nor a file outlives a service."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # not tmp_path, which is closed to the user PostgreSQL runs as
        monkeypatch.setattr("tempfile.tempdir", directory)
        with start_valkey(), start_postgres():
            assert len(list(Path(directory).iterdir())) == 2
        assert list(Path(directory).iterdir()) == []
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_a_server_gets_only_the_named_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the developer's shell do not reach the processes of the tests."""
    monkeypatch.setenv("SENTRY_DSN", "http://key@sentry.test/1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    done = run_python("import os, json; print(json.dumps(dict(os.environ)))", {"A": "1"}, pythonpath=["/x"])
    assert json.loads(done.stdout).keys() - {"LC_CTYPE"} <= {"PATH", "HOME", "LANG", "PYTHONPATH", "A"}


@pytest.mark.parametrize(
    "options",
    [{}, {"workers": 2}, {"reload": True}, {"launcher": True}],
    ids=["plain", "workers", "reload", "launcher"],
)
def test_uvicorn_starts_and_ends(app_directory: Path, options: dict[str, Any]) -> None:
    """SIGTERM ends uvicorn and its children in time."""
    port = free_port()
    command = uvicorn_command("tiny:app", port, **options)
    with Server(command, port, cwd=app_directory, ready_path="/ready") as server:
        assert server.get("/there").text == "hello"
        assert "asked for /there" in server.output
        assert server.terminate(timeout=5.0) < 5.0
        assert server.returncode is not None


@pytest.mark.parametrize(
    "options",
    [{}, {"workers": 2, "preload": True}, {"launcher": True}],
    ids=["plain", "preload", "launcher"],
)
def test_gunicorn_starts_and_ends(app_directory: Path, options: dict[str, Any]) -> None:
    """SIGTERM ends gunicorn and its workers in time."""
    port = free_port()
    command = gunicorn_command("tiny:app", port, **options)
    with Server(command, port, cwd=app_directory, ready_path="/ready") as server:
        assert server.get("/there").text == "hello"
        assert server.terminate(timeout=5.0) < 5.0
        assert server.returncode == 0


def test_a_server_that_does_not_start_says_why() -> None:
    """The output of the process is in the failure."""
    port = free_port()
    with (
        pytest.raises(AssertionError, match=r"(?s)before it answered.*tiny"),
        Server(uvicorn_command("tiny:app", port), port),
    ):
        pass


def test_a_child_that_outlives_its_server_fails_the_test(tmp_path: Path) -> None:
    """A worker left running is found, and killed at the end of the block."""
    port = free_port()
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys, http.server as h\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"h.HTTPServer(('127.0.0.1', {port}), h.BaseHTTPRequestHandler).serve_forever()\n"
    )
    with Server([sys.executable, str(script)], port) as server:
        with pytest.raises(AssertionError, match="left behind"):
            server.terminate()
        left = server.processes()
    assert len(left) == 1
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
