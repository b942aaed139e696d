"""Runs code of the application's within our own, such as a ``repr()``, without telemetry and within a budget.

The budget bounds the time of that code, and the characters that are masked.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.text import MAX_TEXT

MAX_SECONDS = 0.01
"""How long the application's code may take for the objects of one event, waiting included."""

SLOW = 0.002
"""Seconds from which on the text of an object is kept for the rest of its event."""

MAX_CPU_SECONDS = 0.008
"""CPU time of looking at the objects of one event, ours included; a busy machine does not use it up."""

MAX_SHOWN = 131_072
"""Characters of the long texts in one event's objects; of those that come after them, only the beginning is shown."""

MAX_CHARACTERS = 16_384
"""Characters of one event's long texts that are masked, which takes time; the texts are cut before."""


T = TypeVar("T")


class Bounds(NamedTuple):
    """How much of an object is shown."""

    depth: int
    items: int
    objects: int
    characters: int


TEXT = Bounds(4, 50, 1_000, 65_536)
"""Of a single object, and of a text within a text."""


class _State:
    looking: ContextVar[bool] = ContextVar("brain_otel.looking", default=False)
    budget: ContextVar[_Budget | None] = ContextVar("brain_otel.budget", default=None)
    clock: ContextVar[Clock | None] = ContextVar("brain_otel.clock", default=None)


@cache
def _quiet_context() -> Context:
    """A context without a span in which nothing is instrumented."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation  # `import brain_otel` stays cheap

    def suppressed() -> Context:
        with suppress_instrumentation():
            return otel_context.get_current()

    return contextvars.Context().run(suppressed)


class Clock:
    """The time that is left for the application's code."""

    __slots__ = ("cpu_left", "left", "slow")

    def __init__(self) -> None:
        self.left, self.cpu_left = MAX_SECONDS, MAX_CPU_SECONDS
        self.slow: dict[tuple[int, object], tuple[Any, str]] = {}
        """Objects whose text takes long, and that text, by id and function; few fit into the time."""

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function of the application's, or one that may call some, and subtract the time it takes."""
        started = time.monotonic()
        try:
            return function(*args)
        finally:
            self.left -= time.monotonic() - started

    def text_of(self, value: Any, write: Callable[[Any], str]) -> str:
        """The text that ``write`` makes of ``value``; one that takes long is made once."""
        key = (id(value), write)
        if key in self.slow:
            return self.slow[key][1]
        before = self.left
        text = self.call(write, value)
        if before - self.left > SLOW:
            self.slow[key] = (value, text)
        return text


class _Budget:
    """The budget that is left for one event."""

    __slots__ = ("characters", "clock", "masked", "shown")

    def __init__(self, characters: int) -> None:
        self.clock = _State.clock.get() or Clock()
        self.shown = MAX_SHOWN
        self.characters = characters
        self.masked: dict[tuple[object, str], str] = {}
        """Masked forms of long texts, by policy and text: most occur several times in an event."""


class one_budget:  # noqa: N801 - reads as a statement: `with one_budget():`
    """Everything that is viewed in the block, such as the parts of one event, shares a budget."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _State.budget.set(_Budget(MAX_CHARACTERS)) if _State.budget.get() is None else None

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _State.budget.reset(self._token)


class one_clock:  # noqa: N801 - as `one_budget`
    """Everything that is viewed in the block shares the time alone: a log record and the event that it becomes."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _State.clock.set(Clock()) if _State.clock.get() is None else None

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _State.clock.reset(self._token)


is_looking: Callable[[], bool] = _State.looking.get
"""Whether this code runs within a ``repr()`` or ``str()`` that we called: nothing is recorded then."""


def budget() -> _Budget:
    """The budget of the block; outside of one, that of a single text."""
    return _State.budget.get() or _Budget(MAX_TEXT)


def clock() -> Clock:
    """The time that is left in the block; outside of one, that of a single text."""
    return budget().clock


def in_time(items: Iterable[T]) -> Iterator[T]:
    """The items that an iterator of the application's makes before the time of the event is used up."""
    left = clock()
    iterator = left.call(iter, items)
    while left.left > 0:
        try:
            each = left.call(next, iterator)
        except StopIteration:
            return
        yield each


class quiet:  # noqa: N801 - as `one_budget`
    """Code of the application's that runs in the block records nothing."""

    __slots__ = ("_context", "_looking")

    def __enter__(self) -> None:
        self._context = otel_context.attach(_quiet_context())
        self._looking = _State.looking.set(True)  # last, since the line above may raise where the stack ends

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._context)
        _State.looking.reset(self._looking)
