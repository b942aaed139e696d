"""Records exceptions on spans without replacing them.

OpenTelemetry and contrib record an exception with an unguarded ``str(exception)`` while it propagates. If its
``__str__`` raises, the new error replaces the application's exception, and the ``except`` clause for it never runs.
"""

import functools
import traceback
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace

from brain_otel.events.attributes import error_attributes
from brain_otel.events.deduplication import ended_traces
from brain_otel.events.report import record_event, set_error
from brain_otel.runtime.context import restore
from brain_otel.runtime.context_decorator import within
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patch, Patches, replacement
from brain_otel.runtime.quiet import one_clock
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace

_SERVED = (otel_trace.SpanKind.SERVER, otel_trace.SpanKind.CONSUMER)


def patch_exception_recording(patches: Patches) -> None:
    """Replace ``trace.use_span`` and the two methods of the SDK's span that record exceptions."""
    from opentelemetry.sdk.trace import Span

    patches.replace(otel_trace, "use_span", lambda _: UseSpan)
    patches.replace(Span, "record_exception", _record_exception)
    patches.replace(Span, "__exit__", _exit)


def original_exception(raised: BaseException) -> BaseException:
    """The exception whose ``__str__`` raised ``raised`` when OpenTelemetry called it; else ``raised`` itself."""
    frames = [frame for frame, _ in traceback.walk_tb(raised.__traceback__)]
    for caller, callee in pairwise(frames):
        is_upstream = str(caller.f_globals.get("__name__")).startswith("opentelemetry.")
        if is_upstream and callee.f_code.co_name == "__str__":
            found = callee.f_locals.get("self")
            if found is raised.__context__ and found is not None:
                return found
    return raised


class UseSpan:
    """Replaces ``trace.use_span``: makes ``span`` current for a block or a function and records what it raises."""

    def __init__(
        self,
        span: otel_trace.Span,
        end_on_exit: bool = False,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> None:
        self._options = (span, end_on_exit, record_exception, set_status_on_exception)

    def __enter__(self) -> otel_trace.Span:
        self._before = otel_context.get_current()
        self._entered = otel_trace.set_span_in_context(self._options[0])
        otel_context.attach(self._entered)
        return self._options[0]

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        span, end_on_exit, record_exception, set_status = self._options
        restore(self._entered, self._before)
        if isinstance(error, Exception):
            with guarded("recording an exception on a span"), one_clock():
                if isinstance(span, otel_trace.Span) and span.is_recording():
                    if record_exception:
                        record_event(span, error)
                    if set_status:
                        set_error(span, error)
                _remember(span, error)
        if end_on_exit:
            with guarded("ending a span"):
                span.end()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate ``function``; a coroutine function's span lasts until the coroutine has finished."""
        return within(lambda: UseSpan(*self._options), function)


def _remember(span: otel_trace.Span, error: Exception) -> None:
    """Link the later log line of a server of others, which sees ``error`` when the span is not current any more."""
    if getattr(span, "kind", None) not in _SERVED or local_trace.current() is not None:
        return
    trace = LocalTrace(kind="implicit", closed=True)
    trace.start(span, None)
    ended_traces.add(error, trace)


@replacement
def _record_exception(
    _original: Original,
    self: Any,
    exception: BaseException,
    attributes: Mapping[str, Any] | None = None,
    timestamp: int | None = None,
    escaped: bool = False,  # noqa: ARG001 - the SDK's parameter
) -> None:
    """Bounded and guarded, and without ``exception.escaped``, which is deprecated and false where contrib records."""
    with guarded("recording an exception on a span"), one_clock():
        self.add_event("exception", {**error_attributes(exception), **(attributes or {})}, timestamp)


def _exit(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def leave(self: Any, kind: Any, error: BaseException | None, where: Any) -> Any:
        try:
            return patch.original(self, kind, error, where)
        except Exception as raised:
            if error is None or original_exception(raised) is raised:
                raise
            with guarded("recording an exception on a span"):
                set_error(self, error)
                self.end()

    return leave
