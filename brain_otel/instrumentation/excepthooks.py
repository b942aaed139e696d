"""Reports exceptions that end a thread or the process, to each destination.

sentry-sdk reports them to Sentry alone: those of a thread before the hook of this module is called, which then finds
them reported.
"""

import contextvars
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from brain_otel.events.deduplication import reported_as, was_counted
from brain_otel.events.error_counter import count_error
from brain_otel.events.report import emit_log, report_exception
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patch, Patches
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace

_started_in: "WeakKeyDictionary[threading.Thread, LocalTrace]" = WeakKeyDictionary()
"""The local trace in which each living thread was started. The hook is called in an empty context."""


def patch_excepthooks(patches: Patches) -> None:
    """Replace the hooks of the process and of threads, and the method that starts a thread."""
    patches.replace(sys, "excepthook", _process_hook)
    patches.replace(threading, "excepthook", _thread_hook)
    patches.replace(threading.Thread, "start", _start)


def _process_hook(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def excepthook(kind: Any, error: Any, where: Any) -> Any:
        if patch.active and not hasattr(sys, "ps1"):  # in an interactive session every typo would be a failure
            _report(None, error, "excepthook")
        return patch.original(kind, error, where)

    return excepthook


def _thread_hook(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def excepthook(args: Any, /) -> Any:
        if patch.active:
            with guarded("reporting the exception of a thread"):
                trace = _started_in.get(args.thread) if args.thread is not None else None
                contextvars.copy_context().run(_report, trace, args.exc_value, "threading")
        return patch.original(args)

    return excepthook


def _start(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def start(self: threading.Thread) -> Any:
        if patch.active:
            with guarded("remembering where a thread was started"):
                trace = local_trace.current()
                if trace is not None:
                    _started_in[self] = trace
        return patch.original(self)

    return start


def _report(trace: LocalTrace | None, error: Any, mechanism: str) -> None:
    """Report ``error`` in ``trace``; what sentry-sdk has reported is only counted and logged.

    The context ends afterwards, or the process.
    """
    with guarded("reporting the exception that has ended a thread or the process"):
        if not isinstance(error, Exception) or was_counted(error):
            return
        if trace is not None and local_trace.current() is None:
            local_trace.enter(trace)
        event_id = reported_as(error)
        if event_id is None:
            report_exception(error, handled=False, mechanism=mechanism)
        elif count_error(error, handled=False):
            emit_log(None, "error", event_id, {}, error)
