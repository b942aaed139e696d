"""Generic classes and protocols of ours are plain classes while code runs."""

import typing
from typing import TypeVar

import pytest

from brain_otel.runtime.generic import Generic, Protocol

T = TypeVar("T")


class Box(Generic[T]):
    __slots__ = ("item",)

    def __init__(self, item: T) -> None:
        self.item = item


class Named(Protocol):
    name: str


@pytest.mark.parametrize("kind", [Box, Named])
def test_a_class_does_not_inherit_from_typing(kind: type) -> None:
    """To make such a class takes five times as long."""
    assert typing.Generic not in kind.__mro__
    assert type(kind) is type


def test_a_class_with_a_parameter_is_the_class() -> None:
    box = Box[int](1)
    assert type(box) is Box
    assert not hasattr(box, "__dict__")
