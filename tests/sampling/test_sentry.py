"""Tests of sampling as Sentry sees it: what it gets, and what it is told to extrapolate by."""

import logging
import threading
from typing import Any

import pytest
import sentry_sdk
from opentelemetry import trace as otel_trace
from opentelemetry.trace import Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import brain_otel
from brain_otel.events.listeners import local_trace_entered
from brain_otel.sampling.decision import KEPT_BY
from brain_otel.sentry.propagator import SentryPropagator
from brain_otel.traces import local_trace
from tests.sampling.chosen import with_rand
from tests.sampling.wired import Wire, Wired, sampling_of
from tests.support.relay import assert_accepted
from tests.support.waiting import until

SPAN = "c" * 16


def work(
    wired: Wired, rand: float, *, fails: bool = False, error: Exception | None = None, name: str = "job"
) -> dict[str, str]:
    """Run a job that calls another service; the headers that go with the call."""
    wired.ids.next.append(with_rand(rand))
    headers: dict[str, str] = {}
    with local_trace_entered(local_trace.opened("transaction")) as trace:
        span = wired.tracer.start_span(name)
        trace.start(span, None)
        with otel_trace.use_span(span, end_on_exit=True):
            with wired.tracer.start_as_current_span("SELECT missions", attributes={"db.system.name": "postgresql"}):
                pass
            TraceContextTextMapPropagator().inject(headers)
            SentryPropagator().inject(headers)
            if error is not None:
                brain_otel.capture_exception(error)
            if fails:
                span.set_status(Status(StatusCode.ERROR))
    return headers


def baggage(headers: dict[str, str]) -> dict[str, str]:
    return dict(entry.partition("=")[::2] for entry in headers["baggage"].split(","))


def is_recorded(headers: dict[str, str]) -> bool:
    return bool(int(headers["traceparent"].rpartition("-")[2], 16) & TraceFlags.SAMPLED)


class TestShares:
    def test_sentry_gets_its_share_and_is_told_the_rate(self, wire: Wire) -> None:
        """The file gets all; the headers tell each reader its own decision."""
        wired = wire(sampling="{destinations: {sentry: 0.1}}", destinations="sentry: , {memory: }")
        for rand, expected in ((0.05, True), (0.5, False)):
            headers = work(wired, rand)
            assert is_recorded(headers)
            assert headers["sentry-trace"].endswith(f"-{int(expected)}")
            assert baggage(headers)["sentry-sampled"] == str(expected).lower()
            assert baggage(headers)["sentry-sample_rate"] == "0.1"
            assert baggage(headers)["sentry-sample_rand"] == f"{rand:.6f}"
        wired.flush()
        (envelope,) = wired.envelopes("transaction")
        assert sampling_of(envelope)["sample_rate"] == "0.1"
        assert sampling_of(envelope)["sampled"] == "true"
        assert_accepted(envelope.items[0].json)

    def test_at_zero_sentry_gets_every_error_and_no_trace(self, wire: Wire) -> None:
        """The errors are linked."""
        wired = wire(sampling="{destinations: {sentry: 0}}", destinations="sentry: , {memory: }")
        headers = work(wired, 0.0, error=ValueError("no"))
        wired.flush()
        assert wired.envelopes("transaction") == []
        (envelope,) = wired.envelopes("event")
        trace = envelope.items[0].json["contexts"]["trace"]
        assert headers["sentry-trace"].startswith(trace["trace_id"])
        assert sampling_of(envelope)["sampled"] == "false"
        assert sampling_of(envelope)["sample_rate"] == "0.0"

    def test_a_deferred_decision_is_passed_on(self, wire: Wire) -> None:
        """In the caller's sampling context, with the decision made here by its random number."""
        wired = wire(rate=0.5)
        for rand, expected in (("0.400000", "true"), ("0.600000", "false")):
            trace_id = f"{with_rand(0.9):032x}"
            given = f"sentry-trace_id={trace_id},sentry-sample_rand={rand},sentry-release=front%401"
            context = SentryPropagator().extract({"sentry-trace": f"{trace_id}-{SPAN}", "baggage": given})
            span = wired.tracer.start_span("root", context)
            headers: dict[str, str] = {}
            SentryPropagator().inject(headers, otel_trace.set_span_in_context(span, context))
            span.end()
            assert baggage(headers) == {
                "sentry-trace_id": trace_id,
                "sentry-sample_rand": rand,
                "sentry-release": "front%401",
                "sentry-sampled": expected,
                "sentry-sample_rate": "0.5",
            }

    def test_the_rate_of_a_caller_without_a_rate_is_one(self, wire: Wire) -> None:
        """As in sentry-sdk: nothing was left out here."""
        wired = wire(rate=0.1)
        context = TraceContextTextMapPropagator().extract({"traceparent": f"00-{'a' * 32}-{SPAN}-01"})
        wired.tracer.start_span("root", context).end()
        wired.flush()
        (envelope,) = wired.envelopes("transaction")
        assert sampling_of(envelope)["sample_rate"] == "1.0"


