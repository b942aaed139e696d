"""Tests of the helpers' arguments: whatever they are, a helper takes little and calls nothing for long."""

import itertools
from collections import ChainMap
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import brain_otel
from brain_otel.events.arguments import MAX_NAME, facts, name_of_fact, text_of
from brain_otel.runtime.text import MAX_TEXT
from brain_otel.testing import Telemetry
from tests.runtime.test_object_view import LARGE, large
from tests.support.yardstick import milliseconds


def entered(span: Any) -> None:
    with span:
        pass


HELPERS: dict[str, Callable[[Any], object]] = {
    "message": brain_otel.capture_message,
    "context of a message": lambda value: brain_otel.capture_message("a", x=value),
    "context of an exception": lambda value: brain_otel.capture_exception(ValueError("a"), x=value),
    "no exception": brain_otel.capture_exception,
    "breadcrumb": brain_otel.add_breadcrumb,
    "category": lambda value: brain_otel.add_breadcrumb("a", value, value),
    "data": lambda value: brain_otel.add_breadcrumb("a", data=value),
    "user": lambda value: brain_otel.set_user_context(value, value, value, more=value),
    "tag": lambda value: brain_otel.set_tag("a", value),
    "name of a tag": lambda value: brain_otel.set_tag(value, 1),
    "context": lambda value: brain_otel.set_context("a", value),
    "name of a context": lambda value: brain_otel.set_context(value, {"a": 1}),
    "description of a span": lambda value: entered(brain_otel.start_span("op", value)),
    "attribute of a span": lambda value: entered(brain_otel.start_span("op", "a", x=value)),
    "operation": lambda value: entered(brain_otel.start_span(value)),
    "name of a transaction": lambda value: entered(brain_otel.start_transaction(value)),
}


@pytest.mark.parametrize("helper", HELPERS)
def test_no_argument_stops_a_helper(helper: str, telemetry: Telemetry) -> None:
    """The CPU time of one call within a transaction."""
    slow: dict[str, float] = {}
    with brain_otel.start_transaction("t"):
        for name in LARGE:
            took = milliseconds(partial(HELPERS[helper], large(name)), 20)
            slow |= {name: took} if took >= 20 else {}
    assert slow == {}


def test_arguments_are_bounded() -> None:
    assert len(text_of("x" * 10**6)) < MAX_TEXT + 100
    assert len(name_of_fact("x" * 10**6)) == MAX_NAME
    assert len(facts({str(number): number for number in range(10**5)})) < 1_000
    assert facts({str(number): number for number in range(10**5)})["..."] == "99,900 more"
    assert list(facts(ChainMap({"a": 1}, {"b": 2}))) == ["a", "b"]


def test_an_iterator_is_not_used_up() -> None:
    """``dict()`` of it would, or would never end."""
    pairs = itertools.count()
    assert facts(pairs) == {"value": pairs}
    assert next(pairs) == 0
