"""The dynamic sampling context."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import brain_otel
from brain_otel.configuration.sections.sentry import Secret
from brain_otel.events.listeners import local_trace_entered
from brain_otel.sampling.decision import sample_rand
from brain_otel.sentry.dynamic_sampling_context import create_sampling_context, sampling_context_of
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace, Name
from tests.sentry.conftest import Bridge, Connect
from tests.support.ingest import SentryIngest

TRACE_IDS = st.integers(1, 2**128 - 1)
RATES = st.sampled_from([0.0, 0.000001, 0.1, 0.25, 0.333333, 0.5, 0.9, 0.999999, 1.0])


def suppressed(trace_id: int = 0xA) -> otel_trace.Span:
    return NonRecordingSpan(SpanContext(trace_id, 0xB, is_remote=False, trace_flags=TraceFlags(0)))


@given(TRACE_IDS, RATES)
def test_the_random_number_agrees_with_opentelemetrys_decision(trace_id: int, rate: float) -> None:
    """A trace is sampled if and only if its number is below the rate, so that Sentry can extrapolate."""
    sampled = TraceIdRatioBased(rate).should_sample(Context(), trace_id, "n").decision is Decision.RECORD_AND_SAMPLE
    assert sampled == (sample_rand(trace_id) < rate)


@given(TRACE_IDS)
def test_the_random_number_has_six_digits_below_one(trace_id: int) -> None:
    """As Sentry's specification requires."""
    number = sample_rand(trace_id)
    assert 0.0 <= number < 1.0
    assert f"{number:.6f}" == f"{number:.10f}"[:8]
    assert len(f"{number:.6f}") == 8


def test_the_context_is_empty_without_a_client() -> None:
    """Before `setup()` and after `shutdown()`."""
    assert create_sampling_context(suppressed().get_span_context(), Context()) == {}


def test_the_context_is_empty_before_the_root_has_started(bridge: Bridge) -> None:
    """The empty context is not frozen."""
    trace = LocalTrace(kind="request")
    assert sampling_context_of(trace) == {}
    trace.start(suppressed(), Context())
    assert sampling_context_of(trace)["trace_id"] == f"{0xA:032x}"
    assert bridge.ingest.rejected == []


@pytest.mark.parametrize(("source", "expected"), [("route", "GET /a"), ("custom", "GET /a"), ("url", None)])
def test_the_context_has_the_name_unless_it_is_a_raw_path(bridge: Bridge, source: str, expected: str | None) -> None:
    """Grouping by a raw path would be useless, and it may be private."""
    trace = LocalTrace(kind="request", describe=lambda: Name(text="GET /a", source=source))
    trace.start(suppressed(), Context())
    assert sampling_context_of(trace).get("transaction") == expected
    assert bridge.ingest.rejected == []


@pytest.mark.parametrize("name", ["login password=zq7x", "GET https://joe:zq7x@shop.test/", "sync --token zq7x"])
def test_the_context_holds_no_secret_of_the_name(bridge: Bridge, name: str) -> None:
    """It leaves in the headers of every call and message."""
    trace = LocalTrace(kind="transaction", describe=lambda: Name(text=name, source="custom"))
    trace.start(suppressed(), Context())
    context = sampling_context_of(trace)
    assert context["transaction"] == name.replace("joe:zq7x", "[Filtered]").replace("zq7x", "[Filtered]")
    assert bridge.ingest.rejected == []


def test_the_context_is_frozen_at_the_first_call(bridge: Bridge) -> None:
    """A receiver cannot change it."""
    names = iter(["first", "second"])
    trace = LocalTrace(kind="request", describe=lambda: Name(text=next(names), source="route"))
    trace.start(suppressed(), Context())
    first = sampling_context_of(trace)
    first["transaction"] = "changed"
    assert sampling_context_of(trace)["transaction"] == "first"
    assert bridge.ingest.rejected == []


def test_a_nested_transaction_shares_the_context_of_its_parent(bridge: Bridge) -> None:
    """A transaction of another trace has its own."""
    with local_trace_entered(LocalTrace(kind="request")) as outer:
        outer.describe = lambda: Name(text="outer", source="route")
        outer.start(suppressed(), Context())
        for trace_id, expected in ((0xA, "outer"), (0xC, "inner")):
            inner = local_trace.opened("transaction")
            inner.describe = lambda: Name(text="inner", source="custom")
            inner.start(suppressed(trace_id), Context())
            assert sampling_context_of(inner)["transaction"] == expected
            assert sampling_context_of(inner)["trace_id"] == f"{trace_id:032x}"
    assert bridge.ingest.rejected == []


def test_error_and_transaction_have_the_same_context(bridge: Bridge, ingest: SentryIngest) -> None:
    """In the envelope's header `trace`, which Sentry samples by."""
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("root"):
        brain_otel.capture_exception(ValueError("no"))
    bridge.flush()
    ingest.wait_for(lambda it: len(it.transactions) == 1 and len(it.events) == 1)
    headers = [each.headers["trace"] for each in ingest.envelopes if each.items[0].type in ("event", "transaction")]
    assert len(headers) == 2
    assert headers[0] == headers[1]
    assert headers[0]["transaction"] == "root"
    assert headers[0]["trace_id"] == ingest.events[0]["contexts"]["trace"]["trace_id"]


def test_an_error_outside_of_any_request_has_the_context_of_its_span(bridge: Bridge, ingest: SentryIngest) -> None:
    """An implicit trace has one too."""
    with bridge.tracer.start_as_current_span("script"):
        brain_otel.capture_exception(ValueError("no"))
    bridge.flush()
    ingest.wait_for(lambda it: len(it.transactions) == 1 and len(it.events) == 1)
    ids = {each.headers["trace"]["trace_id"] for each in ingest.envelopes if each.items[0].type != "sessions"}
    assert ids == {ingest.transactions[0]["contexts"]["trace"]["trace_id"]}


def test_the_context_has_the_organisation_of_the_dsn(connect: Connect) -> None:
    """Sentry continues only traces of the same organisation."""
    connect(dsn=Secret("http://public@o77.ingest.test/1"))
    assert create_sampling_context(suppressed().get_span_context(), Context())["org_id"] == "77"