class TestTail:
    @pytest.mark.parametrize("rand", [0.05, 0.5], ids=["the head said yes", "the head said no"])
    def test_a_trace_that_is_always_kept_has_the_rate_one(self, wire: Wire, rand: float) -> None:
        """The tail leaves out none of its kind, whatever the head decided."""
        wired = wire(rate=0.1, sampling="{tail: {errors: true}}")
        headers = work(wired, rand, fails=True)
        assert headers["sentry-trace"].endswith("-1" if rand < 0.1 else "-0")
        assert baggage(headers)["sentry-sample_rate"] == "0.1"
        wired.flush()
        (envelope,) = wired.envelopes("transaction")
        assert sampling_of(envelope)["sample_rate"] == "1.0"
        assert sampling_of(envelope)["sampled"] == "true"
        event = envelope.items[0].json
        assert [span["description"] for span in event["spans"]] == ["SELECT missions"]
        assert event["contexts"]["trace"]["data"][KEPT_BY] == "error"
        assert event["contexts"]["trace"]["status"] != "ok"
        assert_accepted(event)

    def test_a_trace_without_a_keep_reason_has_the_heads_rate(self, wire: Wire) -> None:
        """Or it is dropped."""
        wired = wire(rate=0.1, sampling="{tail: {errors: true, slower_than: 10}}")
        for rand in (0.05, 0.5):
            work(wired, rand)
        wired.flush()
        (envelope,) = wired.envelopes("transaction")
        assert sampling_of(envelope)["sample_rate"] == "0.1"
        assert KEPT_BY not in envelope.items[0].json["contexts"]["trace"]["data"]

    def test_rates_extrapolate_right(self, wire: Wire) -> None:
        """Of 400, a quarter failed: each transaction stands for one over its rate."""
        wired = wire(rate=0.25, sampling="{tail: {errors: true}}")
        for number in range(400):
            work(wired, number / 400, fails=number % 4 == 0)
            if number % 100 == 99:
                wired.flush()
        wired.ingest.wait_for(lambda it: len(it.transactions) == 175)
        stands_for = {"error": 0.0, "ok": 0.0}
        for envelope in wired.envelopes("transaction"):
            failed = envelope.items[0].json["contexts"]["trace"]["status"] != "ok"
            stands_for["error" if failed else "ok"] += 1 / float(sampling_of(envelope)["sample_rate"])
        assert stands_for == {"error": 100.0, "ok": 300.0}

    def test_an_error_has_its_trace_and_its_breadcrumbs(self, wire: Wire) -> None:
        """The statements before it, though the head dropped the trace."""
        wired = wire(rate=0.0, sampling="{tail: {errors: true}}")
        work(wired, 0.5, error=ValueError("handled"))
        wired.flush()
        (transaction,), (error,) = wired.envelopes("transaction"), wired.envelopes("event")
        assert transaction.items[0].json["contexts"]["trace"]["data"][KEPT_BY] == "error"
        event = error.items[0].json
        root = transaction.items[0].json["contexts"]["trace"]
        assert event["contexts"]["trace"]["trace_id"] == root["trace_id"]
        assert event["contexts"]["trace"]["span_id"] == root["span_id"]
        assert [crumb["category"] for crumb in event["breadcrumbs"]["values"]] == ["query"]

    def test_a_logged_exception_keeps_its_trace(self, wire: Wire) -> None:
        """`logger.exception` makes an event."""
        wired = wire(rate=0.0, sampling="{tail: {errors: true}}")
        wired.ids.next.append(with_rand(0.5))
        with local_trace_entered(local_trace.opened("transaction")) as trace:
            span = wired.tracer.start_span("job")
            trace.start(span, None)
            with otel_trace.use_span(span, end_on_exit=True):
                try:
                    raise ValueError("logged")
                except ValueError:
                    logging.getLogger("shop").exception("failed")
        wired.flush()
        assert len(wired.envelopes("event")) == len(wired.envelopes("transaction")) == 1

    def test_a_job_within_a_job_is_kept_alone(self, wire: Wire) -> None:
        """Each local trace is a transaction of its own."""
        wired = wire(rate=0.0, sampling="{tail: {errors: true}}")
        wired.ids.next.append(with_rand(0.5))
        with local_trace_entered(local_trace.opened("transaction")) as trace:
            worker = wired.tracer.start_span("worker")
            trace.start(worker, None)
            with otel_trace.use_span(worker, end_on_exit=True):
                work(wired, 0.5, fails=True, name="failed")
                work(wired, 0.5, name="fine")
        wired.flush()
        assert [each["transaction"] for each in wired.ingest.transactions] == ["failed"]


