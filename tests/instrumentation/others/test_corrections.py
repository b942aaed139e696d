"""What contrib's drivers and its gRPC set is corrected, and the call does not suffer from it."""

from typing import Any

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from brain_otel.instrumentation.others.conventions import Calls, Requests, Statements
from brain_otel.instrumentation.others.corrections import CorrectedBlock, CorrectingTracer, Corrections

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


def test_a_span_that_the_instrumentor_starts_itself_is_corrected() -> None:
    """As aiohttp's client does, which reports an exception by `record_exception`."""
    EXPORTER.clear()
    tracer = CorrectingTracer(PROVIDER.get_tracer("test"), Requests())
    span = tracer.start_span("GET", kind=SpanKind.CLIENT, attributes={"url.full": "http://shop/"})
    assert isinstance(span, otel_trace.Span)
    span.set_attribute("error.type", "LookupError")
    span.record_exception(CaptureError())
    span.end()
    assert ended().attributes == {
        "url.full": "http://shop/",
        "server.address": "shop",
        "server.port": 80,
        "error.type": f"{__name__}.CaptureError",
    }
    assert [event.name for event in ended().events] == ["exception"]


class CaptureError(Exception):
    """An error of the application's."""


def test_a_text_that_is_set_later_names_the_span() -> None:
    with block(Statements(), "given") as span:
        span.set_attributes({"db.namespace": "shop", "db.query.text": "select 1"})
    assert (ended().name, ended().attributes["db.operation.name"]) == ("SELECT shop", "SELECT")


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
