"""Runs code of the application's within our own, such as a ``repr()``, without telemetry and within a budget.

The budget bounds the time of that code, and the characters that are masked.
"""

from __future__ import annotations

import contextvars
from contextvars import ContextVar
from functools import cache

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from brain_otel.runtime.text import MAX_TEXT

MAX_SECONDS = 0.05
"""How long the objects of one event may take together, waiting included."""

MAX_CPU_SECONDS = 0.008
"""CPU time that they may take; a busy machine does not use it up."""

MAX_SHOWN = 131_072
"""Characters of the long texts in one event's objects; of those that come after them, only the beginning is shown."""

MAX_CHARACTERS = 16_384
"""Characters of one event's long texts that are masked, which takes time; the texts are cut before."""


class _State:
    looking: ContextVar[bool] = ContextVar("brain_otel.looking", default=False)
    budget: ContextVar[_Budget | None] = ContextVar("brain_otel.budget", default=None)


@cache
def _quiet_context() -> Context:
    """A context without a span in which nothing is instrumented."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation  # `import brain_otel` stays cheap

    def suppressed() -> Context:
        with suppress_instrumentation():
            return otel_context.get_current()

    return contextvars.Context().run(suppressed)


class _Budget:
    """The budget that is left for one event."""

    __slots__ = ("characters", "cpu_left", "left", "masked", "shown")

    def __init__(self, characters: int) -> None:
        self.left, self.cpu_left = MAX_SECONDS, MAX_CPU_SECONDS
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


def is_looking() -> bool:
    """Whether this code runs within a ``repr()`` or ``str()`` that we called: nothing is recorded then."""
    return _State.looking.get()


def budget() -> _Budget:
    """The budget of the block; outside of one, that of a single text."""
    return _State.budget.get() or _Budget(MAX_TEXT)


class quiet:  # noqa: N801 - as `one_budget`
    """Code of the application's that runs in the block records nothing."""

    __slots__ = ("_context", "_looking")

    def __enter__(self) -> None:
        self._context = otel_context.attach(_quiet_context())
        self._looking = _State.looking.set(True)  # last, since the line above may raise where the stack ends

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._context)
        _State.looking.reset(self._looking)
