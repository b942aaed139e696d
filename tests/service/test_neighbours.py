"""No data of one request reaches another or the application's own instrumentation: the less obvious ways."""

from __future__ import annotations

import gc
import socket
from typing import TYPE_CHECKING

import httpx
import sentry_sdk
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import create_engine, text

import brain_otel
from brain_otel.testing import captured_telemetry
from brain_otel.traces.collector import LocalTraceCollector
from tests.support.process import Server, free_port, run_python, uvicorn_command

if TYPE_CHECKING:
    from pathlib import Path

    from brain_otel.testing import Telemetry
    from brain_otel.traces.collector import CollectedTrace
    from tests.support.ingest import SentryIngest

APP = """
import brain_otel
brain_otel.setup()
from fastapi import FastAPI
app = FastAPI()

@app.get("/a")
async def a():
    brain_otel.set_user_context(user_id="alice")
    brain_otel.set_tag("seen", "by-alice")
    return {}

@app.get("/b")
async def b():
    brain_otel.capture_message("b")
    return {}
"""


def test_a_pipelined_request_has_its_own_trace_and_user(ingest: SentryIngest, tmp_path: Path) -> None:
    """Servers start the second of two pipelined requests in the context of the first."""
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    environment = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "test"}
    with Server(uvicorn_command("app:app", port), port, env=environment, pythonpath=[tmp_path]) as server:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"".join(b"GET %s HTTP/1.1\r\nHost: t\r\n\r\n" % path for path in (b"/a", b"/b", b"/b"))
            )
            ingest.wait_for(lambda seen: len(seen.transactions) == 3, message="three transactions")
        server.terminate()
    first, *others = sorted(ingest.transactions, key=lambda each: str(each["transaction"]))
    assert first["user"] == {"id": "alice"}
    for event in (*others, *ingest.events):
        assert "user" not in event
        assert "seen" not in (event.get("tags") or {})
    assert len({each["contexts"]["trace"]["trace_id"] for each in (first, *others)}) == 3
    assert all("parent_span_id" not in each["contexts"]["trace"] for each in others)


def test_data_on_the_current_scope_stays_in_its_request(telemetry: Telemetry) -> None:
    """The thread that builds transactions starts in the first request, and does not pass its scope on."""
    for number in range(3):
        with brain_otel.start_transaction(f"job {number}"), sentry_sdk.new_scope() as scope:
            if number == 0:
                scope.set_tag("first", "only")
    assert [each.get("tags") for each in telemetry.transactions] == [{}, {}, {}]


def test_a_statement_of_an_engine_with_options_is_one_span(telemetry: Telemetry) -> None:
    """`execution_options()` makes an engine that also gets its parent's events."""
    engine = create_engine("sqlite://")
    with brain_otel.start_transaction("work"):
        for each in (engine, engine.execution_options(logging_token="x"), engine):
            with each.connect() as connection:
                connection.execute(text("select 1"))
    engine.dispose()
    (transaction,) = telemetry.transactions
    assert [span["description"] for span in transaction["spans"]] == ["select ?"] * 3


def test_a_span_that_ends_during_garbage_collection_causes_no_deadlock() -> None:
    """The garbage collector may run on the thread that holds the lock."""

    class Reentrant(LocalTraceCollector):
        def hand_over(self, collected: CollectedTrace) -> None:
            pass

    provider = TracerProvider(shutdown_on_exit=False)
    collector = Reentrant()
    provider.add_span_processor(collector)
    tracer = provider.get_tracer("test")
    abandoned = tracer.start_span("abandoned")
    with collector._lock:
        gc.collect()
        abandoned.end()
    assert collector._by_span == {}


def test_an_error_whose_text_fails_is_still_an_event(telemetry: Telemetry) -> None:
    """A failure on the span or the log does not keep it from Sentry."""

    class WordlessError(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    from brain_otel.runtime.guard import reraise_failures

    reraise_failures(False)
    with brain_otel.start_transaction("work"):
        event_id = brain_otel.capture_exception(WordlessError())
    assert [event["event_id"] for event in telemetry.events] == [event_id]


def test_the_applications_own_baggage_header_arrives(telemetry: Telemetry, ingest: SentryIngest) -> None:
    """brain_otel adds its entries to the header that a call sets itself."""
    ingest.respond = lambda: (200, {})
    url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    with brain_otel.start_transaction("work"):
        httpx.post(url, headers={"baggage": "mine=1,sentry-trace_id=forged"}, content=b"{}\n")
    (envelope,) = ingest.envelopes
    members = envelope.request_headers["baggage"].split(",")
    assert members[0] == "mine=1"
    assert [member for member in members if member.startswith("sentry-trace_id=")] != ["sentry-trace_id=forged"]


def test_instrumentation_that_the_application_set_up_stays() -> None:
    """Shutdown removes brain_otel's instrumentation and keeps the application's."""
    HTTPXClientInstrumentor().instrument(skip_dep_check=True)
    try:
        with captured_telemetry():
            pass
        assert HTTPXClientInstrumentor().is_instrumented_by_opentelemetry
    finally:
        HTTPXClientInstrumentor().uninstrument()


def test_setup_can_be_repeated_after_a_failure(tmp_path: Path) -> None:
    """It finds a bad option before it sets OpenTelemetry's globals."""
    code = """
import pathlib, sys
import brain_otel
good = pathlib.Path(sys.argv[1]).read_text()
bad = pathlib.Path("bad.yaml"); bad.write_text(good.replace("- console: {}", "- console: {colour: red}"))
try:
    brain_otel.setup(config_file=bad)
except brain_otel.ConfigurationError as error:
    assert "colour" in str(error)
brain_otel.setup(environment="development")
print("mended")
"""
    from brain_otel.configuration.file_choice import packaged_files

    source = packaged_files() / "development.yaml"
    result = run_python(code, cwd=tmp_path, arguments=[str(source)])
    assert result.stdout.strip() == "mended", result.stderr
