"""Bounded views of the application's objects, which may raise, load, pretend, be slow or be very large.

``repr()`` and ``str()`` are called on the thread that has the object, never on a thread of ours, and without
telemetry: what they do makes no span, no event and no breadcrumb. They are not called at all for objects that load
when looked at:

- An instance mapped by SQLAlchemy or Django is shown by its class and the attributes that are loaded.
- A proxy, a class that claims the ``__class__`` of another object, is shown by its class.
- A query or collection that fetches its items when it is iterated is shown by its class, or by what it has fetched.

Containers are walked, and large values are cut before they become text. The objects of one event share a budget of
time, which is checked between two objects. When it is used up, the rest is shown by class. Built-in values and
exceptions made of them run no code of the application's, so they need no budget: on a machine that stands still for a
moment, an error keeps its message.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple

from brain_otel.runtime.object_kinds import (
    CONTAINERS,
    HARMLESS,
    Members,
    args_of,
    data_of,
    fetches,
    fields_of,
    is_on_our_thread,
    is_proxy,
    members_of,
    name_of,
)
from brain_otel.runtime.quiet import budget, quiet
from brain_otel.runtime.text import beginning, left_out

MAX_LENGTH = 4_096
"""Characters or bytes of one value among a frame's variables, and of the text of any object."""

_MAX_BITS = 1_024
"""Bits of the largest integer whose digits are shown; the time for them is quadratic."""

_BUILT_IN = (str, int, float, dict, list, tuple)
"""Classes whose instances are shown beyond the budget of time: none of the application's code runs for them."""


class Shown(str):
    """The text of an object; its own ``repr()`` adds no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str.__str__(self)


class _Bounds(NamedTuple):
    depth: int
    items: int
    objects: int


_DATA = _Bounds(8, 1_000, 5_000)
_VARIABLES = _Bounds(5, 10, 1_000)  # sentry-sdk's
_TEXT = _Bounds(4, 50, 1_000)


def plain(value: Any, keep: tuple[type, ...] = ()) -> Any:
    """``value`` as dicts, lists, tuples and scalars; any other object as text, unless its class is in ``keep``."""
    return _view(_View(_DATA, repr, keep=keep), value)


def plain_text(value: Any) -> Any:
    """As :func:`plain`, with the ``str()`` of a single object; a container's ``repr()`` does not quote the texts."""
    write = repr if issubclass(type(value), CONTAINERS) else str
    return _view(_View(_DATA, write, leaf=Shown), value)


def variables(values: dict[str, Any]) -> Any:
    """The local variables of a frame as sentry-sdk shows them: bounded, with the ``repr()`` of each scalar."""
    return _view(_View(_VARIABLES, repr, is_quoted=True), values)


def safe_repr(value: Any, write: Callable[[Any], str] = repr) -> str:
    """``write(value)``, bounded; the class name in angle brackets if that fails."""
    return str(_view(_View(_TEXT, write, leaf=Shown, is_text=True), value))


def _view(view: _View, value: Any) -> Any:
    started = time.monotonic()
    shared = budget()
    view.deadline = started + shared.left
    with quiet():
        shown = view.show(value, view.bounds.depth)
    shared.left -= time.monotonic() - started
    return shown


