"""A message of Celery: its broker, its queue and its headers."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from brain_otel.instrumentation.jobs.celery_message import destination_of, headers_of, system_of, write_inner_headers
from brain_otel.instrumentation.jobs.task import SENT_AT


@pytest.mark.parametrize(
    ("address", "system"),
    [
        (None, "rabbitmq"),
        ("amqp://guest@localhost//", "rabbitmq"),
        ("pyamqp://", "rabbitmq"),
        ("redis://localhost:6379/0", "redis"),
        ("rediss://:hunter2@localhost", "redis"),
        ("sentinel://localhost:26379;sentinel://localhost:26380", "redis"),
        (["redis://a", "redis://b"], "redis"),
        ("sqs://key:secret@", "aws_sqs"),
        ("sqla+sqlite:///x.db", "sqla"),
        ("memory://", "memory"),
        ("redis", "rabbitmq"),
    ],
)
def test_a_broker_has_the_registrys_name(address: Any, system: str) -> None:
    assert system_of(Celery(broker=address, set_as_current=False)) == system


@pytest.mark.parametrize(
    ("exchange", "routing_key", "queue"),
    [
        ("", "celery", "celery"),
        (None, "celery", "celery"),
        ("orders", "eu.paid", "orders"),
        (SimpleNamespace(name="orders"), "eu.paid", "orders"),
        (SimpleNamespace(name=""), "celery", "celery"),
        (None, None, None),
    ],
)
def test_a_message_goes_to_a_queue(exchange: Any, routing_key: Any, queue: str | None) -> None:
    assert destination_of(exchange, routing_key) == queue


def test_sentry_sdks_inner_headers_are_read() -> None:
    """The outer ones count first: OpenTelemetry writes them."""
    assert headers_of({"headers": {"a": "1", "b": "1"}, "a": "2"})["a"] == "2"
    assert headers_of({"headers": {"b": "1"}})["b"] == "1"
    assert headers_of({"headers": None})["headers"] is None
    assert headers_of({"headers": ["a"], "b": "1"}) == {"headers": ["a"], "b": "1"}


OURS: dict[Any, Any] = {"sentry-trace": "1", "baggage": "2", SENT_AT: 3.0, "sentry-monitor-slug": "4"}


@pytest.mark.parametrize(
    ("inner", "written"),
    [
        (None, OURS),
        ({"own": 1}, {"own": 1, **OURS}),
        ({"sentry-trace": "of an earlier run", 5: 6}, {5: 6, **OURS}),
        (["own"], ["own"]),
        ("own", "own"),
    ],
)
def test_what_sentry_sdk_reads_is_repeated_among_the_inner_headers(inner: Any, written: Any) -> None:
    """What the application has there stays, and its mapping is not touched."""
    given = dict(inner) if isinstance(inner, dict) else inner
    headers: dict[str, Any] = {"id": "1", "traceparent": "5", **OURS, "headers": inner}
    write_inner_headers(headers)
    assert headers["headers"] == written
    assert inner == given


def test_without_a_trace_for_sentry_no_inner_headers_are_written() -> None:
    headers: dict[str, Any] = {"traceparent": "5", SENT_AT: 3.0}
    write_inner_headers(headers)
    assert headers == {"traceparent": "5", SENT_AT: 3.0}
