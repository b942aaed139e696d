"""The trace context of errors, as sentry-sdk's own has it."""

import threading

import pytest
import sentry_sdk

import brain_otel
from brain_otel.testing import Telemetry, captured_telemetry
from tests.support.ingest import Json
from tests.support.relay import assert_accepted


def trace_of(event: Json) -> Json:
    trace: Json = event["contexts"]["trace"]
    return trace


def test_an_error_says_what_its_span_is(telemetry: Telemetry) -> None:
    """Its op, origin, parent and thread; a span that still runs has no status."""
    with (
        brain_otel.start_transaction("job", op="task.run") as job,
        brain_otel.start_span(op="db.query", name="SELECT") as span,
    ):
        brain_otel.capture_exception(ValueError("declined"))
    (event,) = telemetry.events
    trace = trace_of(event)
    assert trace["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert trace["parent_span_id"] == f"{job.get_span_context().span_id:016x}"
    assert (trace["op"], trace["origin"]) == ("db.query", "manual")
    assert trace["data"] == {
        "thread.id": str(threading.get_ident()),
        "thread.name": threading.current_thread().name,
    }
    assert "status" not in trace
    assert_accepted(event)


def test_an_error_that_nobody_handled_is_an_internal_error(telemetry: Telemetry) -> None:
    """While its span runs, and after."""
    with brain_otel.start_transaction("job"):
        event, hint = sentry_sdk.utils.event_from_exception(
            ValueError("a"), mechanism={"type": "excepthook", "handled": False}
        )
        sentry_sdk.capture_event(event, hint)
    with pytest.raises(ValueError, match="b") as caught, brain_otel.start_transaction("failing"):
        raise ValueError("b")
    sentry_sdk.capture_exception(caught.value)
    assert [trace_of(event)["status"] for event in telemetry.events] == ["internal_error"] * 2
    assert [event["transaction"] for event in telemetry.events] == ["job", "failing"]


def test_an_error_after_a_successful_end_says_so(telemetry: Telemetry) -> None:
    """The span of the transaction has ended with a status of its own."""
    with brain_otel.start_transaction("job") as job:
        job.set_status("not_found")
        job.end()
        sentry_sdk.capture_message("late")
    (event,) = telemetry.events
    assert trace_of(event)["status"] == "not_found"


def test_an_error_of_an_unsampled_request_has_an_op_too() -> None:
    """Its span is not recorded, but what kind of trace it is is known."""
    from opentelemetry import trace as otel_trace

    from brain_otel.events.listeners import local_trace_entered
    from brain_otel.traces.local_trace import LocalTrace

    with (
        captured_telemetry({"SENTRY_TRACES_SAMPLE_RATE": "0"}) as telemetry,
        local_trace_entered(LocalTrace(kind="request")) as trace,
        otel_trace.get_tracer("test").start_as_current_span("GET /") as span,
    ):
        assert not span.is_recording()
        trace.start(span, None)
        brain_otel.capture_exception(ValueError("declined"))
        (event,) = telemetry.events
    assert trace_of(event)["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert (trace_of(event)["op"], trace_of(event)["origin"]) == ("http.server", "auto.http.otel.fastapi")


@pytest.mark.parametrize("source", [None, "task"])
def test_a_name_from_the_scope_has_a_source(telemetry: Telemetry, source: str | None) -> None:
    """The one that was given, else that of the trace."""
    with brain_otel.start_transaction("job"):
        sentry_sdk.get_current_scope().set_transaction_name("nightly", source)
        brain_otel.capture_message("hello")
    (event,) = telemetry.events
    assert (event["transaction"], event["transaction_info"]) == ("nightly", {"source": source or "custom"})