class TestPressure:
    def test_the_rate_is_halved_while_sentry_answers_429(self, wire: Wire) -> None:
        """sentry-sdk's health monitor does it; Sentry is told the rate that applied."""
        wired = wire(rate=0.8)
        client: Any = sentry_sdk.get_client()
        monitor = client.monitor
        monitor.interval = 3_600.0  # the test is its clock
        wired.ingest.respond = lambda: (429, {"Retry-After": "3600"})
        work(wired, 0.7)
        until(lambda: not client.transport.is_healthy())
        assert len(wired.envelopes("transaction")) == 1
        for factor, below in ((1, 0.4), (2, 0.2)):
            monitor.run()
            assert monitor.downsample_factor == factor
            for rand, expected in ((below - 0.01, "-1"), (below + 0.01, "-0")):
                headers = work(wired, rand)
                assert headers["sentry-trace"].endswith(expected)
                assert is_recorded(headers) is (expected == "-1")
                assert baggage(headers)["sentry-sample_rate"] == str(below)
        wired.ingest.respond = None
        client.transport.delivery._sender.loop.limits.update({"": 0.0})  # as after an hour
        monitor.run()
        assert monitor.downsample_factor == 0
        wired.flush()
        wired.ingest.clear()
        assert work(wired, 0.7)["sentry-trace"].endswith("-1")
        wired.flush()
        (envelope,) = wired.envelopes("transaction")
        assert sampling_of(envelope)["sample_rate"] == "0.8"

    def test_a_full_queue_halves_the_rate_too(self, wire: Wire) -> None:
        """Sentry is slower than the traffic."""
        wired = wire(destinations="{sentry: {transport_queue_size: 1}}")
        client: Any = sentry_sdk.get_client()
        monitor = client.monitor
        monitor.interval = 3_600.0
        answer = threading.Event()
        wired.ingest.respond = lambda: (200, {}) if answer.wait(10.0) else (500, {})
        until(lambda: bool(work(wired, 0.1)) and not client.transport.is_healthy())
        monitor.run()
        assert work(wired, 0.6)["sentry-trace"].endswith("-0")
        answer.set()
        wired.flush()
        monitor.run()
        assert work(wired, 0.6)["sentry-trace"].endswith("-1")

    def test_a_halved_rate_of_sentry_does_not_affect_the_others(self, wire: Wire) -> None:
        """Each destination has its own rate."""
        wired = wire(rate=0.8, destinations="sentry: , {memory: }")
        client: Any = sentry_sdk.get_client()
        client.monitor.interval = 3_600.0
        client.monitor._downsample_factor = 1
        headers = work(wired, 0.7)
        assert is_recorded(headers)
        assert headers["sentry-trace"].endswith("-0")

    def test_a_callers_decision_is_followed_under_pressure(self, wire: Wire) -> None:
        """So that its trace stays whole."""
        wired = wire(rate=0.8)
        client: Any = sentry_sdk.get_client()
        client.monitor.interval = 3_600.0
        client.monitor._downsample_factor = 10
        context = SentryPropagator().extract({"sentry-trace": f"{'f' * 32}-{SPAN}-1"})
        assert wired.tracer.start_span("root", context).is_recording()

    def test_the_monitors_thread_has_no_requests_scope(self, wire: Wire) -> None:
        """sentry-sdk starts it at the first question, and would copy the current scope."""
        wired = wire(rate=0.8)
        client: Any = sentry_sdk.get_client()
        client.monitor.interval = 3_600.0
        handed: list[object] = []
        run = threading.Thread.run

        def watched(thread: threading.Thread) -> None:
            if thread.name == "sentry.monitor":
                handed.append(sentry_sdk.get_isolation_scope()._tags.get("mission"))
            run(thread)

        threading.Thread.run = watched  # type: ignore[method-assign, assignment]  # to look at the thread's own context
        try:
            with sentry_sdk.isolation_scope() as scope:
                scope.set_tag("mission", "secret")
                work(wired, 0.1)
                until(lambda: bool(handed))
        finally:
            threading.Thread.run = run  # type: ignore[method-assign]  # as it was
        assert handed == [None]
