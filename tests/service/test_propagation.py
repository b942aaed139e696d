"""Tests of traces that go through several services: real processes, real HTTP, one Sentry."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from opentelemetry.trace import TraceFlags

from tests.support.ingest import Envelope, Json, SentryIngest
from tests.support.process import Server, free_port, uvicorn_command

A, B = "a" * 31 + "1", "b" * 31 + "2"
SPAN, OTHER = "c" * 15 + "3", "d" * 15 + "4"
SERVICES = 3

Headers = list[dict[str, str]]


@pytest.fixture(scope="module")
def shared() -> Iterator[SentryIngest]:
    with SentryIngest() as running:
        yield running


@pytest.fixture(scope="module")
def services(shared: SentryIngest) -> Iterator[list[Server]]:
    """Start three services, each the next one's caller, that report to one Sentry."""
    ports = [free_port() for _ in range(SERVICES)]
    with ExitStack() as stack:
        started = [
            stack.enter_context(service(port, shared, next_port, f"service{number}@1"))
            for number, (port, next_port) in enumerate(zip(ports, [*ports[1:], None], strict=True))
        ]
        yield started


def service(port: int, ingest: SentryIngest, next_port: int | None, release: str, **environ: str) -> Server:
    env = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "production", "SENTRY_RELEASE": release}
    env |= {"SENTRY_TRACES_SAMPLE_RATE": "1.0", "SENTRY_PROFILES_SAMPLE_RATE": "0", **environ}
    if next_port is not None:
        env["NEXT_URL"] = f"http://127.0.0.1:{next_port}"
    return Server(uvicorn_command("tests.apps.propagation:app", port), port, env=env)


class Seen:
    """What Sentry got of one call through a chain of services, in the order of the chain."""

    def __init__(self, ingest: SentryIngest, headers: Headers, calls: int, transactions: int) -> None:
        self.headers = headers
        ingest.wait_for(lambda it: len(it.transactions) >= transactions and len(it.events) >= calls)
        ingest.settle(0.2)
        assert len(ingest.transactions) == transactions
        assert len(ingest.events) == calls
        self.transactions = sorted(ingest.transactions, key=lambda each: str(each["release"]))
        self.errors = sorted(ingest.events, key=lambda each: str(each["release"]))
        self.sampling_contexts = [header for envelope in ingest.envelopes if (header := _trace_of(envelope))]

    @property
    def traces(self) -> list[Json]:
        return [each["contexts"]["trace"] for each in self.transactions]

    @property
    def trace_ids(self) -> set[str]:
        """Every trace id that any event, transaction, span or envelope names."""
        named = [each["contexts"]["trace"] for each in (*self.transactions, *self.errors)]
        named += [span for each in self.transactions for span in each["spans"]]
        return {each["trace_id"] for each in named}

    @property
    def sampling_context(self) -> Json:
        """The one sampling context that all envelopes share."""
        assert len({str(sorted(each.items())) for each in self.sampling_contexts}) == 1, self.sampling_contexts
        return self.sampling_contexts[0]


def _trace_of(envelope: Envelope) -> Json | None:
    if envelope.items[0].type not in ("event", "transaction"):
        return None
    trace: Json | None = envelope.headers.get("trace")
    return trace


Call = Callable[..., Seen]


@pytest.fixture
def call(services: list[Server], shared: SentryIngest) -> Call:
    """Call a service with headers (an underscore in a name is its hyphen) and gather what Sentry got of it."""

    def called(first: int = 0, *, sampled: bool = True, **headers: str | list[str]) -> Seen:
        shared.settle(0.1)
        shared.clear()
        pairs: list[tuple[str, str]] = []
        for name, value in headers.items():
            pairs += [(name.replace("_", "-"), each) for each in ([value] if isinstance(value, str) else value)]
        response = services[first].get(f"/chain/{first}", headers=pairs)
        assert response.status_code == 200, response.text
        calls = SERVICES - first
        return Seen(shared, response.json(), calls, calls if sampled else 0)

    return called


