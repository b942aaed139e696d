"""`start_transaction` and `start_span` as context managers and decorators, in sync and async code."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.trace import Status, StatusCode

import brain_otel

if TYPE_CHECKING:
    from brain_otel.testing import Telemetry


def test_a_transaction_is_a_local_root_with_its_spans(telemetry: Telemetry) -> None:
    """The transaction has op, name, tags and data; its spans have op and description."""
    with brain_otel.start_transaction(name="process_mission", op="task.run", attempt=2) as transaction:
        transaction.set_tag("mission_id", "m1")
        with brain_otel.start_span(op="db.query", description="Fetch mission data") as span:
            span.set_data("rows", 3)
    (event,) = telemetry.transactions
    assert event["transaction"] == "process_mission"
    assert event["transaction_info"] == {"source": "custom"}
    assert event["contexts"]["trace"]["op"] == "task.run"
    assert event["contexts"]["trace"]["data"]["attempt"] == 2
    assert event["tags"] == {"mission_id": "m1"}
    (child,) = event["spans"]
    assert (child["op"], child["description"], child["data"]["rows"]) == ("db.query", "Fetch mission data", 3)


def test_a_transaction_inside_another_is_its_child(telemetry: Telemetry) -> None:
    """Two transactions in one trace; the parent of the inner one is the span around it."""
    with brain_otel.start_transaction("outer"), brain_otel.start_span("step"), brain_otel.start_transaction("inner"):
        pass
    inner, outer = telemetry.transactions
    assert inner["contexts"]["trace"]["trace_id"] == outer["contexts"]["trace"]["trace_id"]
    assert inner["contexts"]["trace"]["parent_span_id"] == outer["spans"][0]["span_id"]


@pytest.mark.parametrize("start", [brain_otel.start_transaction, brain_otel.start_span])
def test_exceptions_pass_through_as_the_same_object(telemetry: Telemetry, start: type) -> None:
    """The exception is not wrapped, replaced or swallowed; the span records it."""
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, start("work"):
        raise error
    assert caught.value is error
    (span,) = telemetry.spans
    assert (span["status"], span["status_description"]) == ("error", "ValueError: mine")


def test_sync_and_async_functions_can_be_decorated(telemetry: Telemetry) -> None:
    """Each call gets a span; the function keeps its name, docstring, signature and kind."""

    @brain_otel.start_transaction("job")
    def job(a: int, *, b: int = 2) -> int:
        """The job."""
        return a + b

    @brain_otel.start_span("step", "one step")
    async def step(a: int) -> int:
        await asyncio.sleep(0)
        return a

    assert job(1, b=3) == 4
    assert asyncio.run(step(5)) == 5
    assert job(1) == 3
    assert [span["name"] for span in telemetry.spans] == ["job", "one step", "job"]
    assert (job.__name__, job.__doc__) == ("job", "The job.")
    assert inspect.iscoroutinefunction(step)
    assert str(inspect.signature(job)).startswith("(a:")


def test_concurrent_calls_of_one_decorated_function_do_not_mix(telemetry: Telemetry) -> None:
    """Fifty concurrent calls are fifty transactions, each with its own child."""

    @brain_otel.start_transaction("job")
    async def job(number: int) -> None:
        brain_otel.set_tag("number", number)
        async with brain_otel.start_span("step") as span:
            await asyncio.sleep(0.001 * (number % 3))
            span.set_data("number", number)

    async def run() -> None:
        await asyncio.gather(*(job(number) for number in range(50)))

    asyncio.run(run())
    assert len(telemetry.transactions) == 50
    for event in telemetry.transactions:
        assert event["spans"][0]["data"]["number"] == int(event["tags"]["number"])


def test_the_span_has_the_methods_of_opentelemetry_and_sentry(telemetry: Telemetry) -> None:
    """It is an OpenTelemetry span and takes Sentry's statuses."""
    with brain_otel.start_span("a") as a, brain_otel.start_span("b") as b, brain_otel.start_span("c") as c:
        assert isinstance(a, otel_trace.Span)
        assert a.is_recording()
        a.set_status("not_found")
        b.set_http_status(503)
        b.update_name("renamed")
        c.set_status(Status(StatusCode.OK))
        c.add_event("event", {"k": "v"})
        c.add_link(a.get_span_context())
        c.set_attributes({"k": "v"})
    (event,) = telemetry.transactions
    statuses = {span["description"]: span["status"] for span in event["spans"]}
    assert event["contexts"]["trace"]["status"] == "not_found"
    assert statuses == {"renamed": "unavailable", "c": "ok"}
    inner = next(span for span in event["spans"] if span["description"] == "c")
    assert inner["links"][0]["span_id"] == event["contexts"]["trace"]["span_id"]
    assert inner["data"]["otel.events"][0]["name"] == "event"


def test_a_span_alone_is_a_transaction(telemetry: Telemetry) -> None:
    """`start_span` outside of any trace starts one."""
    with brain_otel.start_span("alone"):
        pass
    assert [event["transaction"] for event in telemetry.transactions] == ["alone"]


@pytest.mark.parametrize(
    ("given", "op", "description"),
    [
        ({"op": "db", "name": "Fetch"}, "db", "Fetch"),
        ({"op": "db", "description": "Fetch"}, "db", "Fetch"),
        ({"op": "db", "name": "Fetch", "description": "Other"}, "db", "Fetch"),
        ({"name": "Fetch"}, "function", "Fetch"),
        ({"op": "db"}, "db", "db"),
        ({}, "function", "span"),
    ],
)
def test_a_span_takes_sentry_sdk_2s_spelling(
    telemetry: Telemetry, given: dict[str, str], op: str, description: str
) -> None:
    """`name` is the description, and no attribute; the op may be left out."""
    with brain_otel.start_transaction("job"), brain_otel.start_span(**given):
        pass
    (span,) = telemetry.transactions[0]["spans"]
    assert (span["op"], span["description"]) == (op, description)
    assert not {"name", "description"} & span["data"].keys()


def test_a_decorated_function_has_a_span_with_a_name(telemetry: Telemetry) -> None:
    """As with sentry-sdk's `start_span`."""

    @brain_otel.start_span(op="step", name="Load")
    def load() -> int:
        return 1

    with brain_otel.start_transaction("job"):
        assert load() == 1
    (span,) = telemetry.transactions[0]["spans"]
    assert (span["op"], span["description"]) == ("step", "Load")
