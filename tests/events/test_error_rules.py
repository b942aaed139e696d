"""Which errors are events: by status, class and logger, in a running application."""

import sys
from collections import Counter
from typing import Any

import pytest

from brain_otel.configuration.sections.errors import ErrorSettings
from brain_otel.events.error_rules import ErrorRules
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp_data import read_lines
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.relay import assert_accepted

APP = """
import asyncio, logging, threading
import brain_otel
brain_otel.setup(config_file="telemetry.yaml")
import redis
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

class Ignored(Exception): pass
class Wanted(Ignored): pass
class Handled(Exception): pass
class Told(Exception): pass

app = FastAPI()
kinds = {"value": ValueError("x"), "lookup": IndexError("x"), "key": KeyError("x"), "ignored": Ignored("x"),
    "wanted": Wanted("x"), "redis": redis.TimeoutError("x"),
    "all_ignored": ExceptionGroup("g", [Ignored("x"), IndexError("y")]),
    "one_not": ExceptionGroup("g", [Ignored("x"), ValueError("y")])}

@app.exception_handler(Handled)
async def handled(request: Request, error: Handled): return JSONResponse({}, int(str(error)))

@app.exception_handler(Told)
async def told(request: Request, error: Told): return JSONResponse({}, 418)

@app.exception_handler(Ignored)
async def unavailable(request: Request, error: Ignored): return JSONResponse({}, 503)

class Refusing:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"].startswith("/outer/"):
            raise HTTPException(int(scope["path"].rpartition("/")[2]))
        await self.app(scope, receive, send)

app.add_middleware(Refusing)

@app.get("/raise/{kind}")
async def fails(kind: str): raise kinds[kind].with_traceback(None)

@app.get("/status/{status}")
def status(status: int): raise HTTPException(status)

@app.get("/handled/{status}")
def handle(status: int): raise Handled(status)

@app.get("/told")
def tell(): raise Told

@app.get("/number/{number}")
def number(number: int): pass

@app.get("/asked")
def asked():
    try: raise Ignored("on purpose")
    except Ignored as error: brain_otel.capture_exception(error)

@app.get("/logged")
async def logged():
    for name in ("noise", "noise.below", "noisy"): logging.getLogger(name).error("from %s", name)
    try: raise Ignored("logged")
    except Ignored: logging.getLogger("shop").exception("ignored, but told of")
    brain_otel.capture_message("the trail")

async def later(): raise Ignored("later")

@app.get("/task")
async def task():
    asyncio.create_task(later())
    await asyncio.sleep(0.05)
    thread = threading.Thread(target=lambda: kinds["lookup"].args[3])
    thread.start()
    thread.join()
"""

FILE = """
file_format: "1.1"
tracer_provider: {processors: [{sentry: }]}
logger_provider: {processors: [{file: {path: logs.jsonl}}]}
distribution:
  brain_otel:
    fast_paths: ${BRAIN_OTEL_FAST_PATHS:-true}
    sentry: {dsn: "${SENTRY_DSN}", profiles_sample_rate: 0}
    errors:
      failed_statuses: [500-502, 504, 404, 422]
      ignored_exceptions: [LookupError, shop.Ignored, redis.TimeoutError]
      reported_exceptions: [KeyError, shop.Wanted, shop.Told]
      ignored_loggers: [noise]
"""

ASKED = {
    "/raise/value": ("ValueError", 500),
    "/raise/lookup": (None, 500),
    "/raise/key": ("KeyError", 500),
    "/raise/ignored": (None, 503),
    "/raise/wanted": ("Wanted", 503),
    "/raise/redis": (None, 500),
    "/raise/all_ignored": (None, 500),
    "/raise/one_not": ("ExceptionGroup", 500),
    "/status/404": ("HTTPException", 404),
    "/status/403": (None, 403),
    "/status/500": ("HTTPException", 500),
    "/status/503": (None, 503),
    "/handled/500": ("Handled", 500),
    "/handled/503": (None, 503),
    "/handled/404": ("Handled", 404),
    "/told": ("Told", 418),
    "/number/x": ("RequestValidationError", 422),
    "/outer/404": ("HTTPException", 500),
    "/outer/403": (None, 500),
    "/asked": ("Ignored", 200),
    "/task": (None, 200),
}
"""Paths with the exception that is an event, and the status of the answer."""


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any], str]:
    """Call every route of the app, and return the events, the log records and the output."""
    folder = tmp_path_factory.mktemp("errors")
    (folder / "shop.py").write_text(APP)
    (folder / "telemetry.yaml").write_text(FILE)
    port = free_port()
    with SentryIngest() as ingest:
        command = uvicorn_command("shop:app", port)
        with Server(command, port, env={"SENTRY_DSN": ingest.dsn}, cwd=folder, pythonpath=[folder, ROOT]) as server:
            for path, (_, status) in ASKED.items():
                assert server.get(path).status_code == status, path
            assert server.get("/logged").status_code == 200
            server.terminate()
            output = server.output
        logs = [
            record
            for line in read_lines(folder / "logs.jsonl")
            for resource in line.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]
        return ingest.events, logs, output


