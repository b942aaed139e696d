"""Tests of views of objects that load, lie or never end: they stay as they are, and the view ends."""

import asyncio
import functools
import itertools
import logging
import os
import sqlite3
import tracemalloc
import weakref
from abc import ABCMeta
from array import array
from collections import ChainMap, UserDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from inspect import signature
from io import IOBase
from operator import methodcaller
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import BaseModel, ConfigDict, RootModel, computed_field, field_validator

from brain_otel.events.attributes import attribute_value
from brain_otel.events.log_correlation import message_of_log
from brain_otel.runtime.quiet import one_clock
from brain_otel.runtime.safe_repr import facts, plain, plain_text, safe_repr, variables
from tests.support.yardstick import milliseconds

HERE = __name__
BIG = 20_000_000


class Calls:
    """What has been called of the classes below."""

    names: list[str] = []  # noqa: RUF012 - the one holder of this state

    @classmethod
    def add(cls, name: str) -> str:
        cls.names.append(name)
        return name


class Loading:
    """Whatever looks at it is noted."""

    def __repr__(self) -> str:
        return Calls.add("repr")

    def __getattr__(self, name: str) -> Any:
        return Calls.add(f"getattr {name}")

    def __eq__(self, other: object) -> bool:
        return bool(Calls.add("eq"))

    def __len__(self) -> int:
        return len(Calls.add("len"))

    def __iter__(self) -> Iterator[Any]:
        return iter(Calls.add("iter"))

    __hash__ = object.__hash__


class Query(Loading):
    """As a query of any library."""

    def filter(self, *_: object) -> "Query":
        return self

    def order_by(self, *_: object) -> "Query":
        return self