def assert_chained(seen: Seen) -> None:
    """Each service's root is a child of the caller's HTTP span, and all is one trace."""
    assert len(seen.trace_ids) == 1
    for upstream, downstream in zip(seen.transactions, seen.transactions[1:], strict=False):
        (client,) = [span for span in upstream["spans"] if span["op"] == "http.client"]
        root = upstream["contexts"]["trace"]
        assert client["parent_span_id"] == root["span_id"]
        assert downstream["contexts"]["trace"]["parent_span_id"] == client["span_id"]
    for transaction, error in zip(seen.transactions, seen.errors, strict=False):
        assert error["contexts"]["trace"]["span_id"] == transaction["contexts"]["trace"]["span_id"]
        assert error["transaction"] == transaction["transaction"] == "GET /chain/{step}"


@pytest.mark.parametrize("first", [1, 0], ids=["two services", "three services"])
def test_services_in_a_row_are_one_trace(call: Call, first: int) -> None:
    """One trace id, the right parents, and one sampling context, the head's, in every service's envelopes."""
    seen = call(first)
    assert_chained(seen)
    assert "parent_span_id" not in seen.traces[0]
    made = seen.sampling_context
    assert made["trace_id"] in seen.trace_ids
    assert made == {
        "trace_id": made["trace_id"],
        "sample_rand": made["sample_rand"],
        "sampled": "true",
        "sample_rate": "1.0",
        "environment": "production",
        "release": f"service{first}@1",
        "public_key": "public",
        "transaction": "GET /chain/{step}",
    }
    assert 0 <= float(made["sample_rand"]) < 1
    assert len(seen.sampling_contexts) == 2 * (SERVICES - first)


def test_every_service_is_called_with_all_headers(call: Call) -> None:
    """W3C's and Sentry's, of the same span."""
    seen = call()
    for received, upstream in zip(seen.headers[1:], seen.transactions, strict=False):
        (client,) = [span for span in upstream["spans"] if span["op"] == "http.client"]
        assert received["sentry-trace"] == f"{client['trace_id']}-{client['span_id']}-1"
        version, *ids, flags = received["traceparent"].split("-")
        assert (version, ids) == ("00", [client["trace_id"], client["span_id"]])
        assert int(flags, 16) & TraceFlags.SAMPLED
        assert f"sentry-trace_id={client['trace_id']}" in received["baggage"]


def test_sentry_trace_alone_is_continued(call: Call) -> None:
    """With an empty sampling context, which is the caller's to fill."""
    seen = call(1, sentry_trace=f"{A}-{SPAN}-1")
    assert_chained(seen)
    assert seen.trace_ids == {A}
    assert seen.traces[0]["parent_span_id"] == SPAN
    assert seen.sampling_contexts == []


def test_traceparent_alone_is_continued(call: Call) -> None:
    """The first service is Sentry's head of the trace and makes the sampling context."""
    seen = call(1, traceparent=f"00-{A}-{SPAN}-01")
    assert_chained(seen)
    assert seen.trace_ids == {A}
    assert seen.traces[0]["parent_span_id"] == SPAN
    assert (seen.sampling_context["trace_id"], seen.sampling_context["release"]) == (A, "service1@1")


def test_both_that_agree_are_continued(call: Call) -> None:
    """The sampling context that came along is frozen."""
    baggage = f"sentry-trace_id={A},sentry-release=front%401"
    seen = call(1, traceparent=f"00-{A}-{SPAN}-01", sentry_trace=f"{A}-{SPAN}-1", baggage=baggage)
    assert_chained(seen)
    assert (seen.trace_ids, seen.traces[0]["parent_span_id"]) == ({A}, SPAN)
    assert seen.sampling_context == {"trace_id": A, "release": "front@1"}


def test_where_both_disagree_traceparent_wins(call: Call) -> None:
    """The nearer hop; the sampling context of the other trace is not taken over, nor handed on."""
    baggage = f"sentry-trace_id={B},sentry-release=front%401,tenant=acme"
    seen = call(1, traceparent=f"00-{A}-{SPAN}-01", sentry_trace=f"{B}-{OTHER}-1", baggage=baggage)
    assert_chained(seen)
    assert (seen.trace_ids, seen.traces[0]["parent_span_id"]) == ({A}, SPAN)
    assert (seen.sampling_context["trace_id"], seen.sampling_context["release"]) == (A, "service1@1")
    assert B not in str(seen.headers[1:])
    assert seen.headers[1]["seen-tenant"] == "acme"


