"""The pytest fixture `telemetry`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from opentelemetry import trace as otel_trace

import brain_otel
from tests.support import ROOT
from tests.support.process import run_python
from tests.support.relay import assert_accepted

if TYPE_CHECKING:
    from pathlib import Path

    from brain_otel.testing import Telemetry


tracer = otel_trace.get_tracer(__name__)  # made at import, as in applications: it must follow the fixture


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/missions/{mission_id}")
    async def mission(mission_id: int, tasks: BackgroundTasks) -> dict[str, int]:
        brain_otel.set_user_context(user_id="u1", subscription_tier="premium")
        brain_otel.set_tag("agent", "ops")
        brain_otel.set_context("mission", {"id": mission_id})
        brain_otel.add_breadcrumb("Validating", category="validation", data={"step": 1})
        with tracer.start_as_current_span("inner"):
            pass
        tasks.add_task(lambda: None)
        return {"mission_id": mission_id}

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError("boom")

    return app


async def get(app: FastAPI, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_request_is_captured_with_all_its_data(telemetry: Telemetry) -> None:
    """Spans, the transaction, the user, tags, contexts and breadcrumbs are plain dicts."""
    response = await get(make_app(), "/missions/7")
    assert response.json() == {"mission_id": 7}
    (transaction,) = telemetry.transactions
    assert transaction["transaction"] == "GET /missions/{mission_id}"
    assert transaction["user"] == {"id": "u1", "subscription_tier": "premium"}
    assert transaction["tags"] == {"http.status_code": "200", "agent": "ops"}
    assert transaction["contexts"]["mission"] == {"id": 7}
    assert [span["description"] for span in transaction["spans"]] == ["inner", "BackgroundTask <lambda>"]
    assert [crumb["message"] for crumb in telemetry.breadcrumbs] == ["Validating"]
    root = next(span for span in telemetry.spans if span["kind"] == "server")
    assert root["attributes"]["user.id"] == "u1"
    assert root["attributes"]["mission.id"] == 7
    assert_accepted(transaction)


@pytest.mark.anyio
async def test_an_error_and_its_log_record_have_the_same_ids(telemetry: Telemetry) -> None:
    """The event id and the trace are the same in Sentry and on the log record."""
    await get(make_app(), "/boom")
    (event,) = telemetry.events
    (log,) = telemetry.logs
    assert log["attributes"]["brain_otel.event_id"] == event["event_id"]
    assert log["trace_id"] == event["contexts"]["trace"]["trace_id"]
    assert log["attributes"]["exception.type"] == "ValueError"
    assert event["transaction"] == "GET /boom"
    assert_accepted(event)


@pytest.mark.anyio
async def test_log_items_are_those_of_sentry(telemetry: Telemetry) -> None:
    """Of the application's lines, errors and messages; masked, and linked to their trace."""
    await get(make_app(), "/boom")
    logging.getLogger("app").warning("password=%s for %s", "hunter2", "Ann")
    (event,) = telemetry.events
    error, line = telemetry.log_items
    assert (error["body"], error["trace_id"]) == ("ValueError: boom", event["contexts"]["trace"]["trace_id"])
    assert (line["body"], line["level"]) == ("password=[Filtered] for Ann", "warn")
    assert line["attributes"]["sentry.message.parameter.1"]["value"] == "Ann"
    telemetry.assert_private("hunter2")


@pytest.mark.parametrize("_", range(2))
def test_the_next_test_starts_clean(telemetry: Telemetry, _: int) -> None:
    """It has no span, event, tag or user of an earlier test."""
    assert telemetry.spans == []
    assert telemetry.events == []
    assert telemetry.breadcrumbs == []
    brain_otel.capture_message("hello")
    (event,) = telemetry.events
    assert not event.get("tags")
    assert not event.get("user")
    brain_otel.set_tag("leak", "yes")
    brain_otel.set_user_context(user_id="leak")
    with tracer.start_as_current_span("span"):
        logging.getLogger("app").warning("a breadcrumb")
    assert [span["name"] for span in telemetry.spans] == ["span"]


