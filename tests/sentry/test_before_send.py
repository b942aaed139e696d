"""Masks fail closed, and the functions that an application gives `setup()` get masked events."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from opentelemetry.context import Context

import brain_otel
from brain_otel.events.listeners import local_trace_entered
from brain_otel.privacy import Policy, PrivacySettings
from brain_otel.runtime import guard
from brain_otel.sentry import before_send
from brain_otel.traces.local_trace import LocalTrace, Request
from tests.instrumentation.process import run_traced, sentry_environment
from tests.sentry.conftest import Bridge
from tests.support.ingest import SentryIngest
from tests.support.process import run_python
from tests.support.relay import assert_accepted

APPLICATION = """
import logging
import brain_otel

def mask(name, value):
    if name == "fails":
        raise RuntimeError("mask")
    return value.replace("ACME", "customer") if isinstance(value, str) else value

def before_send(event, hint):
    assert "hunter2" not in str(event)
    if event.get("message") == "drop":
        return None
    if event.get("message") == "raise":
        raise RuntimeError("filter")
    event["tags"] = {**(event.get("tags") or {}), "seen": "yes"}
    return event

def before_send_transaction(event, hint):
    assert "hunter2" not in str(event)
    if event["transaction"] == "drop":
        return None
    if event["transaction"] == "raise":
        raise RuntimeError("filter")
    event["tags"]["seen"] = "yes"
    return event

brain_otel.setup(mask=mask, before_send=before_send, before_send_transaction=before_send_transaction)

for name in ("drop", "raise", "keep"):
    with brain_otel.start_transaction(name, note="ACME password=hunter2", fails="ACME"):
        brain_otel.capture_message(name, note="ACME password=hunter2")
"""


@pytest.mark.parametrize("launcher", [False, True], ids=["setup", "launcher"])
def test_the_applications_functions_get_masked_events(launcher: bool) -> None:
    """Only a filter drops events; under the launcher too, where `setup()` comes second."""
    outcome = run_traced(APPLICATION, launcher=launcher)
    assert {event["message"]: event.get("tags", {}).get("seen") for event in outcome.events} == {
        "raise": None,
        "keep": "yes",
    }
    assert {each["transaction"]: each["tags"].get("seen") for each in outcome.transactions} == {
        "raise": None,
        "keep": "yes",
    }
    data = outcome.transaction("keep")["contexts"]["trace"]["data"]
    assert (data["note"], data["fails"]) == ("customer password=[Filtered]", "[Filtered]")
    assert {event["contexts"]["extra"]["note"] for event in outcome.events} == {"customer password=[Filtered]"}
    assert "The application's before_send failed" in outcome.output
    assert "The application's before_send_transaction failed" in outcome.output


@pytest.fixture
def broken_policy(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every mask of an event fail."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("mask")

    guard.reraise_failures(False)
    monkeypatch.setattr(before_send, "_part", fail)


@pytest.mark.usefixtures("broken_policy")
def test_an_error_that_cannot_be_masked_is_sent_without_its_values(bridge: Bridge, ingest: SentryIngest) -> None:
    """Sentry learns that there was one, by its id."""
    password = "hunter2"
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("GET /", Context()):
        event_id = brain_otel.capture_exception(ValueError(f"password={password}"), note=password)
    bridge.flush()
    ingest.wait_for(lambda it: len(it.events) == 1)
    (event,) = ingest.events
    assert (event["event_id"], event["level"]) == (event_id, "error")
    assert event.keys() <= {*before_send._SAFE, "_meta"}
    assert not [item for item in ingest.items() if b"hunter2" in item.payload]


@pytest.mark.usefixtures("broken_policy")
def test_a_transaction_that_cannot_be_masked_is_discarded(bridge: Bridge, ingest: SentryIngest) -> None:
    """Sentry would reject it without its contexts. It is counted, with its spans."""
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("GET /", Context()):
        brain_otel.set_tag("password", "hunter2")
        bridge.tracer.start_span("child").end()
    bridge.flush()
    ingest.wait_for(lambda it: bool(it.client_reports))
    assert ingest.transactions == []
    discarded = ingest.client_reports[0]["discarded_events"]
    assert {(each["reason"], each["category"], each["quantity"]) for each in discarded} == {
        ("before_send", "transaction", 1),
        ("before_send", "span", 2),
    }
    assert not [item for item in ingest.items() if b"hunter2" in item.payload]


def test_an_error_whose_secrets_cannot_be_found_is_sent_without_its_values(
    bridge: Bridge, ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The value of a secret path parameter may be in any text."""

    def fail() -> Any:
        raise RuntimeError("request")

    guard.reraise_failures(False)
    trace = LocalTrace(kind="request", describe_request=fail)
    with local_trace_entered(trace), bridge.tracer.start_as_current_span("GET /reset/{token}", Context()):
        event_id = brain_otel.capture_exception(ValueError("a link with Zq7x-4Zq failed"))
    bridge.flush()
    ingest.wait_for(lambda it: len(it.events) == 1)
    (event,) = ingest.events
    assert event["event_id"] == event_id
    assert event.keys() <= {*before_send._SAFE, "_meta"}
    assert not [item for item in ingest.items("event") if b"Zq7x-4Zq" in item.payload]