def test_the_errors_that_the_file_names_are_events(arrived: tuple[list[Any], list[Any], str]) -> None:
    """Each once, and no other: neither by the server's log record of an ignored one."""
    events, _, output = arrived
    failures = [event for event in events if event.get("exception")]
    found = Counter(event["exception"]["values"][-1]["type"] for event in failures)
    groups = [event for event in failures if any("Group" in each["type"] for each in event["exception"]["values"])]
    expected = Counter(name for name, _ in ASKED.values() if name is not None)
    del expected["ExceptionGroup"]
    for event in groups:  # sentry-sdk lists the members after the group
        found.subtract([event["exception"]["values"][-1]["type"]])
    assert len(groups) == 1
    assert +found == expected
    for event in failures:
        assert_accepted(event)
    assert "brain_otel failed" not in output


def test_an_ignored_error_has_no_log_record_of_brain_otel(arrived: tuple[list[Any], list[Any], str]) -> None:
    """Every destination gets the same errors."""
    events, logs, _ = arrived
    attributes = [{each.key: each.value.string_value for each in record.attributes} for record in logs]
    recorded = {
        each["brain_otel.event_id"]
        for each in attributes
        if each.get("exception.type") and "brain_otel.event_id" in each
    }
    assert recorded == {event["event_id"] for event in events if event.get("exception")}


def test_ignored_loggers_are_silent_in_sentry_alone(arrived: tuple[list[Any], list[Any], str]) -> None:
    """They make neither events nor breadcrumbs, but log records; a name matches whole parts only."""
    events, logs, _ = arrived
    told = [event["logentry"]["message"] for event in events if "logentry" in event]
    assert told == ["from %s"]
    (event,) = [event for event in events if event.get("message") == "the trail"]
    trail = [crumb["category"] for crumb in event["breadcrumbs"]["values"]]
    assert {"noisy", "shop"} <= set(trail)
    assert not {"noise", "noise.below"} & set(trail)
    assert [record.body.string_value for record in logs if record.body.string_value.startswith("from ")] == [
        "from noise",
        "from noise.below",
        "from noisy",
    ]


class Outer:
    """A class with a class in it."""

    class InnerError(ValueError):
        """An exception with a qualified name."""


@pytest.mark.parametrize(
    ("ignored", "reported", "error", "expected"),
    [
        ([], [], ValueError(), None),
        (["ValueError"], [], ValueError(), False),
        (["Exception"], [], ValueError(), False),
        (["Exception"], ["ValueError"], Outer.InnerError(), True),
        ([f"{__name__}.Outer.InnerError"], [], Outer.InnerError(), False),
        ([f"{__name__}.Outer"], [], Outer.InnerError(), None),
        (["ValueError"], [], KeyError(), None),
        (["json.JSONDecodeError"], [], __import__("json").JSONDecodeError("", "", 0), False),
        (["nowhere.Error"], [], ValueError(), None),
        (["ExceptionGroup"], [], ExceptionGroup("", [KeyError()]), False),
        (["ValueError"], ["KeyError"], ExceptionGroup("", [ValueError(), ExceptionGroup("", [KeyError()])]), True),
        (["ValueError"], [], BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()]), None),
    ],
)
def test_a_rule_for_a_class_holds_for_its_subclasses(
    ignored: list[str], reported: list[str], error: BaseException, expected: bool | None
) -> None:
    """Under the name of its definition or of an import; classes to report come first."""
    rules = ErrorRules(ErrorSettings(ignored_exceptions=tuple(ignored), reported_exceptions=tuple(reported)))
    assert rules.should_report(error) is expected
    assert rules.should_report(error) is expected  # from the cache
    assert "nowhere" not in sys.modules
