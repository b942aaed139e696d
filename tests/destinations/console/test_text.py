"""Spans in words, with real spans in old and stable semantic conventions."""

from __future__ import annotations

from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind

from brain_otel.destinations.console.text import clean, description, duration, http_status, operation, statement


def ended(name: str, kind: SpanKind, attributes: dict[str, Any]) -> ReadableSpan:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    span = tracer.start_span(name, kind=kind, attributes=attributes)
    span.end()
    return cast("ReadableSpan", span)


@pytest.mark.parametrize(
    ("name", "kind", "attributes", "op", "words"),
    [
        ("GET /a/{b}", SpanKind.SERVER, {"http.request.method": "GET"}, "http.server", "GET /a/{b}"),
        ("GET", SpanKind.SERVER, {"http.method": "GET", "http.target": "/no?k=1"}, "http.server", "GET /no"),
        (
            "GET",
            SpanKind.CLIENT,
            {"http.request.method": "GET", "url.full": "http://u:p@h:1/x?k=1"},
            "http.client",
            "GET http://h:1/x",
        ),
        ("GET", SpanKind.CLIENT, {"http.method": "GET", "http.url": "http://h/x"}, "http.client", "GET http://h/x"),
        (
            "SELECT",
            SpanKind.CLIENT,
            {"db.system.name": "postgresql", "db.query.text": "SELECT\n 1"},
            "db",
            "SELECT 1",
        ),
        ("SELECT", SpanKind.CLIENT, {"db.system": "sqlite", "db.statement": "SELECT 1"}, "db", "SELECT 1"),
        ("GET", SpanKind.CLIENT, {"db.system": "redis", "db.statement": "GET ?"}, "db.redis", "GET ?"),
        ("plan", SpanKind.INTERNAL, {"sentry.op": "agent.run"}, "agent.run", "plan"),
        ("BackgroundTask tell", SpanKind.INTERNAL, {}, "function", "BackgroundTask tell"),
        ("GET", SpanKind.SERVER, {"url.scheme": "ws", "url.path": "/ws"}, "websocket", "/ws"),
        ("send", SpanKind.PRODUCER, {}, "queue.publish", "send"),
        ("step", SpanKind.INTERNAL, {}, "function", "step"),
    ],
)
def test_a_span_has_an_op_and_a_description(
    name: str, kind: SpanKind, attributes: dict[str, Any], op: str, words: str
) -> None:
    """Sentry's word for the kind of work, and what was done, without query strings or credentials."""
    span = ended(name, kind, attributes)
    assert (operation(span), description(span)) == (op, words)


def test_statements_differ_by_more_than_their_literals() -> None:
    """Two queries of a loop are the same statement; a Redis command is none."""
    one, other = (
        ended("SELECT", SpanKind.CLIENT, {"db.system": "sqlite", "db.statement": f"SELECT a1 WHERE b = {literal}"})
        for literal in ("7", "'x'")
    )
    assert statement(one) == statement(other) == "SELECT a1 WHERE b = ?"
    assert statement(ended("GET", SpanKind.CLIENT, {"db.system": "redis"})) is None


@pytest.mark.parametrize("name", ["http.response.status_code", "http.status_code"])
def test_the_http_status_is_read_from_either_convention(name: str) -> None:
    """From the old and the stable attribute."""
    assert http_status(ended("GET", SpanKind.SERVER, {name: 404})) == 404


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0.418, "0.42 ms"), (12.34, "12.3 ms"), (152.4, "152 ms"), (1520.0, "1.52 s")]
)
def test_durations_have_three_digits_and_a_unit(milliseconds: float, text: str) -> None:
    """They fit into a column and can be compared."""
    assert duration(milliseconds) == text


def test_control_characters_are_replaced() -> None:
    """A path or an exception cannot command the terminal."""
    assert clean("a\x1b[31m\nb\u202e") == "a�[31m b�"