def test_a_deferred_decision_is_made_here_and_handed_on(call: Call) -> None:
    """`sentry-trace` without a flag: sampled by our own rate, and the next service is told so."""
    seen = call(1, sentry_trace=f"{A}-{SPAN}")
    assert_chained(seen)
    assert (seen.trace_ids, seen.traces[0]["parent_span_id"]) == ({A}, SPAN)
    assert seen.headers[1]["sentry-trace"].endswith("-1")
    assert int(seen.headers[1]["traceparent"][-2:], 16) & TraceFlags.SAMPLED


@pytest.mark.parametrize("headers", [{"sentry_trace": f"{A}-{SPAN}-0"}, {"traceparent": f"00-{A}-{SPAN}-00"}])
def test_what_the_caller_did_not_sample_is_not_recorded(call: Call, headers: dict[str, str]) -> None:
    """No service sends a transaction; every error is linked to the trace, with its transaction's name."""
    seen = call(1, sampled=False, **headers)
    assert seen.trace_ids == {A}
    assert {error["transaction"] for error in seen.errors} == {"GET /chain/{step}"}
    assert seen.headers[1]["sentry-trace"].startswith(f"{A}-")
    assert seen.headers[1]["sentry-trace"].endswith("-0")
    assert seen.headers[1]["traceparent"].endswith("-00")


def test_a_frozen_sampling_context_is_passed_on_as_it_came(call: Call) -> None:
    """Through every service, in its envelopes and in the headers to the next, beside everyone's entries."""
    sentry = f"sentry-trace_id={A},sentry-sample_rate=0.25,sentry-transaction=front%20page"
    seen = call(0, sentry_trace=f"{A}-{SPAN}-1", baggage=f"tenant=acme,{sentry},color=blue;secure=1")
    assert_chained(seen)
    assert seen.sampling_context == {"trace_id": A, "sample_rate": "0.25", "transaction": "front page"}
    for received in seen.headers[1:]:
        sent = received["baggage"].split(",")
        assert sorted(each for each in sent if each.startswith("sentry-")) == sorted(sentry.split(","))
        assert "tenant=acme" in sent
        assert received["seen-tenant"] == "acme"


def test_baggage_in_several_headers_is_read_whole(call: Call) -> None:
    """As a proxy that adds its own sends it."""
    seen = call(1, sentry_trace=f"{A}-{SPAN}-1", baggage=["tenant=acme", f"sentry-trace_id={A}"])
    assert seen.sampling_context == {"trace_id": A}
    assert seen.headers[1]["seen-tenant"] == "acme"


def test_baggage_alone_is_no_trace(call: Call) -> None:
    """The user's entry arrives; a sampling context without a trace header is nobody's."""
    seen = call(1, baggage=f"tenant=acme,sentry-trace_id={A},sentry-release=front%401")
    assert_chained(seen)
    assert A not in seen.trace_ids
    assert seen.sampling_context["trace_id"] in seen.trace_ids
    assert [received["seen-tenant"] for received in seen.headers] == ["acme", "acme"]


@pytest.mark.parametrize(
    "headers",
    [
        {"sentry_trace": "garbage"},
        {"sentry_trace": f"{A}-{SPAN}-1-1"},
        {"sentry_trace": f"{'0' * 32}-{SPAN}-1", "baggage": f"sentry-trace_id={A}"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": "00-", "sentry_trace": "-", "baggage": "=,;%ZZ,sentry-"},
    ],
)
def test_malformed_headers_begin_a_new_trace(call: Call, headers: dict[str, Any]) -> None:
    """The request is served, and its trace is one of its own."""
    seen = call(1, **headers)
    assert_chained(seen)
    assert "parent_span_id" not in seen.traces[0]
    assert not seen.trace_ids & {A, "0" * 32}
    assert seen.sampling_context["trace_id"] in seen.trace_ids


def test_a_deferred_decision_may_be_no(shared: SentryIngest) -> None:
    """At a rate of zero nothing is recorded, and the next service is told so."""
    ports = free_port(), free_port()
    shared.clear()
    with (
        service(ports[1], shared, None, "second@1"),
        service(ports[0], shared, ports[1], "first@1", SENTRY_TRACES_SAMPLE_RATE="0") as first,
    ):
        headers: Headers = first.get("/chain/0", headers={"sentry-trace": f"{A}-{SPAN}"}).json()
        seen = Seen(shared, headers, calls=2, transactions=0)
    assert seen.trace_ids == {A}
    assert seen.headers[1]["sentry-trace"].endswith("-0")