class _View:
    """One look at an object and what is in it."""

    def __init__(
        self,
        bounds: _Bounds,
        write: Callable[[Any], str],
        *,
        keep: tuple[type, ...] = (),
        leaf: type[str] = str,
        is_quoted: bool = False,
        is_text: bool = False,
    ) -> None:
        self.bounds, self.keep, self.leaf = bounds, keep, leaf
        self.write, self.is_quoted, self.is_text = write, is_quoted, is_text
        self.deadline = 0.0
        self.objects = bounds.objects
        self.inside: set[int] = set()

    def show(self, value: Any, depth: int) -> Any:
        """``value``, ``depth`` levels above the bound."""
        kind = type(value)
        if value is None or kind is bool:
            return self.leaf(value) if self.is_quoted else value
        self.objects -= 1
        if self.objects < 0 or (kind not in _BUILT_IN and not issubclass(kind, BaseException) and self._is_late()):
            return self.leaf(name_of(kind))
        try:
            if kind in self.keep:
                return value
            if issubclass(kind, (str, int, float, bytes, bytearray)):
                return self._scalar(value, kind)
            return self._object(value, kind, depth)
        except Exception:  # an object may fail in any way
            return self.leaf(name_of(kind))

    def _is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def _scalar(self, value: Any, kind: Any) -> Any:
        if issubclass(kind, int):
            if int.bit_length(value) > _MAX_BITS:
                return self.leaf(f"<{kind.__name__} of {int.bit_length(value)} bits>")
        elif issubclass(kind, (bytes, bytearray, str)):
            return self._text(value, kind)
        if self.is_quoted or self.is_text:
            return self._call(value, kind)
        return value if kind in (int, float) else int(value) if issubclass(kind, int) else float(value)

    def _text(self, value: Any, kind: Any) -> Any:
        base: Any = str if issubclass(kind, str) else bytes if issubclass(kind, bytes) else bytearray
        length = base.__len__(value)
        if base is str and not self.is_quoted and not (self.is_text and self.write is repr):
            return (
                str.__str__(value) if length <= MAX_LENGTH * 8 or not self.is_text else self._cut(value, str, length)
            )
        if length <= MAX_LENGTH:
            return self._call(value, kind) if self.is_quoted or self.is_text else base(value)
        return self._cut(value, base, length)

    def _cut(self, value: Any, base: Any, length: int) -> Any:
        begin = base.__getitem__(value, slice(MAX_LENGTH + (base is str)))
        begin = beginning(begin, MAX_LENGTH) if base is str else begin
        if base is str and self.write is str:
            return self.leaf(begin + left_out(length - len(begin)))
        return self.leaf(f"{self.write(begin)}... {length:,} {'characters' if base is str else 'bytes'}")

    def _object(self, value: Any, kind: Any, depth: int) -> Any:
        if is_proxy(kind):
            return self.leaf(name_of(kind))
        if (text := data_of(value, kind)) is not None:
            return self._text(text, str)
        if issubclass(kind, BaseException) and (args := args_of(value, kind, self.write)):
            if self.write is not str:
                return self.leaf(f"{kind.__name__}({', '.join(self._nested(each, depth) for each in args)})")
            if issubclass(kind, OSError) and len(args) > 2:
                number, reason, *files = (self._nested(each, depth, str) for each in args)
                return self.leaf(f"[Errno {number}] {reason}: {' -> '.join(files)}")
            write = repr if issubclass(kind, KeyError) else str
            return self.leaf(self._nested(args[0] if len(args) == 1 else args, depth, write))
        if issubclass(kind, BaseException) and self._is_late() and not _is_plain(value, kind, self.write):
            return self.leaf(name_of(kind))
        members = members_of(value, kind)
        if members is None:
            return self._leaf(value, kind, depth)
        if depth <= 0:
            return self.leaf(name_of(kind) if self.is_text else self._nested(value, 1))
        if id(value) in self.inside:
            return self.leaf("<cyclic>")
        self.inside.add(id(value))
        try:
            return self._walk(members, kind, depth)
        finally:
            self.inside.discard(id(value))

    def _walk(self, members: Members, kind: Any, depth: int) -> Any:
        items = list(islice(members.items, self.bounds.items))
        more = members.length - len(items)
        if members.has_names:
            shown: Any = {self._key(name, depth): self.show(each, depth - 1) for name, each in items}
            if members.label is not None:
                shown = {"__class__": members.label, **shown}
            if more > 0 and depth < self.bounds.depth:
                shown["..."] = f"{more:,} more"
            return shown
        listed = [self.show(each, depth - 1) for each in items]
        if more > 0:
            listed.append(self.leaf(f"... {more:,} more"))
        return tuple(listed) if issubclass(kind, tuple) and not self.is_quoted else listed

    def _key(self, key: Any, depth: int) -> str:
        return key if type(key) is str else self._nested(key, depth, str)

    def _leaf(self, value: Any, kind: Any, depth: int) -> Any:
        if kind is datetime and not self.is_quoted and not self.is_text and self.leaf is str:
            return value
        if fetches(value, kind):
            return self.leaf(name_of(kind))
        fields = fields_of(value, kind)
        if fields is not None and (self.write is repr or kind.__str__ is object.__str__):
            if depth <= 0:
                return self.leaf(name_of(kind))
            texts = [f"{name}={self._nested(each, depth - 1)}" for name, each in islice(fields, 50)]
            name = "namespace" if kind is SimpleNamespace else kind.__qualname__
            return self.leaf(f"{name}({', '.join(texts)})")
        return self._call(value, kind)

    def _nested(self, value: Any, depth: int, write: Callable[[Any], str] = repr) -> str:
        """The text of ``value`` within the text of another object."""
        inner = _View(_TEXT, write, leaf=Shown, is_text=True)
        inner.deadline, inner.objects, inner.inside = self.deadline, self.objects, self.inside
        try:
            return str(inner.show(value, depth))
        finally:
            self.objects = inner.objects

    def _call(self, value: Any, kind: Any) -> Any:
        method = kind.__str__ if self.write is str and kind.__str__ is not object.__str__ else kind.__repr__
        if isinstance(method, FunctionType) and kind.__module__ not in HARMLESS and is_on_our_thread():
            return self.leaf(name_of(kind))
        text = self.write(value)
        if len(text) <= MAX_LENGTH * 8:
            return self.leaf(text)
        begin = beginning(text, MAX_LENGTH)
        return self.leaf(begin + left_out(len(text) - len(begin)))


def _is_plain(error: BaseException, kind: Any, write: Callable[[Any], str]) -> bool:
    """Whether the text of an exception runs no Python code."""
    method = kind.__str__ if write is str else kind.__repr__
    return not isinstance(method, FunctionType) and all(type(each) in (str, int, float) for each in error.args)
