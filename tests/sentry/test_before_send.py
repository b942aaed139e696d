"""Masks fail closed, and the functions that an application gives `setup()` get masked events."""

from typing import Any

import pytest
from opentelemetry.context import Context

import brain_otel
from brain_otel.events.listeners import local_trace_entered
from brain_otel.runtime import guard
from brain_otel.sentry import before_send
from brain_otel.traces.local_trace import LocalTrace
from tests.instrumentation.process import run_traced
from tests.sentry.conftest import Bridge
from tests.support.ingest import SentryIngest

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