ROUTES = """
import asyncio, logging, sys
import brain_otel
import httpx
from fastapi import FastAPI, Request

brain_otel.setup()
app = FastAPI()

@app.get("/reset/{token}")
async def reset(token: str, request: Request) -> None:
    brain_otel.set_tag("page", f"/reset/{token}")
    brain_otel.set_context("page", {"path": f"/reset/{token}"})
    brain_otel.add_breadcrumb(f"reads /reset/{token}")
    link = f"/reset/{token}"
    raise ValueError(f"no user for {link}")

async def main():
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
        for token in sys.argv[1:]:
            await client.get(f"/reset/{token}", headers={"Referer": f"http://shop.test/reset/{token}?page=2"})

asyncio.run(main())
"""

TOKENS = ["2026", "error", "python", "production", "ValueError", "handled", "route", "trace", "shop@1", "a bcd"]


def test_a_secret_of_the_route_leaves_sentrys_fields_alone(ingest: SentryIngest) -> None:
    """It is masked in texts; words such as the level, and parts of the time, stay even if they are equal to it."""
    environment = {**sentry_environment(ingest), "SENTRY_RELEASE": "shop@1"}
    tokens = [quote(token) for token in TOKENS]
    done = run_python(ROUTES, environment, arguments=tokens)
    assert done.returncode == 0, done.stderr
    assert len(ingest.events) == len(TOKENS)
    for event in ingest.events:
        assert datetime.fromisoformat(event["timestamp"]).year == datetime.now(UTC).year
        assert (event["level"], event["platform"], event["environment"]) == ("error", "python", "production")
        assert (event["release"], event["transaction"]) == ("shop@1", "GET /reset/{token}")
        assert event["transaction_info"] == {"source": "route"}
        assert event["contexts"]["runtime"]["name"] == "CPython"
        assert len(event["contexts"]["trace"]["trace_id"]) == 32
        (failure,) = event["exception"]["values"]
        assert (failure["type"], failure["value"]) == ("ValueError", "no user for /reset/[Filtered]")
        assert failure["mechanism"]["handled"] is False
        frame = failure["stacktrace"]["frames"][-1]
        assert (frame["function"], frame["vars"]["link"]) == ("reset", "'/reset/[Filtered]'")
        assert event["request"]["method"] == "GET"
        assert event["request"]["url"] == "http://shop.test/reset/[Filtered]"
        assert event["request"]["headers"]["referer"] == "http://shop.test/reset/[Filtered]?page=2"
        assert event["tags"]["page"] == event["contexts"]["page"]["path"] == "/reset/[Filtered]"
        (crumb,) = [each for each in event["breadcrumbs"]["values"] if each["message"].startswith("reads")]
        assert crumb["message"] == "reads /reset/[Filtered]"
        datetime.fromisoformat(crumb["timestamp"])
        assert_accepted(event)


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        ({"dist": "token=hunter2"}, {"dist": "token=[Filtered]"}),
        ({"server_name": "web token=hunter2"}, {"server_name": "web token=[Filtered]"}),
        ({"modules": {"authlib": "1.2", "shop": "1+token=hunter2"}}, None),
        ({"measurements": {"tokens": {"value": 3}, "token=hunter2": {"value": 4, "unit": ""}}}, None),
        ({"spans": [{"op": "db", "description": "password=hunter2", "data": {"api_key": "hunter2"}}]}, None),
        ({"errors": [{"type": "invalid", "name": "x", "value": "token=hunter2"}]}, None),
        ({"debug_meta": {"images": [{"code_file": "/jobs/token=hunter2"}]}}, None),
        ({"a_part_of_tomorrow": ["password=hunter2"]}, {"a_part_of_tomorrow": ["password=[Filtered]"]}),
        ({"contexts": {"token=hunter2": {"kept": 1}}}, None),
        ({"threads": {"values": [{"id": 1, "name": "token=hunter2", "current": True}]}}, None),
        ({"exception": {"values": [{"type": "token=hunter2", "module": "token=hunter2", "value": "x"}]}}, None),
        ({"logentry": {"message": "password=%s", "params": ["hunter2"]}}, None),
        (
            {"logentry": {"message": "%(password)s of %(user)s", "params": {"password": "hunter2", "user": "joe"}}},
            None,
        ),
    ],
    ids=lambda part: next(iter(part)) if part else "",
)
def test_every_part_of_an_event_is_masked(part: dict[str, Any], sent: dict[str, Any] | None) -> None:
    """Also a part that the bridge does not know: what is left as it is has to be named."""
    masked = before_send.mask(part)
    assert "hunter2" not in str(masked)
    assert masked.keys() == part.keys()
    if sent is not None:
        assert masked == sent


