"""Each library of the extras against the real thing: spans, parents, headers, errors, privacy, and nothing twice."""

import builtins
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.instrumentation.process import Outcome, run_traced
from tests.instrumentation.target import start_target
from tests.service.test_registry import faults_of
from tests.support import ROOT
from tests.support.backends import start_aws, start_grpc_server
from tests.support.otlp import OtlpReceiver
from tests.support.otlp_data import Span
from tests.support.services import Postgres
from tests.support.tiers import quick_first, thorough

Json = dict[str, Any]

SCRIPT = ROOT / "tests" / "apps" / "libraries.py"

ORDERS = ("first", "after imports", "launcher")

SECRET = "hunter2-planted"

PAGE, UNAVAILABLE, CLOSED = "GET {http}/{name}", "GET {http}/status/503", "GET http://127.0.0.1:1"

TWO_STATEMENTS = [("db", "SELECT ? AS one", "ok"), ("db", "SELECT ? FROM nowhere", "internal_error")]

SPANS = {
    "requests": [
        ("http.client", PAGE, "ok"),
        ("http.client", UNAVAILABLE, "unavailable"),
        ("http.client", CLOSED + "/", "internal_error"),
    ],
    "urllib3": [("http.client", PAGE, "ok"), ("http.client", CLOSED + "/", "internal_error")],
    "aiohttp": [
        ("http.client", PAGE, "ok"),
        ("http.client", UNAVAILABLE, "unavailable"),
        ("http.client", CLOSED, "internal_error"),
    ],
    "asyncpg": [
        ("db", "SELECT ? AS secret", "ok"),
        ("db", "SELECT $1::text", "ok"),
        ("db", "SELECT ? FROM nowhere", "internal_error"),
    ],
    "psycopg": [
        ("db", "SELECT ? AS secret", "ok"),
        ("db", "SELECT %s", "ok"),
        ("db", "SELECT ? FROM nowhere", "internal_error"),
    ],
    "psycopg async": [("db", "SELECT ? AS secret", "ok")],
    "sqlite3": [("db", "SELECT ? AS secret", "ok"), ("db", "SELECT ? FROM nowhere", "internal_error")],
    "sqlalchemy psycopg": TWO_STATEMENTS[:1],
    "sqlalchemy sqlite3": TWO_STATEMENTS[:1],
    "sqlalchemy asyncpg": TWO_STATEMENTS,
    "sqlalchemy psycopg async": TWO_STATEMENTS,
    "sqlalchemy aiosqlite": TWO_STATEMENTS,
    "grpc": [("grpc.client", "shop.Shop/Buy", "ok"), ("grpc.client", "shop.Shop/Buy", "not_found")],
    "grpc aio": [("grpc.client", "shop.Shop/Buy", "ok")],
    "grpc server": [("grpc.client", "shop.Till/Sell", "ok"), ("grpc.client", "shop.Till/Sell", "unknown_error")],
    "boto3": [
        ("rpc", "S3.CreateBucket", "ok"),
        ("rpc", "S3.GetObject", "not_found"),
        ("rpc", "S3.GetObject", "internal_error"),
    ],
    "boto3 services": [
        ("rpc", "SQS.CreateQueue", "ok"),
        ("queue.publish", "orders", "ok"),
        ("queue.receive", "orders", "ok"),
        ("queue.settle", "orders", "ok"),
        ("queue", "SNS.CreateTopic", "ok"),
        ("queue.publish", "arn:aws:sns:eu-west-1:123456789012:sold", "ok"),
        ("db", "DynamoDB.Query", "invalid_argument"),
    ],
}
"""The spans of each case: op, description, status."""

SERVED = {
    "grpc server": [("shop.Till/Sell", "grpc.server"), ("shop.Till/Sell", "grpc.server")],
    "aiohttp server": [("GET /items/{item}", "http.server"), ("GET /items/{item}", "http.server")],
}
"""The transactions of a server that the case calls."""


FILE = """
file_format: "1.1"
propagator: {composite: [tracecontext: , baggage: , sentry: ]}
tracer_provider:
  sampler: {parent_based: {root: {always_on: }}}
  processors: [sentry: {}, otlp: {endpoint: "${OTLP}"}]
distribution: {brain_otel: {sentry: {dsn: "${SENTRY_DSN}", profiles_sample_rate: 0}}}
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a process sent, and what the servers saw."""

    outcome: Outcome
    otlp: list[Span]
    url: str
    headers: dict[str, dict[str, str]]
    """Of each call, by its case."""


