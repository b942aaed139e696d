"""Child tasks: what one raised and nobody retrieved is reported, linked to the request that started it.

A task that is awaited hands its exception to who awaits it; nothing is to be done here. One that is not logs
"Task exception was never retrieved" when it is collected, in whatever context that happens, possibly another
request's. Tasks started inside a local trace are therefore made from a class that reports in the context in
which it was started. sentry-sdk's ``AsyncioIntegration`` reports every exception a task raises, also those
that the application goes on to handle (a time-out in ``wait_for``, a ``gather`` with ``return_exceptions``).

A loop that has a task factory already keeps it.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from brain_otel.events.listeners import EventListener, configure_listeners, listeners
from brain_otel.events.report import report_exception
from brain_otel.runtime.guard import caught, guarded
from brain_otel.traces import local_trace

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from brain_otel.configuration.settings import InstrumentationSettings
    from brain_otel.traces.local_trace import LocalTrace

_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


class _LoopObserver(EventListener):
    """Observes the running loop from the first local trace on."""

    def on_trace_start(self, trace: LocalTrace) -> object:  # noqa: ARG002
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        if loop not in _loops:
            _loops.add(loop)
            if loop.get_task_factory() is None:
                loop.set_task_factory(_create_task)  # type: ignore[arg-type]  # typeshed wants its names
        return None


class _ObservedTask(asyncio.Task[Any]):
    """A task that, when its exception was never retrieved, says so in the context in which it was made."""

    def __init__(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> None:
        super().__init__(coro, **kwargs)
        context = kwargs.get("context")
        self._made_in = contextvars.copy_context() if context is None else context.copy()

    def __del__(self) -> None:
        # `_log_traceback` and `_exception` are asyncio's own names; `exception()` would mark the exception as
        # retrieved and so silence asyncio's log line. A test tells when they change.
        error = self._exception if self._log_traceback else None
        made_in = getattr(self, "_made_in", None) if error is not None else None
        if error is None or made_in is None:
            super().__del__()
            return
        made_in.run(_report, error)
        made_in.run(super().__del__)


_ObservedTask.__name__ = _ObservedTask.__qualname__ = "Task"  # as the application's logs would show it


def instrument(settings: InstrumentationSettings) -> None:  # noqa: ARG001
    """Observe the loop of every local trace from now on."""
    configure_listeners((_LoopObserver(), *listeners()))


def uninstrument() -> None:
    """Leave the loops as they were found."""
    configure_listeners(tuple(each for each in listeners() if not isinstance(each, _LoopObserver)))
    for loop in list(_loops):
        if loop.get_task_factory() is _create_task:
            loop.set_task_factory(None)
    _loops.clear()


def _create_task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:
    kind: type[asyncio.Task[Any]] = asyncio.Task
    try:
        if local_trace.current() is not None:
            kind = _ObservedTask
    except Exception as error:
        caught("looking for a task's local trace", error)
    return kind(coro, loop=loop, **kwargs)


def _report(error: BaseException) -> None:
    if isinstance(error, Exception):
        with guarded("reporting a task's exception"):
            report_exception(error, handled=False, mechanism="asyncio")
