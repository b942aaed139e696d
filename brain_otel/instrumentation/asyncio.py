"""Reports exceptions of child tasks that nobody retrieved, linked to the request that started the task.

A task that is awaited passes its exception to the awaiting code. For any other, asyncio logs "Task exception was
never retrieved" when the task is garbage collected, in whatever context that happens, possibly another request's.
Tasks started inside a local trace therefore get a class that reports in the context in which they were started.
sentry-sdk's ``AsyncioIntegration`` reports every exception that a task raises, even one that the application handles
(a timeout in ``wait_for``, a ``gather`` with ``return_exceptions``).

A loop that has a task factory already keeps it.
"""

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from opentelemetry.trace import NonRecordingSpan

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.events.listeners import EventListener, configure_listeners, listeners
from brain_otel.events.report import report_exception
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.imports import late_module
from brain_otel.sampling.decision import DroppedSpan
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace
from brain_otel.traces.scope import is_measured

if TYPE_CHECKING:
    from brain_otel.instrumentation.loop_lag import LoopLag
    from brain_otel.traces import code_location
else:
    # The first task of a recorded trace needs it.
    code_location = late_module("brain_otel.traces.code_location")


class AsyncioInstrumentation(EventListener):
    """Sets a task factory on each loop that runs a local trace."""

    def __init__(self) -> None:
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._latest: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None
        """Weak: the loop of :attr:`_loops` that has run a local trace last."""
        self._lag: LoopLag | None = None

    def instrument(self, settings: InstrumentationSettings) -> None:  # noqa: ARG002
        """Begin with the next local trace."""
        if is_measured():
            from brain_otel.instrumentation.loop_lag import LoopLag  # few processes need it

            self._lag = LoopLag()
        configure_listeners((self, *listeners()))

    def uninstrument(self) -> None:
        """Leave the loops as they were found."""
        if self._lag is not None:
            self._lag.stop()
        configure_listeners(tuple(each for each in listeners() if each is not self))
        for loop in list(self._loops):
            if loop.get_task_factory() is _create_task:
                loop.set_task_factory(None)
        self._loops.clear()
        self._latest = lambda: None

    def on_trace_start(self, trace: LocalTrace) -> object:  # noqa: ARG002
        """Set the factory on the running loop, once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        if loop is self._latest():
            return None
        factory = loop.get_task_factory()
        if factory is not _create_task and loop not in self._loops:
            self._loops.add(loop)
            self._latest = weakref.ref(loop)
            if self._lag is not None:
                self._lag.watch(loop)
            if factory is None:
                loop.set_task_factory(_create_task)  # type: ignore[arg-type]  # typeshed wants its names
        return None


class _ObservedTask(asyncio.Task[Any]):
    """A task that reports its exception in the context in which it was started, if nobody retrieves it."""

    def __init__(self, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> None:
        super().__init__(coro, **kwargs)
        context = kwargs.get("context")
        self._started_in = contextvars.copy_context() if context is None else context.copy()

    def __del__(self) -> None:
        # The public `exception()` would mark the exception as retrieved and so silence asyncio's log line.
        error = getattr(self, "_exception", None) if getattr(self, "_log_traceback", False) else None
        started_in = getattr(self, "_started_in", None)
        if error is None or started_in is None:
            super().__del__()
            return
        started_in.run(_report, error)
        started_in.run(super().__del__)


_ObservedTask.__name__ = _ObservedTask.__qualname__ = "Task"  # the application's logs show this name


def _create_task(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> asyncio.Task[Any]:
    kind: type[asyncio.Task[Any]] = asyncio.Task
    is_recorded = False
    try:
        trace = local_trace.current()
        if trace is not None:
            kind = _ObservedTask
            is_recorded = type(trace.root) not in (DroppedSpan, NonRecordingSpan)
    except Exception as error:
        caught("looking for a task's local trace", error)
    task = kind(coro, loop=loop, **kwargs)
    if is_recorded:
        try:
            code_location.remember_start(task, coro)
        except Exception as error:
            caught("looking for the place that starts a task", error)
    return task


def _report(error: BaseException) -> None:
    if isinstance(error, Exception):
        with guarded("reporting a task's exception"):
            report_exception(error, handled=False, mechanism="asyncio")
