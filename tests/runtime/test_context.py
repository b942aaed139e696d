"""Tests of contexts that are left in another order, or elsewhere, than they were entered."""

import contextvars

import pytest
from opentelemetry import context as otel_context

from brain_otel.runtime.context import Attachment, attach, get_current, holding, settled_context


def test_the_context_is_one_variable() -> None:
    """Reading and setting it is what OpenTelemetry's functions do."""
    assert isinstance(getattr(get_current, "__self__", None), contextvars.ContextVar)

    def look() -> None:
        entered = otel_context.set_value("key", 1)
        attach(entered)
        assert otel_context.get_current() is get_current() is entered
        otel_context.attach(otel_context.set_value("key", 2))
        assert get_current()["key"] == 2

    contextvars.copy_context().run(look)


def test_what_ends_within_another_block_does_not_come_back() -> None:
    """Code that reads OpenTelemetry's context directly sees neither."""
    outer = Attachment(otel_context.set_value("outer", 1))
    inner = Attachment(otel_context.set_value("inner", 2))
    outer.detach()
    assert otel_context.get_value("inner") == 2
    inner.detach()
    assert otel_context.get_value("outer") is None
    assert otel_context.get_value("inner") is None


def test_what_has_ended_elsewhere_is_left_by_the_next_look() -> None:
    """Nothing else is: a context that is entered stays."""
    around = Attachment(otel_context.set_value("around", 1))
    within = Attachment(otel_context.set_value("within", 2))
    contextvars.copy_context().run(within.detach)
    assert otel_context.get_value("within") == 2
    assert settled_context().get("within") is None
    assert otel_context.get_value("around") == 1
    assert settled_context() is otel_context.get_current()
    around.detach()
    assert otel_context.get_value("around") is None


def test_a_variable_has_its_value_for_the_block() -> None:
    """Also for one that raises, whose exception passes as it is."""
    variable = contextvars.ContextVar("variable", default="before")
    error = StopIteration("of the application")

    def block() -> None:
        with holding(variable, "outer"):
            with holding(variable, "inner"):
                assert variable.get() == "inner"
            assert variable.get() == "outer"
            raise error

    with pytest.raises(StopIteration) as raised:
        block()
    assert raised.value is error
    assert variable.get() == "before"
