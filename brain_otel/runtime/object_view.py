"""One look at an object and what is in it, within bounds of depth, items, characters and time."""

import time
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from types import FunctionType, SimpleNamespace
from typing import Any

from brain_otel.runtime.object_kinds import (
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
from brain_otel.runtime.object_size import HARMLESS, has_large_text
from brain_otel.runtime.quiet import TEXT, Bounds, Clock
from brain_otel.runtime.text import MAX_SHORT, MAX_TEXT, MIN_LONG, beginning, omitted, shortened

MAX_LENGTH = 4_096
"""Characters or bytes of one value among a frame's variables, and of the text of any object."""

_MAX_BITS = 1_024
"""Bits of the largest integer whose digits are shown; the time for them is quadratic."""

_BUILT_IN = (str, int, float, dict, list, tuple)
"""Classes whose instances are shown beyond the budget of time: none of the application's code runs for them."""

_END = object()
"""Follows the last member of a container."""

_MAX_KEY = 512
"""Characters of a key."""


class Shown(str):
    """The text of an object; its own ``repr()`` adds no quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str.__str__(self)


class View:
    """One look at an object and what is in it."""

    clock: Clock

    def __init__(
        self,
        bounds: Bounds,
        write: Callable[[Any], str],
        *,
        keep: tuple[type, ...] = (),
        leaf: type[str] = str,
        is_quoted: bool = False,
        is_text: bool = False,
    ) -> None:
        self.bounds, self.keep, self.leaf = bounds, keep, leaf
        self.write, self.is_quoted, self.is_text = write, is_quoted, is_text
        self.cpu_deadline = 0.0
        self.objects, self.characters = bounds.objects, bounds.characters
        self.taken = 0
        """Of ``characters``, those that other objects of the event have used up."""
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

    def facts(self, data: Any) -> dict[str, Any]:
        """See :func:`facts`."""
        try:
            kind = type(data)
            is_one = is_proxy(kind) or data_of(data, kind) is not None
            members = None if is_one else self.clock.call(members_of, data, kind)
            if members is None:
                return {"value": data}
            items, more = self._first(members)
            if not members.has_names:
                items = [tuple(each) for each in items if type(each) in (list, tuple) and len(each) == 2]
            if not items and more is not None:
                return {"value": data} if members.length else {}
            found = {self._key(name, self.bounds.depth): each for name, each in items}
            return found if more is None else {**found, "...": more}
        except Exception:  # the application's own mapping may fail in any way
            return {"value": name_of(type(data))}

    def _is_late(self) -> bool:
        return self.clock.left <= 0 or time.thread_time() > self.cpu_deadline

    def _scalar(self, value: Any, kind: Any) -> Any:
        if issubclass(kind, int):
            if int.bit_length(value) > _MAX_BITS:
                return self.leaf(f"<{kind.__name__} of {int.bit_length(value)} bits>")
        elif issubclass(kind, (bytes, bytearray, str)):
            return self._text(value, kind)
        if self.is_quoted or self.is_text:
            return self._call(value, kind)
        return int.__int__(value) if issubclass(kind, int) else float.__float__(value)

    def _text(self, value: Any, kind: Any) -> Any:
        base: Any = str if issubclass(kind, str) else bytes if issubclass(kind, bytes) else bytearray
        length = base.__len__(value)
        if length <= MAX_SHORT and not self.is_text and (kind is str or (base is str and not self.is_quoted)):
            return (
                self.leaf(self.write(value)) if self.is_quoted else str.__str__(value)
            )  # an id of Sentry's protocol?
        if base is str and not self.is_quoted and not (self.is_text and self.write is repr):
            return self._cut(value, str, length) if self.is_text and length > MAX_TEXT else self._data(value, length)
        if self.characters <= 0 < length:
            return self.leaf(omitted(length).strip())
        if length > min(MAX_LENGTH, self._room()):
            return self._cut(value, base, length)
        self.characters -= length
        return self._call(value, kind) if self.is_quoted or self.is_text else base(value)

    def _room(self) -> int:
        """Characters of a long text that are shown; a beginning, even if the event has used up its budget."""
        return min(self.characters, max(self.characters - self.taken, MIN_LONG))

    def _data(self, value: str, length: int) -> str:
        if self.characters <= 0 < length:
            return omitted(length).strip()
        text = shortened(value, min(MAX_TEXT, self._room()))
        self.characters -= min(length, str.__len__(text))
        return text if type(text) is str else str.__str__(text)

    def _cut(self, value: Any, base: Any, length: int) -> Any:
        limit = max(1, min(MAX_LENGTH, self._room()))
        begin = beginning(value, limit) if base is str else base.__getitem__(value, slice(limit))
        self.characters -= len(begin)
        if base is str and self.write is str:
            return self.leaf(begin + omitted(length - len(begin)))
        return self.leaf(f"{self.write(begin)}... {length:,} {'characters' if base is str else 'bytes'}")

    def _object(self, value: Any, kind: Any, depth: int) -> Any:
        if is_proxy(kind):
            return self.leaf(name_of(kind))
        if (text := data_of(value, kind)) is not None:
            return self._text(text, str)
        if issubclass(kind, BaseException) and (args := self.clock.call(args_of, value, kind, self.write)):
            if self.write is not str:
                given = [self._nested(each, depth) for each in args[: TEXT.items]]
                given += [f"... {len(args) - len(given):,} more"] if len(args) > len(given) else []
                return self.leaf(f"{kind.__name__}({', '.join(given)})")
            if issubclass(kind, OSError) and 2 < len(args) < 6:
                number, reason, *files = (self._nested(each, depth, str) for each in args)
                return self.leaf(f"[Errno {number}] {reason}: {' -> '.join(files)}")
            write = repr if issubclass(kind, KeyError) else str
            return self.leaf(self._nested(args[0] if len(args) == 1 else args, depth, write))
        if issubclass(kind, BaseException) and self._is_late() and not _is_plain(value, kind, self.write):
            return self.leaf(name_of(kind))
        members = self.clock.call(members_of, value, kind)
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
        items, more = self._first(members)
        if members.has_names:
            shown: Any = {self._key(name, depth): self.show(each, depth - 1) for name, each in items}
            if members.label is not None:
                shown = {"__class__": members.label, **shown}
            if more is not None and depth < self.bounds.depth:
                shown["..."] = more
            return shown
        listed = [self.show(each, depth - 1) for each in items]
        if more is not None:
            listed.append(self.leaf(f"... {more}"))
        return tuple(listed) if issubclass(kind, tuple) and not self.is_quoted else listed

    def _first(self, members: Members) -> tuple[list[Any], str | None]:
        """The first members, and how many more there are; None: no more."""
        if members.length is not None:
            items = list(islice(members.items, self.bounds.items))
            more = members.length - len(items)
            return items, f"{more:,} more" if more > 0 else None
        items = []
        while (each := self.clock.call(next, members.items, _END)) is not _END:  # may be slow, or never end
            if len(items) >= self.bounds.items or self._is_late():
                return items, "more"
            items.append(each)
        return items, None

    def _key(self, key: Any, depth: int) -> str:
        text = key if type(key) is str else self._nested(key, depth, str)
        self.characters -= min(len(text), _MAX_KEY)
        return text if len(text) <= _MAX_KEY else beginning(text, _MAX_KEY)

    def _leaf(self, value: Any, kind: Any, depth: int) -> Any:
        if kind is datetime and not self.is_quoted and not self.is_text and self.leaf is str:
            return value
        if fetches(value, kind):
            return self.leaf(name_of(kind))
        fields = self.clock.call(fields_of, value, kind)
        is_repr = self.write is repr or kind.__str__ is object.__str__
        if fields is not None and (is_repr or getattr(kind.__str__, "__module__", "") == "pydantic.main"):
            if depth <= 0:
                return self.leaf(name_of(kind))
            texts = [f"{name}={self._nested(each, depth - 1)}" for name, each in islice(fields, 50)]
            if not is_repr:  # pydantic's own
                return self.leaf(" ".join(texts))
            name = "namespace" if kind is SimpleNamespace else kind.__qualname__
            return self.leaf(f"{name}({', '.join(texts)})")
        return self.leaf(name_of(kind)) if has_large_text(value, self._method(kind)) else self._call(value, kind)

    def _nested(self, value: Any, depth: int, write: Callable[[Any], str] = repr) -> str:
        """The text of ``value`` within the text of another object."""
        inner = View(TEXT, write, leaf=Shown, is_text=True)
        inner.clock, inner.cpu_deadline, inner.inside = self.clock, self.cpu_deadline, self.inside
        inner.taken = self.taken
        inner.objects, inner.characters = self.objects, self.characters
        try:
            return str(inner.show(value, depth))
        finally:
            self.objects, self.characters = inner.objects, inner.characters

    def _method(self, kind: Any) -> Any:
        """The function that writes the text of an instance of ``kind``."""
        return kind.__str__ if self.write is str and kind.__str__ is not object.__str__ else kind.__repr__

    def _call(self, value: Any, kind: Any) -> Any:
        method = self._method(kind)
        if isinstance(method, FunctionType) and kind.__module__ not in HARMLESS and is_on_our_thread():
            return self.leaf(name_of(kind))
        text = self.write(value) if kind in _BUILT_IN else self.clock.text_of(value, self.write)
        if len(text) <= MAX_TEXT:
            self.characters -= len(text)
            return self.leaf(text)
        begin = beginning(text, MAX_LENGTH)
        self.characters -= len(begin)
        return self.leaf(begin + omitted(len(text) - len(begin)))


def _is_plain(error: BaseException, kind: Any, write: Callable[[Any], str]) -> bool:
    """Whether the text of an exception runs no Python code."""
    method = kind.__str__ if write is str else kind.__repr__
    args = error.args
    return not isinstance(method, FunctionType) and all(type(each) in (str, int, float) for each in args[:100])