class LoadingMapping(dict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        return Calls.add("getitem")

    def __missing__(self, key: str) -> Any:
        return Calls.add("missing")

    def items(self) -> Any:
        return Calls.add("items")

    def __iter__(self) -> Iterator[Any]:
        return iter(Calls.add("iter"))


class Claiming(Loading):
    __class__ = property(lambda _: Calls.add("class"))


class OwnDict(Loading):
    """A class whose ``__dict__`` is loaded; its text is harmless."""

    __dict__ = property(lambda _: Calls.add("dict"))

    def __repr__(self) -> str:
        return "own"


class Meta(ABCMeta):
    def __instancecheck__(cls, instance: Any) -> bool:
        Calls.add("instancecheck")
        return False

    def __subclasscheck__(cls, subclass: Any) -> bool:
        Calls.add("subclasscheck")
        return False  # or everything in this process would be a mapping


class Checked(Mapping[str, int], metaclass=Meta):
    """Asking ``Mapping`` whether it has a subclass would ask this class."""


class User(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    age: int = 3

    @field_validator("name")
    @classmethod
    def check(cls, value: str) -> str:
        Calls.add("validator")
        return value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def orders(self) -> list[int]:
        Calls.add("computed")
        return [1]


class Numbers(RootModel[list[int]]):
    pass


@dataclass
class Account:
    name: str
    orders: Any = 0

    @cached_property
    def balance(self) -> int:
        Calls.add("cached")
        return 1


Account.orders = property(lambda _: Calls.add("property"), lambda *_: None)


async def futures() -> list[Any]:
    loop = asyncio.get_running_loop()
    done, pending = loop.create_future(), loop.create_future()
    done.set_result(Loading())
    pending.add_done_callback(partial(print, Loading()))
    return [done, pending, loop.call_soon(lambda _: None, Loading())]


def generator() -> Iterator[int]:
    Calls.add("generator")
    yield 1


LOADED = Loading()
KEPT = Loading()

UNTOUCHED: dict[str, Callable[[], Any]] = {
    "a query of any library": Query,
    "a dict whose methods load": lambda: LoadingMapping(a=1),
    "a class that claims another": Claiming,
    "a class with a `__dict__` of its own": OwnDict,
    "a mapping whose class is asked for subclasses": lambda: {1: Checked},
    "a model with a validator and a computed field": lambda: User.model_construct(name="a", extra=LOADED and [1]),
    "a root model": lambda: Numbers.model_construct([1]),
    "a dataclass with a property": lambda: Account("a"),
    "a generator": generator,
    "a map": lambda: map(Calls.add, ["map"]),
    "a weak proxy": lambda: weakref.proxy(KEPT),
    "a weak reference": lambda: weakref.ref(KEPT),
    "a repetition": lambda: itertools.repeat(Loading()),
    "a slice": lambda: slice(Loading()),
    "a method caller": lambda: methodcaller("a", Loading()),
    "bound arguments": lambda: signature(lambda a: a).bind(Loading()),
    "a log record": lambda: logging.makeLogRecord({"msg": Loading()}),
    "a future": lambda: asyncio.run(futures())[0],
    "a future with a callback": lambda: asyncio.run(futures())[1],
    "a call of the loop": lambda: asyncio.run(futures())[2],
    "a chain of mappings": lambda: ChainMap(LoadingMapping(a=1), {"b": 2}),
    "a view of a mapping": lambda: MappingProxyType(LoadingMapping(a=1)),
    "a wrapped mapping": lambda: UserDict({"a": LoadingMapping(a=1)}),
    "a mock": Mock,
    "a cursor": lambda: sqlite3.connect(":memory:").execute("SELECT 1"),
    "an open file": lambda: Path(os.devnull).open(),  # noqa: SIM115
}


def logged(value: Any) -> str:
    """The message of a record, as within `Logger.handle`."""
    with one_clock():
        return message_of_log(logging.makeLogRecord({"msg": "%s %r", "args": (value, [value])}))


LOOKS: dict[str, Callable[[Any], Any]] = {
    "variable": lambda value: variables({"a": value}),
    "data": lambda value: plain({"a": value}),
    "text of data": plain_text,
    "text": safe_repr,
    "str": lambda value: safe_repr(value, str),
    "attribute": attribute_value,
    "facts": lambda value: [attribute_value(each) for each in facts(value).values()],
    "log": logged,
    "message": lambda value: message_of_log(logging.makeLogRecord({"msg": value})),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_what_loads_is_not_looked_at(name: str) -> None:
    """In no view: nothing of the application's is called, and an iterator has all of its items."""
    value = UNTOUCHED[name]()
    Calls.names.clear()
    for look in LOOKS.values():
        look(value)
    assert Calls.names == []
    if issubclass(type(value), IOBase):
        value.close()
    if issubclass(type(value), sqlite3.Cursor):
        value.connection.close()


def test_the_state_of_an_iterator_or_a_cursor_stays() -> None:
    numbers, rows = iter([1, 2]), sqlite3.connect(":memory:").execute("SELECT 1")
    mock = Mock()
    for look in LOOKS.values():
        for value in (numbers, rows, mock):
            look(value)
    assert (list(numbers), list(rows), mock.mock_calls) == ([1, 2], [(1,)], [])
    rows.connection.close()


def test_what_is_known_of_an_object_is_shown() -> None:
    """Fields, items and names, where no code of the application's makes them."""
    assert safe_repr(User.model_validate({"name": "a", "more": 1})) == "User(name='a', age=3, more=1)"
    assert safe_repr(User.model_validate({"name": "a", "more": 1}), str) == "name='a' age=3 more=1"
    assert safe_repr(Numbers([1])) == "Numbers(root=[1])"
    assert safe_repr(Account("a")) == "Account(name='a', orders=<not loaded>)"
    assert plain(ChainMap({"a": 1}, {"a": 2, "b": 3})) == {"a": 1, "b": 3}
    assert plain(MappingProxyType(ChainMap({"a": 1}))) == plain(UserDict({"a": 1})) == {"a": 1}
    assert facts([("a", 1), ("b", 2)]) == facts({"a": 1, "b": 2})
    assert facts(None) == facts({}) == facts(ChainMap()) == {}
    assert facts("text") == {"value": "text"}


class Endless(Mapping[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        return key

    def __iter__(self) -> Iterator[int]:
        return itertools.count()

    def __len__(self) -> int:
        return sum(1 for _ in range(10_000_000))


class Busy(Endless):
    """Each item takes some time."""

    def __iter__(self) -> Iterator[int]:
        for number in itertools.count():
            sum(range(2_000))
            yield number


def nested(count: int) -> Any:
    value: Any = {}
    for _ in range(count):
        value = UserDict(a=value)
    return value


TEXT = "x" * BIG
LARGE: dict[str, Callable[[], Any]] = {
    "text": lambda: TEXT,
    "text of a subclass": lambda: type("Text", (str,), {})(TEXT),
    "texts": lambda: [TEXT] * 500,
    "different texts": lambda: {str(number): TEXT for number in range(500)},
    "long key": lambda: {TEXT: 1},
    "long keys in a tuple": lambda: {(TEXT, TEXT.encode()): 1},
    "bytes": lambda: bytes(BIG),
    "array": lambda: array("b", bytes(BIG)),
    "deque": lambda: deque(range(1_000_000)),
    "set": lambda: set(range(1_000_000)),
    "chain of many maps": lambda: ChainMap(*({number: number} for number in range(5_000))),
    "chain of a large map": lambda: ChainMap(dict.fromkeys(range(1_000_000))),
    "view of a chain": lambda: MappingProxyType(ChainMap(dict.fromkeys(range(1_000_000)))),
    "wrapped mapping": lambda: UserDict(dict.fromkeys(range(1_000_000))),
    "keys of a wrapped mapping": lambda: UserDict(dict.fromkeys(range(1_000_000))).keys(),
    "nested mappings": lambda: nested(1_000),
    "mapping without end": Endless,
    "slow mapping": Busy,
    "exception of many arguments": lambda: ValueError(*range(1_000_000)),
    "exception of a long text": lambda: KeyError(TEXT),
    "lists in lists": lambda: [[["y" * 50] * 50] * 50] * 50,
    "range": lambda: range(10**9),
    "counter": itertools.count,
}


@functools.cache
def large(name: str) -> Any:
    """The value of this name, made once: to make it takes longer than to look at it."""
    return LARGE[name]()


@pytest.mark.parametrize("name", LARGE)
def test_a_large_or_endless_value_takes_little(name: str) -> None:
    """In each view, of time and of memory."""
    value = large(name)
    for look in LOOKS.values():
        assert milliseconds(partial(look, value), 20) < 20
    tracemalloc.start()
    for look in LOOKS.values():
        look(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20
