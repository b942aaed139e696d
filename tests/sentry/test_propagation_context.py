"""sentry-sdk's own calls name our trace: headers, meta tags, check-ins."""

import threading
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import sentry_sdk
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from sentry_sdk.crons import capture_checkin, monitor

import brain_otel
from brain_otel.testing import Telemetry, captured_telemetry

CALLER = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))


def called() -> dict[str, str]:
    """What the three calls say here, the meta tags as headers."""
    found: dict[str, str] = {}

    class Tags(HTMLParser):
        def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            found[f"meta {given['name']}"] = str(given["content"])

    Tags().feed(sentry_sdk.get_current_scope().trace_propagation_meta())
    return {"sentry-trace": str(sentry_sdk.get_traceparent()), "baggage": str(sentry_sdk.get_baggage()), **found}


def written() -> dict[str, str]:
    """The headers that an outgoing request gets here."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def in_a_thread(call: Callable[[], Any]) -> Any:
    """Call in a thread of the context."""
    import contextvars

    result: list[Any] = []
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: result.append(context.run(call)))
    thread.start()
    thread.join()
    return result[0]


def in_a_thread_without_the_context(call: Callable[[], Any]) -> Any:
    """Call in a thread to which sentry-sdk has given its scopes, and nobody the context."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(call()))
    thread.start()
    thread.join()
    return result[0]


def here(call: Callable[[], Any]) -> Any:
    return call()


def in_a_new_scope(call: Callable[[], Any]) -> Any:
    with sentry_sdk.new_scope():
        return call()


def in_a_new_isolation_scope(call: Callable[[], Any]) -> Any:
    with sentry_sdk.isolation_scope():
        return call()


def in_a_span(call: Callable[[], Any]) -> Any:
    with brain_otel.start_span(op="step", name="step"):
        return call()


@pytest.mark.parametrize("place", [here, in_a_span, in_a_thread, in_a_new_scope, in_a_new_isolation_scope])
@pytest.mark.parametrize("rate", ["1.0", "0.0"])
def test_the_calls_say_what_an_outgoing_request_says(place: Callable[..., Any], rate: str) -> None:
    """In a transaction, its spans, scopes and threads, sampled or not."""
    with captured_telemetry({"SENTRY_TRACES_SAMPLE_RATE": rate}), brain_otel.start_transaction("job"):
        said, headers = place(lambda: (called(), written()))
    assert headers["sentry-trace"].endswith("-1" if rate == "1.0" else "-0")
    for name in ("sentry-trace", "baggage"):
        assert said[name] == said[f"meta {name}"] == headers[name]
    assert f"sentry-trace_id={headers['sentry-trace'][:32]}" in said["baggage"]


@pytest.mark.parametrize("rate", ["1.0", "0.0"])
def test_a_thread_that_has_sentry_sdks_scopes_alone_names_the_trace_that_started_it(rate: str) -> None:
    """Its headers and its check-ins, as its errors do."""
    with captured_telemetry({"SENTRY_TRACES_SAMPLE_RATE": rate}) as telemetry:
        with brain_otel.start_transaction("job") as job:
            said = in_a_thread_without_the_context(called)
            in_a_thread_without_the_context(lambda: capture_checkin(monitor_slug="step", status="ok"))
        (check_in,) = telemetry._captured("check_in")
    span = job.get_span_context()
    ids = f"{span.trace_id:032x}-{span.span_id:016x}"
    assert said["sentry-trace"] == said["meta sentry-trace"] == f"{ids}-{int(rate[0])}"
    assert check_in["contexts"]["trace"]["trace_id"] == ids[:32]


def test_a_callers_trace_is_named(telemetry: Telemetry) -> None:
    """Its id, our span's, and the sampling context that came with it."""
    headers = {"sentry-trace": f"{CALLER.trace_id:032x}-{CALLER.span_id:016x}-1", "baggage": "sentry-release=front"}
    token = otel_context.attach(propagate.extract(headers))
    with otel_trace.get_tracer("test").start_as_current_span("GET /") as span:
        assert sentry_sdk.get_traceparent() == f"{CALLER.trace_id:032x}-{span.get_span_context().span_id:016x}-1"
        assert sentry_sdk.get_baggage() == "sentry-release=front"
    otel_context.detach(token)


def test_a_remote_span_alone_is_named(telemetry: Telemetry) -> None:
    """As in a worker that has read headers and started nothing yet."""
    token = propagate.extract({"traceparent": f"00-{CALLER.trace_id:032x}-{CALLER.span_id:016x}-01"}, Context())
    with otel_trace.use_span(otel_trace.get_current_span(token)):
        assert isinstance(otel_trace.get_current_span(), NonRecordingSpan)
        assert sentry_sdk.get_traceparent() == f"{CALLER.trace_id:032x}-{CALLER.span_id:016x}-1"


def test_outside_of_any_trace_sentry_sdks_own_is_named(telemetry: Telemetry) -> None:
    """It stays the same, and events and check-ins there have it too."""
    first = called()
    assert first == called()
    assert first["sentry-trace"].count("-") == 1
    assert first["meta sentry-trace"] == first["sentry-trace"]
    sentry_sdk.capture_message("outside")
    (event,) = telemetry.events
    assert event["contexts"]["trace"]["trace_id"] == first["sentry-trace"][:32]


def test_an_event_outside_of_any_trace_has_the_trace_of_the_transaction_no_more(telemetry: Telemetry) -> None:
    """What ran before does not stick to the scope."""
    with brain_otel.start_transaction("job"):
        inside = called()["sentry-trace"][:32]
    assert called()["sentry-trace"][:32] != inside


def test_check_ins_have_the_trace_of_their_job(telemetry: Telemetry) -> None:
    """Both of a monitor, and one made by hand; they have neither a request nor another context."""

    @monitor(monitor_slug="nightly")
    def nightly() -> None:
        capture_checkin(monitor_slug="step", status="ok")

    with brain_otel.start_transaction("nightly", op="task"):
        nightly()
    (transaction,) = telemetry.transactions
    found = telemetry._captured("check_in")
    assert [(each["monitor_slug"], each["status"]) for each in found] == [
        ("nightly", "in_progress"),
        ("step", "ok"),
        ("nightly", "ok"),
    ]
    trace = transaction["contexts"]["trace"]
    for each in found:
        assert each["contexts"].keys() == {"trace"}
        assert each["contexts"]["trace"]["trace_id"] == trace["trace_id"]
        assert each["contexts"]["trace"]["span_id"] == trace["span_id"]
        assert "request" not in each


def test_after_the_shut_down_sentry_sdk_names_its_own_trace(telemetry: Telemetry) -> None:
    """The method is sentry-sdk's again, also where a span is current."""
    original = sentry_sdk.Scope.get_active_propagation_context
    brain_otel.shutdown()
    assert sentry_sdk.Scope.get_active_propagation_context is not original
    assert sentry_sdk.Scope.get_active_propagation_context.__module__ == "sentry_sdk.scope"
