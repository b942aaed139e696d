"""The application's objects as texts, within bounds: their ``repr`` and ``str`` may raise, block, or never end.

Those that are Python code run on a thread of their own, in a copy of the context, and are waited for a moment. Who
does not answer is shown by the name of its class, and not asked again.
"""

from __future__ import annotations

import _thread
import contextvars
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

_abandoned: list[_thread.LockType] = []
"""One for each thread that is not back yet, held until it is."""


def written_out(value: Any, write: Callable[[Any], str] = repr) -> str:
    """``value`` as ``write`` has it, or its class in angle brackets if that fails or takes too long."""
    kind = type(value)
    if kind in _silent:
        return _class_of(value)
    try:
        return _written_aside(value, write) if _is_python(kind, write) else write(value)
    except Exception:  # the application's object may fail in any way, and a thread may not be had
        return _class_of(value)


def _is_python(kind: type, write: Callable[[Any], str]) -> bool:
    """Whether Python code of the application's or a library's would run; containers may hold what has some."""
    if issubclass(kind, (dict, list, tuple, set, frozenset)):
        return True
    names = ("__repr__",) if write is repr else ("__str__", "__repr__")
    return any(isinstance(getattr(kind, name, None), FunctionType) for name in names)


def _written_aside(value: Any, write: Callable[[Any], str]) -> str:
    _abandoned[:] = [each for each in _abandoned if each.locked()]
    if len(_abandoned) >= MAX_ABANDONED:
        return _class_of(value)
    done = _thread.allocate_lock()
    done.acquire()
    result: list[str] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result.append(str(context.run(write, value)))
        except BaseException:  # noqa: S110 - told by the empty result
            pass
        finally:
            done.release()

    _thread.start_new_thread(run, ())  # not `Thread`, which sentry-sdk and others have patched
    if done.acquire(timeout=MAX_SECONDS):
        return result[0] if result else _class_of(value)
    _abandoned.append(done)
    _silent.add(type(value))
    return _class_of(value)


def _class_of(value: Any) -> str:
    kind = type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"
