"""Tells how an object can be shown without loading anything: by its members, its fields, its text or its class."""

import dataclasses
import gc
import itertools
import threading
from array import array
from collections import ChainMap, OrderedDict, UserDict, UserList, UserString, deque
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextvars import ContextVar, Token
from functools import partial
from inspect import BoundArguments
from itertools import islice
from logging import LogRecord
from operator import methodcaller
from types import (
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    SimpleNamespace,
)
from typing import Any
from weakref import CallableProxyType, ProxyType, ReferenceType

from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.object_size import HARMLESS
from brain_otel.runtime.text import word_set

_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, deque, array)

_FETCHING = word_set("""
    _asyncio asyncio.events asyncio.futures asyncio.queues asyncio.tasks sqlalchemy.ext.associationproxy
    sqlalchemy.orm.dynamic sqlalchemy.orm.query django.db.models.manager peewee tortoise.queryset pony.orm.core
""")
"""Modules whose objects run statements when they are iterated or written out, or write out what they hold: the
result of a future, the callbacks of a task, the items of a queue."""

_HOLDING: tuple[Any, ...] = (
    *(ContextVar, Token, BoundArguments, LogRecord, methodcaller, slice),
    *(itertools.count, itertools.repeat, ReferenceType),
)
"""Classes whose text has the ``repr()`` of the object that they hold, or asks it for an attribute."""

_QUERY = (("order_by",), ("filter", "filter_by", "where"), ("__iter__", "__aiter__", "__await__", "__len__"))
"""A class with one method of each kind is a query, whatever its library."""

_PROXIES = (ProxyType, CallableProxyType)

_MAX_MAPS = 100
"""Maps of a ``ChainMap`` that are looked at, and mappings within each other."""

_REGISTERED = frozenset({"multidict", "immutables", "frozendict"})
"""Libraries whose mappings do not inherit from ``Mapping``; to ask it whether they are its subclasses would call
methods of all classes that do."""


_PLAIN = (str, bytes, int, float, bool)
_MAX_ARGS = 100
_MAX_PLAIN = 4_096
_MAX_NAME = 256

_EMPTY: tuple[dict[Any, Any], ...] = ({}, OrderedDict())
_VIEWS = frozenset(type(view) for each in _EMPTY for view in (each.keys(), each.values(), each.items()))
_ABSTRACT_VIEWS: frozenset[Any] = frozenset({KeysView, ValuesView, ItemsView})


class _NotLoaded:
    def __repr__(self) -> str:
        return "<not loaded>"


_NOT_LOADED = _NotLoaded()
"""Stands for a field that a method of the application's makes or loads."""


class _Pair(NamedTuple):
    name: str


_NAMED_TUPLE_REPR = _Pair.__repr__.__code__
"""The code of the text that the class of a named tuple has, unless it is overridden."""


class Members(NamedTuple):
    """The items of a container, or the loaded attributes of an instance."""

    items: Iterator[Any]
    length: int | None
    """None if only code of the application's knows it."""
    has_names: bool
    label: str | None = None


def members_of(value: Any, kind: Any) -> Members | None:
    """The members of ``value``; None if it is shown as one text. The methods of the built-in classes are called."""
    while type(value) is MappingProxyType:
        value = gc.get_referents(value)[0]
        kind = type(value)
    if (members := _of_built_in(value, kind)) is not None:
        return members
    attributes = _attributes(value)
    if _is_mapped(kind, attributes):
        loaded = {name: each for name, each in attributes.items() if type(name) is str and not name.startswith("_")}
        return Members(iter(loaded.items()), len(loaded), True, name_of(kind).strip("<>"))
    # A queryset of Django or mongoengine has fetched its items once it has a list of them.
    items = attributes.get("data" if issubclass(kind, (UserList, UserDict)) else "_result_cache")
    if type(items) in (list, dict):
        return members_of(items, type(items))
    if issubclass(kind, ChainMap) and type(maps := attributes.get("maps")) is list:
        return Members(_chained(maps), None, True)
    if kind.__module__ == "sqlalchemy.engine.row" and kind.__name__ == "Row":
        return members_of(tuple(value), tuple)
    if fetches(value, kind) or is_on_our_thread():
        return None
    if not _ABSTRACT_VIEWS.isdisjoint(kind.__mro__):
        return Members(iter(value), None, False)
    if Mapping in kind.__mro__ or (_module(kind).partition(".")[0] in _REGISTERED and hasattr(kind, "items")):
        return Members(iter(value.items()), None, True)
    return None


def is_container(kind: Any) -> bool:
    """Whether ``kind`` is a built-in container, or a subclass of one."""
    return issubclass(kind, (dict, *_SEQUENCES))


def _of_built_in(value: Any, kind: Any) -> Members | None:
    if issubclass(kind, dict):
        return Members(iter(dict.items(value)), dict.__len__(value), True)
    for base in () if is_named_tuple(kind) else _SEQUENCES:
        if issubclass(kind, base):
            return Members(base.__iter__(value), base.__len__(value), False)
    return Members(iter(value), len(value), False) if kind in _VIEWS else None


def _chained(maps: list[Any]) -> Iterator[tuple[Any, Any]]:
    """The items of a ``ChainMap``, whose own methods walk all of the maps for each key."""
    seen = set()
    for each in islice(maps, _MAX_MAPS):
        members = None if is_proxy(type(each)) else members_of(each, type(each))
        for key, value in members.items if members is not None and members.has_names else ():
            if key not in seen:
                seen.add(key)
                yield key, value