@pytest.fixture(scope="module")
def run_of(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Run]]:
    """Call every library in a process, once for each order."""
    file: Path = tmp_path_factory.mktemp("libraries") / "file.yaml"
    file.write_text(FILE)
    with start_target() as http, start_grpc_server() as grpc, start_aws() as aws:
        addresses = {"HTTP_URL": http.url, "GRPC_URL": grpc.address, "AWS_URL": aws, "OTEL_CONFIG_FILE": str(file)}

        @cache
        def run(order: str) -> Run:
            env = {"ORDER": order, "POSTGRES_URL": postgres.sqlalchemy_url("psycopg")}
            with OtlpReceiver() as receiver:
                env |= {**addresses, "OTLP": receiver.endpoint}
                outcome = run_traced(SCRIPT, env, launcher=order == "launcher")
            headers = {path[1:]: each for path, each in http.headers.items()}
            headers |= {"grpc": grpc.metadata[b"one"], "grpc aio": grpc.metadata[b"two"]}
            return Run(outcome=outcome, otlp=receiver.spans, url=http.url, headers=headers)

        yield run


SERVICES = pytest.param("launcher", "boto3 services", marks=thorough)
"""Moto's server takes a second to load them, so they are called in one order."""

CALLS = [
    *(
        pytest.param(order, case, marks=() if order == "first" else thorough)
        for order in ORDERS
        for case in SPANS
        if case != "boto3 services"
    ),
    SERVICES,
]


@pytest.mark.parametrize(("order", "case"), CALLS)
def test_each_call_is_one_span_below_its_caller(run_of: Callable[[str], Run], order: str, case: str) -> None:
    run = run_of(order)
    root = run.outcome.transaction(case)["contexts"]["trace"]
    spans = run.outcome.spans(case)
    expected = [
        (op, text.format(http=run.url, name=case) if op == "http.client" else text, status)
        for op, text, status in SPANS[case]
    ]
    assert [(span["op"], span["description"], span["status"]) for span in spans] == expected, run.outcome.output
    assert {(span["trace_id"], span["parent_span_id"]) for span in spans} == {(root["trace_id"], root["span_id"])}


@pytest.mark.parametrize("order", quick_first(ORDERS))
def test_there_are_no_other_transactions(run_of: Callable[[str], Run], order: str) -> None:
    """What a driver does by itself, such as the thread of aiosqlite, is no transaction."""
    outcome = run_of(order).outcome
    served = [name for each in SERVED.values() for name, _ in each]
    called = [case for case in SPANS if case != "boto3 services" or order == "launcher"]
    assert sorted(outcome.names) == sorted([*called, "aiohttp server", *served])


@pytest.mark.parametrize("order", quick_first(ORDERS))
def test_no_secret_leaves(run_of: Callable[[str], Run], order: str) -> None:
    outcome = run_of(order).outcome
    assert SECRET not in json.dumps([outcome.transactions, outcome.events])


@pytest.mark.parametrize("case", ["requests", "urllib3", "aiohttp", "grpc", "grpc aio"])
def test_a_call_carries_both_families_of_headers(run_of: Callable[[str], Run], case: str) -> None:
    run = run_of("first")
    sent = run.headers[case]
    span = run.outcome.spans(case)[0]
    assert sent["traceparent"].split("-")[1:3] == [span["trace_id"], span["span_id"]]
    assert sent["sentry-trace"].split("-")[:2] == [span["trace_id"], span["span_id"]]
    assert f"sentry-trace_id={span['trace_id']}" in sent["baggage"]


@pytest.mark.parametrize("case", SERVED)
def test_a_server_continues_the_trace_and_its_failure_is_one_event(run_of: Callable[[str], Run], case: str) -> None:
    outcome = run_of("first").outcome
    calls = {span["span_id"]: span["trace_id"] for span in outcome.spans(case)}
    served = [each for each in outcome.transactions if each["contexts"]["trace"].get("parent_span_id") in calls]
    assert [(each["transaction"], each["contexts"]["trace"]["op"]) for each in served] == SERVED[case]
    (trace_id,) = set(calls.values())
    (event,) = [each for each in outcome.events if each["contexts"]["trace"]["trace_id"] == trace_id]
    assert event["exception"]["values"][-1]["value"] == "planted"


def test_errors_that_the_application_handles_are_no_events(run_of: Callable[[str], Run]) -> None:
    assert len(run_of("first").outcome.events) == len(SERVED)


@pytest.mark.parametrize("order", quick_first(ORDERS))
def test_nothing_is_complained_of(run_of: Callable[[str], Run], order: str) -> None:
    output = run_of(order).outcome.output
    assert "brain_otel failed" not in output
    assert "already instrumented" not in output


CALL = {"rpc.system.name": "grpc", "server.address": "127.0.0.1"}

STATEMENT = {"db.operation.name": "SELECT", "db.namespace": "postgres", "server.address": "127.0.0.1"}

STATEMENTS = [
    ("SELECT postgres", STATEMENT),
    ("SELECT postgres", STATEMENT),
    ("SELECT postgres", {**STATEMENT, "db.response.status_code": "42P01"}),
]

