"""Local traces as transactions, from spans of the SDK to Sentry."""

from typing import Any

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

import brain_otel
from brain_otel.events.listeners import local_trace_entered
from brain_otel.sentry.span_cache import SpanCache
from brain_otel.sentry.transaction import create_transaction
from brain_otel.traces import collector as collection
from brain_otel.traces.collector import CollectedTrace
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Bridge, Connect
from tests.support.ingest import Json, SentryIngest
from tests.support.relay import assert_accepted

START = 1_767_225_600_123_456_789
CALLER = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))


def discarded(ingest: SentryIngest) -> dict[tuple[str, str], int]:
    """Sum the reported discarded events by reason and category."""
    sums: dict[tuple[str, str], int] = {}
    for report in ingest.client_reports:
        for each in report["discarded_events"]:
            key = (each["reason"], each["category"])
            sums[key] = sums.get(key, 0) + each["quantity"]
    return sums


def by_op(transaction: Json) -> dict[str, Json]:
    return {span["op"]: span for span in transaction["spans"]}


def test_a_request_of_each_kind_of_span_is_one_transaction(bridge: Bridge) -> None:
    """Names, ops, statuses, parents and data of the spans, in old and stable conventions."""
    server: dict[str, Any] = {
        "http.request.method": "GET",
        "http.route": "/users/{id}",
        "http.response.status_code": 404,
    }
    with (
        local_trace_entered(LocalTrace(kind="request")),
        bridge.tracer_of("opentelemetry.instrumentation.fastapi").start_as_current_span(
            "GET /users/{id}",
            context=otel_trace.set_span_in_context(NonRecordingSpan(CALLER)),
            kind=SpanKind.SERVER,
            attributes=server,
        ) as root,
    ):
        spans: list[tuple[str, dict[str, Any]]] = [
            ("SELECT", {"db.system.name": "postgresql", "db.query.text": "SELECT 1"}),
            ("GET", {"db.system": "redis", "db.statement": "GET ?"}),
            ("GET", {"http.method": "GET", "http.url": "http://a/b?c=d", "http.status_code": 503}),
        ]
        for name, attributes in spans:
            bridge.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes).end()
    transaction = bridge.transaction()
    assert transaction["transaction"] == "GET /users/{id}"
    assert transaction["transaction_info"] == {"source": "route"}
    trace = transaction["contexts"]["trace"]
    assert (trace["trace_id"], trace["parent_span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert (trace["op"], trace["status"], trace["origin"]) == ("http.server", "not_found", "auto.http.otel.fastapi")
    assert trace["data"]["http.route"] == "/users/{id}"
    assert (transaction["tags"], transaction["contexts"]["response"]) == (
        {"http.status_code": "404"},
        {"status_code": 404},
    )
    found = by_op(transaction)
    assert found.keys() == {"db", "db.redis", "http.client"}
    assert found["http.client"]["status"] == "unavailable"
    assert [found[op]["description"] for op in sorted(found)] == ["SELECT ?", "GET ?", "GET http://a/b"]
    assert {span["parent_span_id"] for span in found.values()} == {f"{root.get_span_context().span_id:016x}"}
    assert transaction["contexts"]["otel"]["resource"]["service.name"] == "shop"
    assert (transaction["release"], transaction["environment"]) == ("shop@1", "test")


def test_times_are_kept_to_the_microsecond(bridge: Bridge) -> None:
    """Of the transaction and of every span, even of a span of one microsecond."""
    root = bridge.tracer.start_span("root", start_time=START)
    context = otel_trace.set_span_in_context(root)
    child = bridge.tracer.start_span("child", context=context, start_time=START + 1_000)
    child.end(START + 2_000)
    root.end(START + 3_000_000)
    transaction = bridge.transaction()
    assert (transaction["start_timestamp"], transaction["timestamp"]) == (1767225600.123457, 1767225600.126457)
    (span,) = transaction["spans"]
    assert (span["start_timestamp"], span["timestamp"]) == (1767225600.123458, 1767225600.123459)


def test_events_links_and_status_descriptions_survive(bridge: Bridge) -> None:
    """On the root and on a child."""
    link = Link(CALLER, {"reason": "retry"})
    with bridge.tracer.start_as_current_span("root", links=[link]) as root:
        root.add_event("cache.miss", {"key": "a", "sizes": [1, 2]})
        with bridge.tracer.start_as_current_span("child", links=[link]) as child:
            child.record_exception(ValueError("no"))
            child.set_status(Status(StatusCode.ERROR, "it broke"))
    transaction = bridge.transaction()
    expected = {
        "trace_id": f"{0xABC:032x}",
        "span_id": f"{0xDEF:016x}",
        "sampled": True,
        "attributes": {"reason": "retry"},
    }
    trace, (span,) = transaction["contexts"]["trace"], transaction["spans"]
    assert trace["links"] == span["links"] == [expected]
    assert trace["data"]["otel.events"][0]["attributes"] == {"key": "a", "sizes": [1, 2]}
    assert span["status"] == "internal_error"
    assert span["data"]["otel.status_description"] == "it broke"
    (event,) = span["data"]["otel.events"]
    assert (event["name"], event["attributes"]["exception.message"]) == ("exception", "no")


def test_spans_beyond_the_bound_are_reported_as_discarded(bridge: Bridge, ingest: SentryIngest) -> None:
    """A thousand spans of a transaction are kept, and the rest is reported to Sentry."""
    with bridge.tracer.start_as_current_span("root"):
        for index in range(1_234):
            bridge.tracer.start_span(f"{index}").end()
    transaction = bridge.transaction()
    assert [span["description"] for span in transaction["spans"]] == [str(index) for index in range(1_000)]
    ingest.wait_for(lambda it: bool(it.client_reports))
    assert transaction["_meta"]["spans"] == {"": {"len": 1_234}}
    assert discarded(ingest) == {("buffer_overflow", "span"): 234}


def test_a_thousand_spans_are_within_the_bound(bridge: Bridge, ingest: SentryIngest) -> None:
    """None is discarded or reported."""
    with bridge.tracer.start_as_current_span("root"):
        for _ in range(1_000):
            bridge.tracer.start_span("child").end()
    assert len(bridge.transaction()["spans"]) == 1_000
    bridge.flush()
    assert discarded(ingest) == {}


def test_a_trace_that_is_given_up_is_reported_as_discarded(
    bridge: Bridge, ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ended spans of a local trace without its root."""
    monkeypatch.setattr(collection, "MAX_OPEN_TRACES", 1)
    first = bridge.tracer.start_span("first", context=Context())
    for _ in range(3):
        bridge.tracer.start_span("child", context=otel_trace.set_span_in_context(first)).end()
    bridge.tracer.start_span("second", context=Context()).end()
    bridge.flush()
    ingest.wait_for(lambda it: bool(it.client_reports))
    assert discarded(ingest) == {("buffer_overflow", "span"): 3}


def test_a_trace_that_the_queue_drops_is_reported_as_discarded(bridge: Bridge, ingest: SentryIngest) -> None:
    """A transaction and its spans, with the root."""
    with bridge.tracer.start_as_current_span("root"):
        bridge.tracer.start_span("child").end()
        bridge.processor.shutdown()
    bridge.flush()
    ingest.wait_for(lambda it: bool(it.client_reports))
    assert discarded(ingest) == {("queue_overflow", "transaction"): 1, ("queue_overflow", "span"): 2}
    assert ingest.transactions == []


def test_a_transaction_carries_the_data_of_its_request(bridge: Bridge) -> None:
    """User, tags, contexts and breadcrumbs of its request, and of no other."""
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("other"):
        brain_otel.set_tag("other", "yes")
        brain_otel.add_breadcrumb("other")
    bridge.flush()
    bridge.ingest.wait_for(lambda it: len(it.transactions) == 1)
    bridge.ingest.clear()
    trace = LocalTrace(kind="request")
    trace.tags["own"] = "7"
    with local_trace_entered(trace), bridge.tracer.start_as_current_span("root"):
        brain_otel.set_user_context("u1", email="a@b", plan="gold")
        brain_otel.set_tag("tenant", "acme")
        brain_otel.set_context("order", {"id": 7})
        brain_otel.add_breadcrumb("paid", category="shop", data={"k": 1})
    transaction = bridge.transaction()
    assert transaction["user"] == {"id": "u1", "email": "a@b", "plan": "gold"}
    assert {"tenant": "acme", "own": "7"}.items() <= transaction["tags"].items()
    assert "other" not in transaction["tags"]
    assert transaction["contexts"]["order"] == {"id": 7}
    assert "paid" in [crumb["message"] for crumb in transaction["breadcrumbs"]["values"]]
    assert "other" not in str(transaction["breadcrumbs"])


def test_an_implicit_transaction_has_no_data_of_a_request(bridge: Bridge) -> None:
    """It gets no other's user or tags."""
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("request"):
        brain_otel.set_user_context("u1")
        brain_otel.set_tag("tenant", "acme")
        bridge.tracer.start_span("lone", context=Context()).end()
        transaction = bridge.transaction()
    assert transaction["transaction"] == "lone"
    assert not transaction.get("user")
    assert "tenant" not in (transaction.get("tags") or {})


def test_an_unsampled_trace_sends_nothing(connect: Connect, ingest: SentryIngest) -> None:
    """Neither a transaction nor a client report."""
    bridge = connect(sampled=False, traces_sample_rate=0.0)
    with local_trace_entered(LocalTrace(kind="transaction")), bridge.tracer.start_as_current_span("root"):
        pass
    bridge.flush()
    ingest.settle(0.2)
    assert ingest.items() == []


def test_a_nested_transaction_is_sent_as_a_child_of_its_parent(bridge: Bridge, ingest: SentryIngest) -> None:
    """Two transactions with one trace and one sampling context."""
    with (
        local_trace_entered(LocalTrace(kind="request")),
        bridge.tracer.start_as_current_span("request") as root,
        local_trace_entered(LocalTrace(kind="transaction")),
        bridge.tracer.start_as_current_span("task"),
    ):
        pass
    bridge.flush()
    ingest.wait_for(lambda it: len(it.transactions) == 2)
    found = {each["transaction"]: each["contexts"]["trace"] for each in ingest.transactions}
    assert found["task"]["trace_id"] == found["request"]["trace_id"]
    assert found["task"]["parent_span_id"] == f"{root.get_span_context().span_id:016x}"
    assert {
        envelope.headers["trace"]["trace_id"] for envelope in ingest.envelopes if "trace" in envelope.headers
    } == {found["task"]["trace_id"]}


def test_a_trace_without_a_root_is_an_error() -> None:
    """The message says so."""
    with pytest.raises(ValueError, match="without an ended root"):
        create_transaction(CollectedTrace(LocalTrace(kind="implicit"), 0.0), SpanCache())


def test_odd_values_do_not_discard_the_transaction(bridge: Bridge) -> None:
    """Deep, long, binary or non-finite attributes are sent in a form that Sentry accepts."""
    attributes: dict[str, Any] = {
        "bytes": b"\xff\x00",
        "long": "x" * 20_000,
        "nothing": "",
        "\u00fcnicode \U0001f600": "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "inf": float("inf"),
        "many": ["a"] * 500,
    }
    with bridge.tracer.start_as_current_span("n\u00e4me\n" * 50, attributes=attributes):
        bridge.tracer.start_span("").end()
    bridge.flush()
    bridge.ingest.wait_for(lambda it: len(it.transactions) == 1)
    assert bridge.ingest.rejected == []


def test_hand_made_spans_are_accepted() -> None:
    """Relay accepts the event of a minimal trace."""
    provider = TracerProvider(shutdown_on_exit=False)
    root = provider.get_tracer("test").start_span("root")
    root.end()
    collected = CollectedTrace(LocalTrace(kind="implicit"), 0.0, root=root)  # type: ignore[arg-type]  # the SDK's span
    assert_accepted(
        {**create_transaction(collected, SpanCache()).to_event(), "event_id": "c" * 32, "platform": "python"}
    )
