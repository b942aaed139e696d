"""Tests of what is a transaction: requests, jobs and the application's own, but no lone statement or call."""

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import create_engine, text

import brain_otel
from brain_otel.testing import Telemetry, captured_telemetry

LONE = [
    ("a call", SpanKind.CLIENT, {"url.full": "http://shop.test/"}),
    ("a message", SpanKind.PRODUCER, {"messaging.system": "kafka"}),
    ("a statement", SpanKind.CLIENT, {"db.system.name": "postgresql"}),
    ("a checkout", SpanKind.INTERNAL, {"db.system": "postgresql"}),
]


def transactions(telemetry: Telemetry) -> list[str]:
    return [each["transaction"] for each in telemetry.transactions]


def start(name: str, kind: SpanKind, attributes: dict[str, Any]) -> None:
    trace.get_tracer("test").start_span(name, kind=kind, attributes=attributes).end()


@pytest.mark.parametrize(("name", "kind", "attributes"), LONE)
def test_a_lone_call_is_no_transaction(
    telemetry: Telemetry, name: str, kind: SpanKind, attributes: dict[str, Any]
) -> None:
    """Its span is recorded for the other destinations."""
    start(name, kind, attributes)
    assert transactions(telemetry) == []
    assert [span["name"] for span in telemetry.spans] == [name]


@pytest.mark.parametrize(("name", "kind", "attributes"), LONE)
def test_a_call_within_work_is_a_span_of_its_transaction(
    telemetry: Telemetry, name: str, kind: SpanKind, attributes: dict[str, Any]
) -> None:
    """Be the work a transaction of the application's or an internal span."""
    with brain_otel.start_transaction("job"):
        start(name, kind, attributes)
    with trace.get_tracer("test").start_as_current_span("work"):
        start(name, kind, attributes)
    assert transactions(telemetry) == ["job", "work"]
    assert [len(each["spans"]) for each in telemetry.transactions] == [1, 1]


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CONSUMER])
def test_other_roots_are_transactions(telemetry: Telemetry, kind: SpanKind) -> None:
    """Work that begins here."""
    start("work", kind, {})
    assert transactions(telemetry) == ["work"]


def test_a_transaction_of_the_application_may_be_a_call() -> None:
    """Whoever opens it on purpose gets it."""
    with captured_telemetry() as telemetry:
        with brain_otel.start_transaction("poll", op="http.client") as span:
            span.set_data("db.system.name", "postgresql")
        assert transactions(telemetry) == ["poll"]


def test_statements_of_a_polling_loop_are_no_transactions(telemetry: Telemetry) -> None:
    """They are spans for other destinations."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        for _ in range(3):
            connection.execute(text("SELECT 1"))
    engine.dispose()
    assert transactions(telemetry) == []
    assert [span["name"] for span in telemetry.spans].count("SELECT") == 3


@pytest.mark.parametrize(
    ("method", "sent"), [("GET", True), ("POST", True), ("_OTHER", True), ("HEAD", False), ("OPTIONS", False)]
)
@pytest.mark.parametrize("attribute", ["http.request.method", "http.method"])
def test_some_methods_are_no_transactions(telemetry: Telemetry, method: str, sent: bool, attribute: str) -> None:
    """As with sentry-sdk."""
    start("request", SpanKind.SERVER, {attribute: method})
    assert transactions(telemetry) == (["request"] if sent else [])


def test_the_configuration_changes_both(tmp_path: Any) -> None:
    """`standalone_spans` and `http_methods_to_capture`."""
    file = tmp_path / "own.yaml"
    file.write_text(
        'file_format: "1.1"\ntracer_provider: {processors: [{sentry: }]}\ndistribution: {brain_otel: {sentry: '
        "{dsn: '${SENTRY_DSN}', standalone_spans: true, http_methods_to_capture: [HEAD]}}}\n"
    )
    with captured_telemetry({"OTEL_CONFIG_FILE": str(file)}) as telemetry:
        for name, kind, attributes in LONE:
            start(name, kind, attributes)
        start("head", SpanKind.SERVER, {"http.request.method": "HEAD"})
        start("get", SpanKind.SERVER, {"http.request.method": "GET"})
        assert transactions(telemetry) == [*(name for name, *_ in LONE), "head"]
