"""Tells how an object can be shown without loading anything: by its members, its fields, its text or its class."""

import dataclasses
import threading
from array import array
from collections import UserList, UserString, deque
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextvars import ContextVar, Token
from functools import partial
from types import FunctionType, MappingProxyType, MethodType, SimpleNamespace
from typing import Any, NamedTuple

_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, deque, array)

CONTAINERS = (dict, *_SEQUENCES)

_FETCHING = frozenset(
    {
        "asyncio.queues",
        "sqlalchemy.ext.associationproxy",
        "sqlalchemy.orm.dynamic",
        "sqlalchemy.orm.query",
        "django.db.models.manager",
        "peewee",
        "tortoise.queryset",
        "pony.orm.core",
    }
)
"""Modules whose objects run statements when they are iterated or written out; an asyncio queue holds anything."""

_HOLDING = (ContextVar, Token)
"""Classes whose text has the ``repr()`` of the object that they hold, as that of a finished asyncio future has."""


_PLAIN = (str, bytes, int, float, bool)

HARMLESS = frozenset({"datetime", "decimal", "enum", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"})
"""Modules whose objects may be written out on any thread."""


class _Pair(NamedTuple):
    name: str


_NAMED_TUPLE_REPR = _Pair.__repr__.__code__
"""The code of the text that the class of a named tuple has, unless it is overridden."""


class Members(NamedTuple):
    """The items of a container, or the loaded attributes of an instance."""

    items: Iterator[Any]
    length: int
    has_names: bool
    label: str | None = None


def members_of(value: Any, kind: Any) -> Members | None:
    """The members of ``value``; None if it is shown as one text. The methods of the built-in classes are called."""
    if issubclass(kind, dict):
        return Members(iter(dict.items(value)), dict.__len__(value), True)
    for base in () if is_named_tuple(kind) else _SEQUENCES:
        if issubclass(kind, base):
            return Members(base.__iter__(value), base.__len__(value), False)
    attributes = _attributes(value)
    if _is_mapped(kind, attributes):
        loaded = {name: each for name, each in attributes.items() if type(name) is str and not name.startswith("_")}
        return Members(iter(loaded.items()), len(loaded), True, name_of(kind).strip("<>"))
    # A queryset of Django or mongoengine has fetched its items once it has a list of them.
    items = attributes.get("data" if issubclass(kind, UserList) else "_result_cache")
    if type(items) is list:
        return members_of(items, list)
    if kind.__module__ == "sqlalchemy.engine.row" and kind.__name__ == "Row":
        return members_of(tuple(value), tuple)
    if fetches(value, kind) or is_on_our_thread():
        return None
    if kind is MappingProxyType or issubclass(kind, Mapping):
        return Members(iter(value.items()), len(value), True)
    if issubclass(kind, (KeysView, ValuesView, ItemsView)) and kind.__module__ == "builtins":
        return Members(iter(value), len(value), False)
    return None


def is_named_tuple(kind: Any) -> bool:
    """Whether ``kind`` is a tuple with names, which is one value and not a list."""
    return issubclass(kind, tuple) and type(getattr(kind, "_fields", None)) is tuple


def _is_mapped(kind: Any, attributes: dict[str, Any]) -> bool:
    if any("_sa_class_manager" in base.__dict__ for base in kind.__mro__):
        return True
    return "_state" in attributes and type(attributes["_state"]).__module__ == "django.db.models.base"


def is_proxy(kind: Any) -> bool:
    """Whether ``kind`` claims to be the class of its target, which ``isinstance()`` alone would load."""
    return any("__class__" in base.__dict__ for base in kind.__mro__[:-1])


def fetches(value: Any, kind: Any) -> bool:
    """Whether ``value`` runs statements when it is iterated or written out, or writes out an object that may."""
    if kind in _HOLDING or (kind.__module__ == "_asyncio" and value.done()):
        return True
    return "_result_cache" in _attributes(value) or any(base.__module__ in _FETCHING for base in kind.__mro__)


def _attributes(value: Any) -> dict[str, Any]:
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
        return list(vars(value).items())
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
        args: list[tuple[str, Any]] = [pair for pair in value.__repr_args__() if pair[0] is not None]
        return args
    else:
        return None
    return ((name, getattr(value, name)) for name in names)


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
    args = (*error.args, *(each for each in files if each is not None))
    return () if all(map(_is_plain, args)) else args


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is tuple:
        return all(map(_is_plain, value))
    return value is None or kind in _PLAIN or kind.__module__.partition(".")[0] in HARMLESS


def name_of(kind: Any) -> str:
    """The name of a class, in place of the text of its instance."""
    return f"<{kind.__module__}.{kind.__qualname__}>"


def is_on_our_thread() -> bool:
    """Whether the current thread is brain_otel's, which has none of the application's objects."""
    return threading.current_thread().name.startswith("brain_otel")