def test_packages_and_measurements_keep_their_names() -> None:
    """Their names say nothing of secrets."""
    part: dict[str, Any] = {"modules": {"authlib": "1.2", "PyJWT": "2.9"}, "measurements": {"tokens": {"value": 3.0}}}
    assert before_send.mask(part) == part


def test_the_files_of_a_frame_are_masked() -> None:
    """Code may run under any name; module and function are names of Python's."""
    frame = {"filename": "token=hunter2", "abs_path": "/jobs/password=hunter2/job.py", "function": "f", "lineno": 3}
    trace = {"values": [{"type": "E", "value": "x", "stacktrace": {"frames": [frame]}}]}
    (masked,) = before_send.mask({"exception": trace})["exception"]["values"][0]["stacktrace"]["frames"]
    assert masked["filename"] == "token=[Filtered]"
    assert "hunter2" not in str(masked)
    assert (masked["function"], masked["lineno"]) == ("f", 3)


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        ("/links/tdAtUMKQEDHDMnG4aLB2K0dKQ4x7FUlw", "tdAtUMKQEDHDMnG4aLB2K0dKQ4x7FUlw"),
        ("/magic/tdAtUMKQEDHDMnG4aLB2", "tdAtUMKQEDHDMnG4aLB2"),
        ("/open/eyJhbGciOiJub25lIn0.eyJzdWIiOiJqb2UifQ.c2ln/page", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJqb2UifQ.c2ln"),
    ],
)
def test_a_secret_part_of_the_path_leaves_the_variables_too(bridge: Bridge, path: str, secret: str) -> None:
    """A handler has it under any name: as the parameter of a route, for example."""
    trace = LocalTrace(kind="request")
    trace.describe_request = lambda: Request(
        method="GET", url=f"http://shop.test{path}", query_string="", headers={}, client_address=None
    )
    with local_trace_entered(trace), bridge.tracer.start_as_current_span("GET /links/{key}", Context()):
        try:
            key = path.split("/")[2]
            raise ValueError("expired")
        except ValueError as error:
            brain_otel.capture_exception(error, seen=f"at {key}")
    bridge.flush()
    bridge.ingest.wait_for(lambda ingest: len(ingest.events) == 1)
    (event,) = bridge.ingest.events
    assert secret not in str(event)
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]["key"] == "'[Filtered]'"


def test_packages_are_masked_once_and_never_shared() -> None:
    """An application's filter may change its event's; other packages, and a mask of its own, are asked anew."""
    by, packages = Policy(PrivacySettings()), {"shop": "1+token=hunter2"}
    first = before_send.mask({"modules": packages}, by)["modules"]
    assert first == {"shop": "1+token=[Filtered]"}
    first["shop"] = "changed"
    assert before_send.mask({"modules": packages}, by)["modules"] == {"shop": "1+token=[Filtered]"}
    assert before_send.mask({"modules": {"shop": "2"}}, by)["modules"] == {"shop": "2"}
    answers = iter("ab")
    own = Policy(PrivacySettings(), mask=lambda _path, value: next(answers) if value == "1" else value)
    assert [before_send.mask({"modules": {"shop": "1"}}, own)["modules"]["shop"] for _ in range(2)] == ["a", "b"]
