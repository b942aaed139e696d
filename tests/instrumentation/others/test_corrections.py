"""What contrib's drivers and its gRPC set is corrected, and the call does not suffer from it."""

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from brain_otel.instrumentation.others.corrections import (
    Calls,
    CorrectedBlock,
    CorrectingTracer,
    Corrections,
    Statements,
)
from tests.support.tiers import quick_one_in

PROVIDER = TracerProvider()
EXPORTER = InMemorySpanExporter()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))


def block(convention: Any, name: str, kind: SpanKind = SpanKind.CLIENT, **attributes: Any) -> CorrectedBlock:
    EXPORTER.clear()
    tracer = CorrectingTracer(PROVIDER.get_tracer("test"), convention)
    return tracer.start_as_current_span(
        name, kind=kind, attributes={key.replace("_", "."): value for key, value in attributes.items()}
    )


def ended() -> Any:
    (span,) = EXPORTER.get_finished_spans()
    return span


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
    with block(Statements(), "given") as span:
        span.set_attributes({"db.namespace": "shop", "db.query.text": text})
    found = ended()
    assert (found.name, found.attributes.get("db.operation.name")) == STATEMENTS[text]
    with block(Statements(), "given", db_query_text=text, db_namespace="shop"):
        pass
    assert (ended().name, ended().attributes.get("db.operation.name")) == STATEMENTS[text]


def test_old_names_stay_old() -> None:
    """The user has chosen them by OTEL_SEMCONV_STABILITY_OPT_IN."""
    with block(Statements(), "select", db_statement="select 1", db_system="postgresql"):
        pass
    assert (ended().name, dict(ended().attributes)) == (
        "select",
        {"db.statement": "select 1", "db.system": "postgresql"},
    )


STATUSES = {
    (SpanKind.CLIENT, 0): ("OK", None),
    (SpanKind.CLIENT, 5): ("NOT_FOUND", "NOT_FOUND"),
    (SpanKind.CLIENT, 99): ("99", "99"),
    (SpanKind.SERVER, 5): ("NOT_FOUND", None),
    (SpanKind.SERVER, 14): ("UNAVAILABLE", "UNAVAILABLE"),
}


@pytest.mark.parametrize(("kind", "code"), quick_one_in(5, STATUSES))
def test_the_status_of_a_call_is_text_and_the_error_of_who_made_it(kind: SpanKind, code: int) -> None:
    with block(Calls(), "/shop.Shop/Buy", kind, rpc_system="grpc", rpc_service="shop.Shop", rpc_method="Buy") as span:
        span.set_attribute("rpc.grpc.status_code", code)
    found = ended()
    status, error = STATUSES[kind, code]
    expected = {"rpc.system.name": "grpc", "rpc.method": "shop.Shop/Buy", "rpc.response.status_code": status}
    assert dict(found.attributes) == expected | ({"error.type": error} if error else {})


def test_what_cannot_be_corrected_stays_and_an_exception_passes(caplog: pytest.LogCaptureFixture) -> None:
    error = LookupError("wrong")
    with pytest.raises(LookupError) as raised, block(Calls(), "/a/b", net_peer_port="no number"):
        raise error
    assert raised.value is error
    assert ended().attributes["net.peer.port"] == "no number"
    assert "describing a call by the semantic conventions" in caplog.text


def test_an_instrumentor_is_left_as_it_was_found() -> None:
    """Its metrics are named by the same function as its spans."""
    from opentelemetry.instrumentation import dbapi
    from opentelemetry.instrumentation import sqlite3 as module

    options: dict[str, Any] = {}
    before = dbapi.CursorTracer.get_operation_name
    corrections = Corrections()
    corrections.apply("sqlite3", module, options)
    try:
        tracer: Any = dbapi.CursorTracer(dbapi.DatabaseApiIntegration("test", "sqlite"))
        assert tracer.get_operation_name(None, ("-- a\nselect 1",)) == "SELECT"
        assert list(options) == ["tracer_provider"]
    finally:
        corrections.undo()
    assert dbapi.CursorTracer.get_operation_name is before
