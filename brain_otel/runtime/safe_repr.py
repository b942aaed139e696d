"""The application's objects as texts, within bounds: their ``repr`` and ``str`` may raise, block, or never end.

Those that are Python code run on a thread kept for it, in a copy of the context, and are waited for a moment. Who
does not answer is shown by the name of its class, and not asked again.
"""

from __future__ import annotations

import _thread
import contextvars
import os
from queue import SimpleQueue
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SECONDS = 0.1
"""How long one object is waited for."""

MAX_ABANDONED = 8
"""Threads that may hang at a time; from then on no object is asked."""

_silent: WeakSet[type] = WeakSet()
"""Classes of which an object did not answer."""


class _Writer:
    """A thread that writes one object after the other out; a raw one, since sentry-sdk has patched ``Thread``."""

    idle: list[_Writer] = []  # noqa: RUF012 - all of them share it
    abandoned: list[_Writer] = []  # noqa: RUF012

    def __init__(self) -> None:
        self._process = os.getpid()
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.is_back = False
        _thread.start_new_thread(self._run, ())

    @classmethod
    def free(cls) -> _Writer | None:
        """One that waits for work, or a new one; None if too many hang."""
        while cls.idle:
            found = cls.idle.pop()
            if found._process == os.getpid():  # a forked child has none of its parent's threads
                return found
        cls.abandoned[:] = [each for each in cls.abandoned if not each.is_back and each._process == os.getpid()]
        return cls() if len(cls.abandoned) < MAX_ABANDONED else None

    def write(self, value: Any, write: Callable[[Any], str]) -> list[str] | None:
        """The text, nothing if ``write`` raised, None if it did not answer: then the writer is lost."""
        done = _thread.allocate_lock()
        done.acquire()
        result: list[str] = []
        context = contextvars.copy_context()

        def task() -> None:
            try:
                result.append(str(context.run(write, value)))
            except BaseException:  # noqa: S110 - told by the empty result
                pass
            finally:
                done.release()

        self._tasks.put(task)
        if done.acquire(timeout=MAX_SECONDS):
            self.idle.append(self)
            return result
        self._tasks.put(None)
        self.abandoned.append(self)
        return None

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task  # or the object would live until the next one comes
        self.is_back = True


def safe_repr(value: Any, write: Callable[[Any], str] = repr) -> str:
    """``value`` as ``write`` has it, or its class in angle brackets if that fails or takes too long."""
    kind = type(value)
    if kind in _silent:
        return _class_of(value)
    try:
        return _repr_aside(value, write) if _is_python(kind, write) else write(value)
    except Exception:  # the application's object may fail in any way, and a thread may not be had
        return _class_of(value)


def _is_python(kind: type, write: Callable[[Any], str]) -> bool:
    """Whether Python code of the application's or a library's would run; containers may hold what has some."""
    if issubclass(kind, (dict, list, tuple, set, frozenset)):
        return True
    names = ("__repr__",) if write is repr else ("__str__", "__repr__")
    return any(isinstance(getattr(kind, name, None), FunctionType) for name in names)


def _repr_aside(value: Any, write: Callable[[Any], str]) -> str:
    writer = _Writer.free()
    if writer is None:
        return _class_of(value)
    result = writer.write(value, write)
    if result is None:
        _silent.add(type(value))
    return result[0] if result else _class_of(value)


def _class_of(value: Any) -> str:
    kind = type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"