DESCRIBED = {
    "asyncpg": STATEMENTS,
    "psycopg": STATEMENTS,
    "psycopg async": [("SELECT postgres", STATEMENT)],
    "sqlite3": [
        ("SELECT", {"db.operation.name": "SELECT"}),
        ("SELECT", {"db.response.status_code": "SQLITE_ERROR", "error.type": "sqlite3.OperationalError"}),
    ],
    "grpc": [
        ("shop.Shop/Buy", {**CALL, "rpc.method": "shop.Shop/Buy", "rpc.response.status_code": "OK"}),
        ("shop.Shop/Buy", {**CALL, "rpc.response.status_code": "NOT_FOUND", "error.type": "NOT_FOUND"}),
    ],
    "grpc aio": [("shop.Shop/Buy", {**CALL, "rpc.response.status_code": "OK"})],
    "grpc server": [
        ("shop.Till/Sell", {**CALL, "rpc.response.status_code": "OK"}),
        ("shop.Till/Sell", {**CALL, "rpc.response.status_code": "UNKNOWN", "error.type": "UNKNOWN"}),
    ],
}
"""The names of the spans of a case, and some of their attributes."""


@pytest.mark.parametrize("case", DESCRIBED)
@pytest.mark.parametrize("order", quick_first(ORDERS))
def test_a_call_is_described_by_the_semantic_conventions(run_of: Callable[[str], Run], order: str, case: str) -> None:
    """By its name and what is known of it."""
    otlp = run_of(order).otlp
    (root,) = [span for span in otlp if span.name == case]
    spans = sorted((each for each in otlp if each.parent_span_id == root.span_id), key=lambda each: each.start_time)
    assert [
        (span.name, {**span.attributes, **known}) for span, (_, known) in zip(spans, DESCRIBED[case], strict=True)
    ] == [(name, span.attributes) for span, (name, _) in zip(spans, DESCRIBED[case], strict=True)]


@pytest.mark.parametrize("order", quick_first(ORDERS))
def test_every_span_has_current_names_and_its_facts(run_of: Callable[[str], Run], order: str) -> None:
    """Also those of servers: no deprecated name, the registry's types, the server, and the kind of an error."""
    spans = [span for span in run_of(order).otlp if span.scope.startswith("opentelemetry.instrumentation.")]
    observed = {span.scope.split(".")[2] for span in spans}
    assert observed == {"requests", "urllib3", "aiohttp_client", "aiohttp_server", "asyncpg", "psycopg"} | {
        *("sqlite3", "sqlalchemy", "grpc", "botocore")
    }
    assert [fault for span in spans for fault in fact_faults(span)] == []


def fact_faults(span: Span) -> Iterator[str]:
    """What is wrong with a span, or missing."""
    yield from faults_of(span.attributes, span.name, may_be_old=False)
    missing = facts_of(span) - span.attributes.keys()
    if missing:
        yield f"{span.kind} {span.name}: has no {sorted(missing)}"
    statuses = {span.attributes.get(f"{each}.response.status_code") for each in ("http", "rpc")}
    error = str(span.attributes.get("error.type"))
    is_class = "." in error or hasattr(builtins, error)
    if span.status == "error" and error not in map(str, statuses) and not is_class:
        yield f"{span.kind} {span.name}: the type of its error is {error}"


def facts_of(span: Span) -> set[str]:
    """What a span of its kind has."""
    found, server = span.attributes, {"server.address", "server.port"}
    if "http.request.method" in found:
        served = {"http.route", "http.response.status_code", "url.path", "url.scheme"}
        return {*server, *(served if span.kind == "server" else {"url.full"})}
    if "rpc.system.name" in found:
        more = {"db.operation.name"} if "db.system.name" in found else set()
        if "messaging.destination.name" in found:
            more = {"messaging.system", "messaging.operation.name", "messaging.operation.type"}
        return {"rpc.method", *more, *(server if span.kind != "server" else ())}
    remote = set() if found.get("db.system.name") == "sqlite" else {"db.namespace", *server}
    return {"db.system.name", "db.operation.name", "db.query.text", *remote}


def test_a_failure_in_a_server_of_grpc_is_an_error(run_of: Callable[[str], Run]) -> None:
    """Contrib leaves its status at OK."""
    served = [span for span in run_of("first").otlp if span.kind == "server" and "rpc.method" in span.attributes]
    assert [
        (span.status, span.attributes["rpc.response.status_code"], span.attributes.get("error.type"))
        for span in sorted(served, key=lambda span: span.start_time)
    ] == [("unset", "OK", None), ("error", "UNKNOWN", "ValueError")]
    assert [fault for span in served for fault in faults_of(span.attributes, span.name, may_be_old=False)] == []


EXTRAS = {
    "requests": ("requests",),
    "aiohttp": ("aiohttp", "aiohttp server"),
    "asyncpg": ("asyncpg", "sqlalchemy asyncpg"),
    "psycopg": ("psycopg", "psycopg async", "sqlalchemy psycopg", "sqlalchemy psycopg async"),
    "grpc-client": ("grpc", "grpc aio", "grpc server"),
    "boto3": ("boto3",),
    "urllib3": ("urllib3",),
}
"""Extra -> its cases here."""


def test_each_extra_has_cases_here() -> None:
    """The page of supported versions is made from :data:`EXTRAS`."""
    for cases in EXTRAS.values():
        assert set(cases) <= SPANS.keys() | SERVED.keys()
