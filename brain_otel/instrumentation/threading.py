"""Work in threads belongs to the code that asked for it: it runs in the OpenTelemetry context of that code.

A thread starts without the context of its starter. This carries it into ``Thread`` and ``Timer``, and into each job
of a ``ThreadPoolExecutor`` (``run_in_executor``, ``submit``, ``map``) or a ``multiprocessing.pool.ThreadPool``, and
reports the exceptions that end threads.
``asyncio.to_thread`` and anyio carry all context variables by themselves.

The threads of a pool serve many requests, so they start without the context of the one that happened to need them.
OpenTelemetry's instrumentation of threads gives it to them for good. It also keeps it on each thread object, and
misses subclasses that override ``run()``.
"""

import contextvars
import functools
import sys
import threading
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from opentelemetry import context as otel_context

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.events.listeners import CarriedContext
from brain_otel.events.report import report_exception
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.patch import Original, Patches, replacement
from brain_otel.runtime.text import word_set

_SERVING = word_set("""
    anyio apscheduler brain_otel concurrent grpc kafka logging multiprocessing opentelemetry psycopg_pool pymongo
    redis sentry_sdk
""")
"""Packages whose threads serve whoever comes next: those of pools, listeners and connections."""

_POOL_METHODS = word_set("apply_async map map_async starmap starmap_async imap imap_unordered")


class ThreadingInstrumentation:
    """Carries the context into threads, and reports the exceptions that end them."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Forget in a forked child the threads that the parent is starting."""
        self._starting: dict[int, CarriedContext] = {}
        """The context for each thread that is being started, by the thread's ``id()``."""

    def instrument(self, settings: InstrumentationSettings) -> None:  # noqa: ARG002
        """Begin with the next thread or job."""
        if self._patches.replace(threading.Thread, "_bootstrap_inner", replacement(self._bootstrap)):
            self._patches.replace(threading.Thread, "start", replacement(self._start))
        self._patches.replace_when_imported("concurrent.futures.thread", "ThreadPoolExecutor", "submit", _submit)
        for name in _POOL_METHODS:
            self._patches.replace_when_imported("multiprocessing.pool", "ThreadPool", name, _pool_method)

    def uninstrument(self) -> None:
        """Leave the classes as they were found."""
        self._patches.undo()

    def _start(self, original: Original, /, thread: threading.Thread, *args: Any, **kwargs: Any) -> Any:
        context = otel_context.get_current()
        if not context:
            return original(thread, *args, **kwargs)
        if _serves_others(thread):  # in no context, as for other libraries that carry theirs
            return contextvars.Context().run(original, thread, *args, **kwargs)
        self._starting[id(thread)] = CarriedContext(context)
        try:
            return original(thread, *args, **kwargs)
        finally:  # taken by now, unless the thread could not be started
            self._starting.pop(id(thread), None)

    def _bootstrap(self, original: Original, thread: threading.Thread) -> None:
        # Here and not in `run()`, which subclasses override.
        with guarded("starting a thread"):
            self._enter_context(thread)
            _report_exception_of(thread)
        original(thread)

    def _enter_context(self, thread: threading.Thread) -> None:
        carried = self._starting.pop(id(thread), None)
        if carried is not None:
            carried.enter()


def _report_exception_of(thread: threading.Thread) -> None:
    """Have the exception that ends ``thread`` reported before its hook is called, whichever that is then."""
    hook = thread._invoke_excepthook  # type: ignore[attr-defined]

    def invoke_excepthook(thread: threading.Thread) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Exception):
            report_exception(error, handled=False, mechanism="threading")
        del error  # its traceback holds this frame
        hook(thread)

    thread._invoke_excepthook = invoke_excepthook  # type: ignore[attr-defined]


@replacement
def _submit(original: Original, executor: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    context = otel_context.get_current()
    if context and not _pickles(executor):
        fn = _in_context(fn, CarriedContext(context))
    return original(executor, fn, *args, **kwargs)


@replacement
def _pool_method(original: Original, /, pool: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    context = otel_context.get_current()
    if context:
        carried = CarriedContext(context)
        func = _in_context(func, carried)
        for name in ("callback", "error_callback"):
            if callable(kwargs.get(name)):
                kwargs[name] = _in_context(kwargs[name], carried)
    return original(pool, func, *args, **kwargs)


def _in_context(function: Callable[..., Any], carried: CarriedContext) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        leave = carried.enter()
        try:
            return function(*args, **kwargs)
        finally:
            leave()

    return run


def _pickles(executor: Any) -> bool:
    """Whether ``executor`` sends its jobs to other interpreters (Python 3.14), which cannot take a closure."""
    module = sys.modules.get("concurrent.futures.interpreter")
    return module is not None and isinstance(executor, module.InterpreterPoolExecutor)


def _serves_others(thread: threading.Thread) -> bool:
    """Whether ``thread`` works for whoever comes next, not for the code that starts it."""
    try:
        run: Any = type(thread).run
        if getattr(run, "__module__", "") == "threading":
            run = (
                getattr(thread, "function", None)
                if isinstance(thread, threading.Timer)
                else getattr(thread, "_target", None)
            )
        while type(run) is functools.partial:
            run = run.func
        is_plain = type(run) in (FunctionType, MethodType)  # others may be proxies, which load when looked at
        return is_plain and run.__module__.partition(".")[0] in _SERVING
    except Exception as error:
        caught("looking at a thread", error)
        return False
