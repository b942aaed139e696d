"""Tests of the functions that an application gives setup(): its mask and its filters."""

import pytest

from tests.instrumentation.process import run_traced

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
def test_the_applications_functions_are_called_with_what_is_masked(launcher: bool) -> None:
    """Nothing is dropped but what a filter says; under the launcher too, which cannot be given functions."""
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
