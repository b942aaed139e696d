"""``repr()`` and ``str()`` of the application's objects, which may raise, block or never return.

Those that are Python code run on a thread, in a copy of the context, for up to :data:`MAX_SECONDS`. The class name
replaces the text of an object that does not answer, and of all objects of its class from then on.
"""

from __future__ import annotations

import contextvars
import threading
import time
from contextlib import suppress
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.thread_pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SECONDS = 0.1
"""How long to wait for one object."""

MAX_HANGING = 8
"""Threads that hang, at most; with more, no Python code is called."""


class _Representer:
    """Calls ``repr`` or ``str`` on threads, and remembers which classes do not answer."""

    def __init__(self) -> None:
        self.silent: WeakSet[type] = WeakSet()
        self._pool = ThreadPool("brain_otel.repr")
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self._deadlines: dict[object, float] = {}
        """When each running call has to be done."""

    def text(self, value: Any, write: Callable[[Any], str]) -> str | None:
        """The text, or None if ``write`` raises, does not return in time, or there is no thread for it."""
        now = time.monotonic()
        if sum(deadline < now for deadline in list(self._deadlines.values())) >= MAX_HANGING:
            return None
        done = threading.Event()
        result: list[str] = []
        context = contextvars.copy_context()

        def call() -> None:
            try:
                result.append(str(context.run(write, value)))
            except BaseException:  # noqa: S110 - the result stays empty
                pass
            finally:
                self._deadlines.pop(done, None)
                done.set()

        self._deadlines[done] = now + MAX_SECONDS
        if not self._pool.start(call):
            del self._deadlines[done]
            return None
        if not done.wait(MAX_SECONDS):
            self.silent.add(type(value))
        return result[0] if result else None


_representer = _Representer()


def safe_repr(value: Any, write: Callable[[Any], str] = repr) -> str:
    """``write(value)``, or the class name in angle brackets if that fails or takes too long."""
    kind = type(value)
    text: str | None = None
    if kind not in _representer.silent:
        with suppress(Exception):  # an object may fail in any way
            text = _representer.text(value, write) if _is_python(kind, write) else write(value)
    return f"<{kind.__module__}.{kind.__qualname__}>" if text is None else text


def _is_python(kind: type, write: Callable[[Any], str]) -> bool:
    """Whether ``write`` would run Python code of the application or a library; containers may hold such objects."""
    if issubclass(kind, (dict, list, tuple, set, frozenset)):
        return True
    names = ("__repr__",) if write is repr else ("__str__", "__repr__")
    return any(isinstance(getattr(kind, name, None), FunctionType) for name in names)
