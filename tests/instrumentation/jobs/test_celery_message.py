"""A message of Celery: its broker, its queue and its headers."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from brain_otel.instrumentation.jobs.celery_message import destination_of, headers_of, system_of


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
