"""Traces through several services: real processes, real HTTP, one Sentry."""

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
    """Start three services that report to one Sentry; each calls the next."""
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
    """Everything that Sentry received about one call through the services, in their order."""

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
        """Every trace id in any event, transaction, span or envelope."""
        named = [each["contexts"]["trace"] for each in (*self.transactions, *self.errors)]
        named += [span for each in self.transactions for span in each["spans"]]
        return {each["trace_id"] for each in named}

    @property
    def sampling_context(self) -> Json:
        """The only sampling context of all envelopes."""
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
    """Call a service with headers (underscores become hyphens) and return what Sentry received."""

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
    """Check that each service's root is a child of the caller's HTTP span, in one trace."""
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
    """They share one trace id, correct parents and the sampling context of the first service."""
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


def test_every_service_receives_all_headers(call: Call) -> None:
    """W3C's and Sentry's headers name the same span."""
    seen = call()
    for received, upstream in zip(seen.headers[1:], seen.transactions, strict=False):
        (client,) = [span for span in upstream["spans"] if span["op"] == "http.client"]
        assert received["sentry-trace"] == f"{client['trace_id']}-{client['span_id']}-1"
        version, *ids, flags = received["traceparent"].split("-")
        assert (version, ids) == ("00", [client["trace_id"], client["span_id"]])
        assert int(flags, 16) & TraceFlags.SAMPLED
        assert f"sentry-trace_id={client['trace_id']}" in received["baggage"]


def test_sentry_trace_alone_is_continued(call: Call) -> None:
    """The sampling context stays empty: only the caller may fill it."""
    seen = call(1, sentry_trace=f"{A}-{SPAN}-1")
    assert_chained(seen)
    assert seen.trace_ids == {A}
    assert seen.traces[0]["parent_span_id"] == SPAN
    assert seen.sampling_contexts == []


def test_traceparent_alone_is_continued(call: Call) -> None:
    """The first service is the head of the trace for Sentry and makes the sampling context."""
    seen = call(1, traceparent=f"00-{A}-{SPAN}-01")
    assert_chained(seen)
    assert seen.trace_ids == {A}
    assert seen.traces[0]["parent_span_id"] == SPAN
    assert (seen.sampling_context["trace_id"], seen.sampling_context["release"]) == (A, "service1@1")


def test_two_headers_that_agree_are_continued(call: Call) -> None:
    """The received sampling context does not change."""
    baggage = f"sentry-trace_id={A},sentry-release=front%401"
    seen = call(1, traceparent=f"00-{A}-{SPAN}-01", sentry_trace=f"{A}-{SPAN}-1", baggage=baggage)
    assert_chained(seen)
    assert (seen.trace_ids, seen.traces[0]["parent_span_id"]) == ({A}, SPAN)
    assert seen.sampling_context == {"trace_id": A, "release": "front@1"}


def test_traceparent_wins_over_another_sentry_trace(call: Call) -> None:
    """It names the nearer hop. The other trace's sampling context is neither used nor passed on."""
    baggage = f"sentry-trace_id={B},sentry-release=front%401,tenant=acme"
    seen = call(1, traceparent=f"00-{A}-{SPAN}-01", sentry_trace=f"{B}-{OTHER}-1", baggage=baggage)
    assert_chained(seen)
    assert (seen.trace_ids, seen.traces[0]["parent_span_id"]) == ({A}, SPAN)
    assert (seen.sampling_context["trace_id"], seen.sampling_context["release"]) == (A, "service1@1")
    assert B not in str(seen.headers[1:])
    assert seen.headers[1]["seen-tenant"] == "acme"


def test_a_deferred_decision_is_made_and_passed_on(call: Call) -> None:
    """For `sentry-trace` without a flag the service's own rate decides, and the next service gets the decision."""
    seen = call(1, sentry_trace=f"{A}-{SPAN}")
    assert_chained(seen)
    assert (seen.trace_ids, seen.traces[0]["parent_span_id"]) == ({A}, SPAN)
    assert seen.headers[1]["sentry-trace"].endswith("-1")
    assert int(seen.headers[1]["traceparent"][-2:], 16) & TraceFlags.SAMPLED


@pytest.mark.parametrize("headers", [{"sentry_trace": f"{A}-{SPAN}-0"}, {"traceparent": f"00-{A}-{SPAN}-00"}])
def test_an_unsampled_trace_is_not_recorded(call: Call, headers: dict[str, str]) -> None:
    """No service sends a transaction. Every error is linked to the trace and has its transaction's name."""
    seen = call(1, sampled=False, **headers)
    assert seen.trace_ids == {A}
    assert {error["transaction"] for error in seen.errors} == {"GET /chain/{step}"}
    assert seen.headers[1]["sentry-trace"].startswith(f"{A}-")
    assert seen.headers[1]["sentry-trace"].endswith("-0")
    assert seen.headers[1]["traceparent"].endswith("-00")


def test_a_received_sampling_context_is_passed_on_unchanged(call: Call) -> None:
    """Every service has it in its envelopes and in its headers to the next, beside all other entries."""
    sentry = f"sentry-trace_id={A},sentry-sample_rate=0.25,sentry-transaction=front%20page"
    seen = call(0, sentry_trace=f"{A}-{SPAN}-1", baggage=f"tenant=acme,{sentry},color=blue;secure=1")
    assert_chained(seen)
    assert seen.sampling_context == {"trace_id": A, "sample_rate": "0.25", "transaction": "front page"}
    for received in seen.headers[1:]:
        sent = received["baggage"].split(",")
        assert sorted(each for each in sent if each.startswith("sentry-")) == sorted(sentry.split(","))
        assert "tenant=acme" in sent
        assert received["seen-tenant"] == "acme"


def test_several_baggage_headers_are_merged(call: Call) -> None:
    """A proxy that adds its own header sends several."""
    seen = call(1, sentry_trace=f"{A}-{SPAN}-1", baggage=["tenant=acme", f"sentry-trace_id={A}"])
    assert seen.sampling_context == {"trace_id": A}
    assert seen.headers[1]["seen-tenant"] == "acme"


def test_baggage_alone_is_no_trace(call: Call) -> None:
    """The user's entry arrives. A sampling context without a trace header is ignored."""
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
    """The service answers the request and starts a trace of its own."""
    seen = call(1, **headers)
    assert_chained(seen)
    assert "parent_span_id" not in seen.traces[0]
    assert not seen.trace_ids & {A, "0" * 32}
    assert seen.sampling_context["trace_id"] in seen.trace_ids


def test_a_deferred_decision_can_be_negative(shared: SentryIngest) -> None:
    """At a rate of zero nothing is recorded, and the next service gets that decision."""
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