def test_ids_and_times_can_be_the_same_at_every_run(telemetry: Telemetry) -> None:
    """Sequential ids and a fixed clock make outputs comparable."""
    telemetry.use_sequential_ids()
    telemetry.use_clock(start=1_700_000_000.0, step=0.5)
    with brain_otel.start_transaction("work"):
        pass
    (span,) = telemetry.spans
    assert (span["trace_id"], span["span_id"]) == (f"{1:032x}", f"{2:016x}")
    assert (span["start_time"], span["end_time"]) == (1_700_000_000.0, 1_700_000_000.5)


def test_without_the_fixture_nothing_is_set_up() -> None:
    """The plugin alone does nothing."""
    assert brain_otel.telemetry.is_set_up() is False
    assert brain_otel.capture_message("nobody listens") is not None
    assert brain_otel.flush() is True


BESIDE_SETUP = """
import brain_otel
brain_otel.setup(config_file="telemetry.yaml")
from brain_otel.testing import captured_telemetry
try:
    with captured_telemetry() as telemetry:
        with brain_otel.start_transaction("work"):
            pass
        print([each["transaction"] for each in telemetry.transactions])
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("disabled", "environ", "expected"),
    [
        ("true", {}, "['work']"),
        ("false", {}, "brain_otel is set up already"),
        ("false", {"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED is true"),
    ],
)
def test_the_fixture_beside_a_setup_of_the_application(
    tmp_path: Path, disabled: str, environ: dict[str, str], expected: str
) -> None:
    """It captures if that setup is disabled, and else says why it cannot."""
    tracing = "tracer_provider: {processors: [{memory: }]}"
    (tmp_path / "telemetry.yaml").write_text(f'file_format: "1.1"\ndisabled: {disabled}\n{tracing}\n')
    done = run_python(BESIDE_SETUP, environ, cwd=tmp_path, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected)


TRACELESS = """
import os, signal
variables, sigterm = dict(os.environ), signal.getsignal(signal.SIGTERM)
from brain_otel.testing import captured_telemetry
for _ in range(2):
    with captured_telemetry() as telemetry:
        import fastapi, httpx
    print(dict(os.environ) == variables, signal.getsignal(signal.SIGTERM) == sigterm)
"""


@pytest.mark.parametrize("environ", [{}, {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}])
def test_the_fixture_leaves_the_process_as_it_was(environ: dict[str, str], tmp_path: Path) -> None:
    """Variables, set or not, and the handler of SIGTERM."""
    done = run_python(TRACELESS, environ, cwd=tmp_path, pythonpath=[ROOT])
    assert (done.returncode, done.stdout) == (0, "True True\n" * 2), done.stdout + done.stderr


TWICE = """
import logging, sys
logging.basicConfig(level=logging.WARNING)
from brain_otel.testing import captured_telemetry
from sqlalchemy import create_engine, text
for _ in range(3):
    with captured_telemetry() as telemetry:
        engine = create_engine("sqlite://")
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
        (span,) = [each for each in telemetry.spans if each["name"].startswith("SELECT")]
        assert "db.query.text" in span["attributes"], span
"""


def test_the_second_use_in_a_process_is_as_quiet_as_the_first() -> None:
    """Contrib keeps the semantic conventions that the first use has chosen."""
    done = run_python(TWICE)
    assert (done.returncode, done.stderr) == (0, "")


REMOVED = """
import logging
logging.basicConfig(level=logging.WARNING)
from brain_otel.testing import captured_telemetry
from sqlalchemy import create_engine, event, text
for _ in range(2):
    with captured_telemetry() as telemetry:
        engine = create_engine("sqlite://")
        event.listen(engine, "before_cursor_execute", lambda *_: None)  # then ours are listeners, too
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        assert telemetry.spans
        from brain_otel.instrumentation.sqlalchemy.instrumentor import _Tracer
        target, name, listener = _Tracer._remove_event_listener_params[0]
        event.remove(target(), name, listener)
    engine.dispose()
"""


def test_a_listener_that_somebody_has_removed_is_no_error_at_the_end() -> None:
    """SQLAlchemy raises for a listener that is not there."""
    done = run_python(REMOVED)
    assert (done.returncode, done.stderr) == (0, "")
