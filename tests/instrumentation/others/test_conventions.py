"""What contrib's clients, servers and drivers set becomes what the semantic conventions want."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from brain_otel.instrumentation.others.conventions import AwsCalls, Calls, Requests, Statements, convention_of
from tests.support.tiers import quick_one_in

STATEMENTS = {
    "select 1": ("SELECT shop", "SELECT"),
    "-- first\nselect 1": ("SELECT shop", "SELECT"),
    "/* a */ /* b */ update things set a = 1": ("UPDATE shop", "UPDATE"),
    "WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a": ("WITH shop", "WITH"),
    "": ("given", None),
    "'a text' ||": ("given", None),
}


@pytest.mark.parametrize("text", quick_one_in(6, STATEMENTS))
def test_a_statement_is_named_by_its_operation_and_database(text: str) -> None:
    """Also where the instrumentor sets the text after the start."""
    span = begun(SpanKind.CLIENT)
    span.update_name("given")
    given = {"db.namespace": "shop", "db.query.text": text}
    changed = Statements().correct(given)
    Statements().rename(span, changed)
    assert (span.name, changed.get("db.operation.name")) == STATEMENTS[text]
    name, attributes = Statements().begin("given", given)
    assert (name, attributes.get("db.operation.name")) == STATEMENTS[text]


def test_old_names_stay_old() -> None:
    """The user has chosen them by OTEL_SEMCONV_STABILITY_OPT_IN."""
    given = {"db.statement": "select 1", "db.system": "postgresql"}
    assert Statements().begin("select", given) == ("select", given)
    assert Requests().begin("GET", {"http.url": "http://shop/"}) == ("GET", {"http.url": "http://shop/"})


STATUSES = {
    (SpanKind.CLIENT, 0): ("OK", None),
    (SpanKind.CLIENT, 5): ("NOT_FOUND", "NOT_FOUND"),
    (SpanKind.CLIENT, 99): ("99", "99"),
    (SpanKind.SERVER, 5): ("NOT_FOUND", None),
    (SpanKind.SERVER, 14): ("UNAVAILABLE", "UNAVAILABLE"),
}


@pytest.mark.parametrize(("kind", "code"), quick_one_in(5, STATUSES))
def test_the_status_of_a_call_is_text_and_the_error_of_who_made_it(kind: SpanKind, code: int) -> None:
    span = begun(kind)
    changed = Calls().correct({"rpc.grpc.status_code": code})
    Calls().rename(span, changed)
    status, error = STATUSES[kind, code]
    assert changed == {"rpc.response.status_code": status}
    assert dict(span.attributes) == ({"error.type": error} if error else {})


CALL = {"rpc.system": "aws-api", "rpc.service": "SQS", "rpc.method": "SendMessage"}

CALLED = {"rpc.system.name": "aws-api", "rpc.method": "SQS/SendMessage"}

QUEUE = {
    "messaging.system": "aws.sqs",
    "messaging.url": "http://aws/1/orders",
    "messaging.destination": "orders",
    "messaging.destination_kind": "queue",
    "aws.queue_url": "http://aws/1/orders",
}

AWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({**CALL, "http.status_code": 200, "retry_attempts": 0}, {**CALLED, "http.response.status_code": 200}),
    ({"retry_attempts": 2}, {"http.request.resend_count": 2}),
    (
        {**CALL, **QUEUE},
        {
            **CALLED,
            "messaging.system": "aws_sqs",
            "messaging.destination.name": "orders",
            "aws.sqs.queue.url": "http://aws/1/orders",
            "messaging.operation.name": "SendMessage",
            "messaging.operation.type": "send",
        },
    ),
    (
        {"db.system": "dynamodb", "db.operation": "Query", "net.peer.name": "aws", "server.address": "aws"},
        {"db.system.name": "aws.dynamodb", "db.operation.name": "Query", "server.address": "aws"},
    ),
    ({"gen_ai.system": "aws.bedrock", "rpc.method": "Converse"}, {"gen_ai.provider.name": "aws.bedrock"}),
]


@pytest.mark.parametrize(("given", "wanted"), AWS)
def test_a_call_of_aws_has_the_current_names(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    name, found = AwsCalls().begin("SQS.SendMessage", given)
    assert name == "SQS.SendMessage"
    assert found == {**wanted, **({"rpc.method": "Converse"} if "gen_ai.system" in given else {})}


def test_old_names_are_kept_beside_the_current_ones_where_the_user_wants_both() -> None:
    """Each convention is chosen by itself."""
    given = {**CALL, "http.status_code": 200, "db.system": "dynamodb", "net.peer.name": "aws"}
    current = {**CALLED, "http.response.status_code": 200, "db.system.name": "aws.dynamodb"}
    calls = {"rpc.system": "aws-api", "rpc.service": "SQS", "net.peer.name": "aws"}
    stored = {"http.status_code": 200, "db.system": "dynamodb"}
    for doubled, old in (((), {}), (("rpc",), calls), (("http", "database"), stored)):
        convention = convention_of("botocore", doubled)
        assert convention is not None
        assert convention.correct(given) == {**current, **old}


MISSING = {"Error": {"Code": "NoSuchBucket"}}

AWS_FAILURES: list[tuple[Any, StatusCode, dict[str, str]]] = [
    (MISSING, StatusCode.ERROR, {"error.type": "NoSuchBucket", "rpc.response.status_code": "NoSuchBucket"}),
    (MISSING, StatusCode.UNSET, {}),
    (None, StatusCode.ERROR, {"error.type": "TimeoutError"}),
    ({}, StatusCode.ERROR, {"error.type": "botocore.exceptions.ClientError"}),
]


@pytest.mark.parametrize(("answer", "status", "wanted"), AWS_FAILURES)
def test_a_failure_of_aws_has_its_code_or_its_class(answer: Any, status: StatusCode, wanted: Any) -> None:
    """What contrib calls no error, such as a 304, is none."""
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # ships no types

    error = TimeoutError() if answer is None else ClientError(answer, "GetObject")
    span = begun(SpanKind.CLIENT)
    span.set_status(status)
    AwsCalls().fail(span, error)
    assert dict(span.attributes) == wanted


SERVERS: dict[str, dict[str, Any]] = {
    "http://shop:8000/a": {"server.address": "shop", "server.port": 8000},
    "http://shop/a": {"server.address": "shop", "server.port": 80},
    "https://user:secret@SHOP.example?q=1": {"server.address": "shop.example", "server.port": 443},
    "http://[::1]:9/": {"server.address": "::1", "server.port": 9},
    "unix+http://%2Frun%2Fdocker.sock/info": {},
    "http:///a": {},
    "http://shop:port/": {},
    "http://[::1/": {},
    "/a": {},
}


@pytest.mark.parametrize("url", SERVERS)
def test_a_request_names_the_server_of_its_url(url: str) -> None:
    assert Requests().correct({"url.full": url}) == {"url.full": url, **SERVERS[url]}
    assert Requests().correct({"url.full": url, "server.port": 1})["server.port"] == 1


def test_an_exception_has_its_whole_name_unless_a_response_came() -> None:
    """Aiohttp's server answers it with 500, and contrib takes its class for the status."""
    for kind, known, wanted in (
        (SpanKind.CLIENT, {}, {"error.type": f"{__name__}.ShopError"}),
        (SpanKind.SERVER, {}, {"error.type": f"{__name__}.ShopError", "http.response.status_code": 500}),
        (SpanKind.SERVER, {"http.response.status_code": 503, "error.type": "503"}, {}),
    ):
        span = begun(kind)
        span.set_attributes(known)
        Requests().fail(span, ShopError("planted"))
        assert dict(span.attributes) == {**known, **wanted}


class ShopError(Exception):
    """An error of the application's."""


def begun(kind: SpanKind) -> Any:
    return TracerProvider().get_tracer("test").start_span("span", kind=kind)
