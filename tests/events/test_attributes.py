"""Tests of attributes: however many facts an application gives, a span and a record keep what tells what they are."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

import brain_otel
from brain_otel.events.attributes import MAX_ATTRIBUTES, _left_out
from brain_otel.runtime.limited_log import log_counts
from brain_otel.testing import Telemetry

MANY: dict[str, Any] = {f"f{number}": number for number in range(1_000)}
OWN = {f"own.{number}": "kept" for number in range(20)}


def set_tags() -> None:
    for name, value in MANY.items():
        brain_otel.set_tag(name, value)


def set_contexts() -> None:
    for number in range(5):
        brain_otel.set_context(f"a{number}", MANY)


def measure() -> None:
    for number in range(80):
        brain_otel.measurement(f"m{number}", 1, "byte")


def flood_all() -> None:
    for flood in (set_tags, set_contexts, measure):
        flood()


FLOODS: dict[str, Callable[[], object]] = {
    "context": lambda: brain_otel.set_context("a", MANY),
    "contexts": set_contexts,
    "user": lambda: brain_otel.set_user_context("u1", **{f"f{number}": str(number) for number in range(1_000)}),
    "tags": set_tags,
    "measurements": measure,
    "all": flood_all,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_facts_leave_a_span_what_it_is(flood: str, telemetry: Telemetry) -> None:
    """OpenTelemetry drops the oldest attributes of a full span."""
    with brain_otel.start_transaction("t"):
        root = trace.get_current_span()
        root.set_attributes(OWN)
        FLOODS[flood]()
        root.set_attribute("http.response.status_code", 200)
    [span] = telemetry.spans
    attributes = span["attributes"]
    assert OWN.items() <= attributes.items()
    assert attributes["http.response.status_code"] == 200
    assert 100 < len(attributes) <= MAX_ATTRIBUTES


def test_a_fact_that_a_full_span_has_is_replaced(telemetry: Telemetry) -> None:
    with brain_otel.start_transaction("t"):
        brain_otel.set_tag("plan", "free")
        FLOODS["tags"]()
        brain_otel.set_tag("plan", "paid")
        brain_otel.set_tag("new", "left out")
    attributes = telemetry.spans[0]["attributes"]
    assert (attributes["plan"], "new" in attributes) == ("paid", False)


def test_facts_that_are_left_out_are_told(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """At once, then in one line a minute, with their number."""
    _left_out.cache_clear()
    with brain_otel.start_transaction("t"):
        FLOODS["contexts"]()
    log_counts()
    told = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(told) == 2
    assert sum(int(line.split()[-2]) for line in told) == 5 * 101 - (120 - 1)  # a transaction has its operation


def test_facts_leave_records_and_steps_what_they_are(telemetry: Telemetry) -> None:
    """A step's message, an error's type, an event's id."""
    with brain_otel.start_transaction("t"):
        brain_otel.add_breadcrumb("validated", data=MANY)
        brain_otel.capture_exception(ValueError("bad"), **MANY)
        brain_otel.capture_message("hello", **MANY)
    step = next(event for event in telemetry.spans[0]["events"] if event["name"] == "brain_otel.breadcrumb")
    assert step["attributes"]["brain_otel.breadcrumb.message"] == "validated"
    failed, said = [record["attributes"] for record in telemetry.logs]
    assert failed["exception.type"] == "ValueError"
    assert {"brain_otel.event_id", "f0"} <= failed.keys() & said.keys()
