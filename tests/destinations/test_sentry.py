"""Tests of Sentry's destination at the end of a server."""

import threading
from collections import Counter
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor

from brain_otel.configuration.loading import read_settings
from brain_otel.destinations.destination import Destination
from brain_otel.destinations.isolation import IsolatedDestination
from brain_otel.destinations.sentry import _pause
from brain_otel.sdk.pipeline import create_policy
from brain_otel.sentry.span_processor import SentrySpanProcessor


class Stuck(SentrySpanProcessor):
    """Builds no transaction until it is released."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        super().__init__()

    def _send(self, collected: Any) -> None:  # noqa: ARG002
        self.begun.set()
        self.release.wait(10)


class Collected:
    """A local trace of five spans."""

    spans = (1, 2, 3, 4)


class NoClient:
    """Has no transport."""

    transport = None


def test_transactions_that_are_not_built_yet_are_counted() -> None:
    """The one that is being built counts as one span."""
    processor, left = Stuck(), Counter[str]()
    for _ in range(3):
        processor._queue.put(Collected())  # type: ignore[arg-type]  # its weight is all that matters here
    assert processor.begun.wait(10)
    _pause(processor, NoClient(), left, 0.1)
    processor.release.set()
    assert left == {"transaction": 3, "span": 11}


def test_what_pressure_keeps_from_a_destination_is_its_to_count() -> None:
    """As the pipeline connects them."""
    counted: list[bool] = []
    used = IsolatedDestination(
        Destination(
            name="sentry",
            flush=lambda _: True,
            shutdown=lambda _: None,
            span_processor=SpanProcessor(),
            pressure=lambda: 1,
            relieved=lambda: counted.append(True),
            may_block=False,
        )
    )
    policy = create_policy(read_settings(environ={}, environment="test"), (used,))
    assert [policy.recipients(rand, 1.0, True).sentry for rand in (0.2, 0.7)] == [True, False]
    assert counted == [True]
