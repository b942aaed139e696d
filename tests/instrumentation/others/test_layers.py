"""A driver is silent where its caller makes the span, and only there."""

import sqlite3
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.instrumentation import dbapi
from opentelemetry.instrumentation import sqlite3 as module
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from brain_otel.instrumentation.others.layers import Layers

TRACER = TracerProvider().get_tracer("test")


@pytest.fixture
def layers() -> Iterator[Layers]:
    found = Layers({"shop_orm"})
    yield found
    found.undo()


def driver() -> ModuleType:
    from opentelemetry.instrumentation import asyncpg

    return asyncpg


def asked_by(package: str) -> bool:
    """Whether the instrumentation of a driver is enabled for code of `package`."""
    caller = ModuleType(package)
    vars(caller)["ask"] = driver()
    exec("enabled = ask.is_instrumentation_enabled()", vars(caller))
    return bool(vars(caller)["enabled"])


def test_a_driver_is_silent_below_an_outer_layer(layers: Layers) -> None:
    """Other callers are the application, or libraries that nobody observes."""
    layers.join(driver())
    assert {name: asked_by(name) for name in ("shop_orm", "shop_orm.engine", "aiosqlite", "shop", "__main__")} == {
        "shop_orm": False,
        "shop_orm.engine": False,
        "aiosqlite": False,
        "shop": True,
        "__main__": True,
    }


@pytest.mark.parametrize(
    ("kind", "attributes", "enabled"),
    [
        (SpanKind.CLIENT, {"db.system.name": "postgresql"}, False),
        (SpanKind.CLIENT, {"db.system": "postgresql"}, False),
        (SpanKind.CLIENT, {"http.request.method": "GET"}, True),
        (SpanKind.INTERNAL, {"db.system.name": "postgresql"}, True),
    ],
)
def test_a_driver_is_silent_inside_the_span_of_a_statement(
    layers: Layers, kind: SpanKind, attributes: dict[str, str], enabled: bool
) -> None:
    layers.join(driver())
    with otel_trace.use_span(TRACER.start_span("outer", kind=kind, attributes=attributes)):
        assert asked_by("shop") is enabled


def test_an_outer_layer_gets_the_drivers_own_connection(layers: Layers) -> None:
    layers.join(module)
    integration = dbapi.DatabaseApiIntegration("test", "sqlite")
    found: dict[str, Any] = {}
    for package in ("shop_orm", "shop"):
        caller = ModuleType(package)
        vars(caller).update(integration=integration, connect=sqlite3.connect)
        exec("made = integration.wrapped_connection(connect, (':memory:',), {})", vars(caller))
        found[package] = vars(caller)["made"]
    assert type(found["shop_orm"]) is sqlite3.Connection
    assert type(found["shop"]) is not sqlite3.Connection
    for each in found.values():
        each.close()


def test_the_instrumentations_are_left_as_they_were_found() -> None:
    """What is no driver's instrumentation is not touched."""
    asking: list[Any] = [vars(driver()), vars(dbapi)]
    before = [each["is_instrumentation_enabled"] for each in asking]
    layers = Layers(())
    layers.join(sys.modules[__name__])
    layers.join(driver())
    layers.join(module)
    assert all(each["is_instrumentation_enabled"] is not old for each, old in zip(asking, before, strict=True))
    layers.undo()
    assert [each["is_instrumentation_enabled"] for each in asking] == before