def is_named_tuple(kind: Any) -> bool:
    """Whether ``kind`` is a tuple with names, which is one value and not a list."""
    return issubclass(kind, tuple) and type(getattr(kind, "_fields", None)) is tuple


def _is_mapped(kind: Any, attributes: dict[str, Any]) -> bool:
    if any("_sa_class_manager" in base.__dict__ for base in kind.__mro__):
        return True
    return "_state" in attributes and type(attributes["_state"]).__module__ == "django.db.models.base"


def is_proxy(kind: Any) -> bool:
    """Whether ``kind`` claims to be the class of its target, which ``isinstance()`` alone would load."""
    return kind in _PROXIES or any("__class__" in base.__dict__ for base in kind.__mro__[:-1])


def fetches(value: Any, kind: Any) -> bool:
    """Whether ``value`` runs statements when it is iterated or written out, or writes out an object that may."""
    if issubclass(kind, _HOLDING) or "_result_cache" in _attributes(value):
        return True
    return any(_module(base) in _FETCHING for base in kind.__mro__) or _is_query(kind)


def _is_query(kind: Any) -> bool:
    names = set().union(*(base.__dict__ for base in kind.__mro__[:-1]))
    return "order_by" in names and all(not names.isdisjoint(some) for some in _QUERY)


def _module(kind: Any) -> str:
    """The module of a class, whose metaclass may answer anything."""
    return str(type.__getattribute__(kind, "__module__"))


def _attributes(value: Any) -> dict[str, Any]:
    for base in type(value).__mro__:
        if "__dict__" in base.__dict__:
            if type(base.__dict__["__dict__"]) is not GetSetDescriptorType:
                return {}
            break
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def data_of(value: Any, kind: Any) -> str | None:
    """The text that a ``UserString`` holds; None for anything else."""
    found = _attributes(value).get("data") if issubclass(kind, UserString) else None
    return found if type(found) is str else None


def fields_of(value: Any, kind: Any) -> Iterable[tuple[str, Any]] | None:
    """The fields that a generated ``__repr__`` shows, such as a dataclass's; None if somebody has written it."""
    written: Any = kind.__repr__
    if is_named_tuple(kind) and getattr(written, "__code__", None) is _NAMED_TUPLE_REPR:
        return zip(kind._fields, tuple.__iter__(value), strict=False)
    if kind is SimpleNamespace:
        return list(islice(vars(value).items(), 51))
    if issubclass(kind, partial):
        return [("func", value.func), ("args", value.args), ("keywords", value.keywords)]
    if kind is MethodType:
        return [("__func__", value.__func__), ("__self__", value.__self__)]
    if not isinstance(written, FunctionType) or is_on_our_thread():
        return None
    file = getattr(getattr(written, "__wrapped__", written), "__code__", written.__code__).co_filename
    if file == "<string>" and dataclasses.is_dataclass(kind):
        names = [each.name for each in dataclasses.fields(kind) if each.repr]
    elif file.startswith("<attrs generated"):
        names = [each.name for each in kind.__attrs_attrs__ if each.repr]
    elif written.__module__ == "pydantic.main":
        names = [name for name, each in kind.model_fields.items() if each.repr]
        names += object.__getattribute__(value, "__pydantic_extra__") or ()
    else:
        return None
    return ((name, _field(value, name)) for name in names)


def _field(value: Any, name: str) -> Any:
    """The field ``name``, without the application's properties and ``__getattr__``, which may load it."""
    attributes = _attributes(value)
    if name in attributes:
        return attributes[name]
    if any("__pydantic_fields__" in base.__dict__ for base in type(value).__mro__):
        return (object.__getattribute__(value, "__pydantic_extra__") or {}).get(name, _NOT_LOADED)
    found = next((base.__dict__[name] for base in type(value).__mro__ if name in base.__dict__), _NOT_LOADED)
    if type(found) is MemberDescriptorType:
        return found.__get__(value)
    return _NOT_LOADED if hasattr(type(found), "__get__") else found


def args_of(error: BaseException, kind: Any, write: Callable[[Any], str]) -> tuple[Any, ...]:
    """The arguments of an exception whose text they are; empty if its class has written another one.

    The interpreter's own texts, such as that of ``KeyError``, have the ``repr()`` of the arguments: of an ``OSError``
    also its files. They are left to the interpreter if all of them are plain.
    """
    name = "__str__" if write is str else "__repr__"
    method = getattr(kind, name)
    if method is getattr(BaseException, name):
        return error.args
    if isinstance(method, FunctionType) or issubclass(kind, BaseExceptionGroup):
        return ()
    files = [getattr(error, each, None) for each in ("filename", "filename2")]
    args = error.args
    if len(args) > _MAX_ARGS:
        return args
    args = (*args, *(each for each in files if each is not None))
    return () if all(map(_is_plain, args)) else args


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is tuple:
        return len(value) <= _MAX_ARGS and all(map(_is_plain, value))
    if kind in (str, bytes):
        return len(value) <= _MAX_PLAIN
    return value is None or kind in _PLAIN or _module(kind).partition(".")[0] in HARMLESS


def name_of(kind: Any) -> str:
    """The name of a class, in place of the text of its instance."""
    name = type.__getattribute__(kind, "__qualname__")
    return f"<{_module(kind)}.{name[:_MAX_NAME]}>"


def is_on_our_thread() -> bool:
    """Whether the current thread is brain_otel's, which has none of the application's objects."""
    return threading.current_thread().name.startswith("brain_otel")
