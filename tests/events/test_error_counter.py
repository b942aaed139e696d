"""The counter of errors: one failure counts once, by bounded attributes."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum

from brain_otel.capture import capture_exception
from brain_otel.events import error_counter
from brain_otel.events.error_counter import MAX_ROUTES, MAX_TYPES, NAME, OTHER, count_error
from brain_otel.events.listeners import local_trace_entered
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace, Name

Points = Callable[[], dict[tuple[Any, ...], int]]


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[Points]:
    """Return what was counted: type, handled and route -> number."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    monkeypatch.setattr(error_counter._Known, "counter", None)

    def read() -> dict[tuple[Any, ...], int]:
        data = reader.get_metrics_data()
        found = [] if data is None else [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        assert {each.name for each in found} <= {NAME}
        keys = ("error.type", "handled", "http.route")
        return {
            tuple((each.attributes or {}).get(key) for key in keys): int(each.value)
            for metric in found
            for each in cast("Sum", metric.data).data_points
        }

    yield read
    provider.shutdown()


def request(text: str, source: str = "route") -> LocalTrace:
    return LocalTrace(kind="request", describe=lambda: Name(text=text, source=source))


class ShopError(Exception):
    class InnerError(Exception):
        pass


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("no"), "ValueError"),
        (ShopError("no"), f"{__name__}.ShopError"),
        (ShopError.InnerError("no"), f"{__name__}.ShopError.InnerError"),
        (ExceptionGroup("many", [ValueError("no")]), "ExceptionGroup"),
    ],
)
def test_the_type_is_that_of_error_type(points: Points, error: Exception, name: str) -> None:
    """Qualified, but for what is built in: https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/."""
    count_error(error, handled=False)
    assert points() == {(name, False, None): 1}


@pytest.mark.parametrize(
    ("trace", "route"),
    [
        (request("GET /orders/{number}"), "/orders/{number}"),
        (request("/socket/{name}"), "/socket/{name}"),
        (request("GET /with a space/{x}"), "/with a space/{x}"),
        (request("GET /unknown/7", "url"), None),
        (LocalTrace(kind="request"), None),
        (LocalTrace(kind="transaction", describe=lambda: Name(text="GET /a", source="route")), None),
    ],
)
def test_the_route_is_that_of_the_request(points: Points, trace: LocalTrace, route: str | None) -> None:
    """An address that no route matches is not bounded, so it is left out."""
    with local_trace_entered(trace):
        count_error(ValueError("no"), handled=True)
    assert points() == {("ValueError", True, route): 1}


def test_a_transaction_inside_a_request_has_its_route(points: Points) -> None:
    with local_trace_entered(request("GET /a")), local_trace_entered(local_trace.opened("transaction")):
        count_error(ValueError("no"), handled=True)
    assert points() == {("ValueError", True, "/a"): 1}


def test_a_failure_counts_once_wherever_it_is_seen(points: Points) -> None:
    """In a transaction inside of the request, in the request, in a group, and outside of both."""
    error, alone = ValueError("no"), KeyError("no")
    with local_trace_entered(request("GET /a")):
        with local_trace_entered(local_trace.opened("transaction")):
            assert count_error(error, handled=True)
        assert not count_error(error, handled=False)
        assert not count_error(ExceptionGroup("one", [error]), handled=False)
    assert count_error(alone, handled=True)
    assert not count_error(alone, handled=False)
    assert points() == {("ValueError", True, "/a"): 1, ("KeyError", True, None): 1}


def test_a_failure_that_is_captured_twice_counts_once(points: Points) -> None:
    """Outside of a local trace both are events; sentry-sdk drops the second."""
    error = ValueError("no")
    capture_exception(error)
    capture_exception(error)
    capture_exception(ValueError("no"))
    assert points() == {("ValueError", True, None): 2}


def test_types_and_routes_are_bounded(points: Points) -> None:
    """Each beyond the first is `_OTHER`."""
    for number in range(MAX_TYPES + 20):
        count_error(type(f"Error{number}", (Exception,), {})(), handled=True)
    for number in range(MAX_ROUTES + 20):
        with local_trace_entered(request(f"GET /{number}")):
            count_error(ValueError("no"), handled=False)
    found = points()
    assert len({kind for kind, *_ in found}) == MAX_TYPES + 1
    assert len({route for *_, route in found}) == MAX_ROUTES + 2
    assert sum(count for (kind, _, route), count in found.items() if kind == OTHER and route is None) == 20
    assert found[OTHER, False, OTHER] == 20


def test_without_a_meter_provider_nothing_is_counted() -> None:
    """And nothing fails."""
    assert count_error(ValueError("no"), handled=True)
