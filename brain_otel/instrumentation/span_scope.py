"""The span around what a client does: current for as long as the call lasts, ended with it.

Contrib's way is a generator for each span, and as much work for a span that is not recorded as for one that is. Where
the request is not recorded nothing that it calls is: the call goes on without a span of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.instrumentation.utils import (
    _SUPPRESS_INSTRUMENTATION_KEY_PLAIN,
    is_http_instrumentation_enabled,
    is_instrumentation_enabled,
)
from opentelemetry.trace import NonRecordingSpan
from opentelemetry.trace.propagation import _SPAN_KEY

from brain_otel.instrumentation.exception_recording import status_of
from brain_otel.runtime.guard import guarded
from brain_otel.sampling.decision import is_dropped

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

_SUPPRESSING = frozenset(
    {_SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY_PLAIN}
)
"""Contrib asks for these one by one, three calls deep; hardly any context has one of them."""


def is_enabled(context: Context) -> bool:
    """Whether what is called in ``context``, the current one, is to be traced."""
    return _SUPPRESSING.isdisjoint(context) or is_instrumentation_enabled()


def is_http_enabled(context: Context) -> bool:
    """The same of calls over HTTP."""
    return _SUPPRESSING.isdisjoint(context) or is_http_instrumentation_enabled()


def is_excluded_call(context: Context) -> bool:
    """Whether a span that started in ``context`` would not be recorded, as its request is not."""
    caller = context.get(_SPAN_KEY)
    return type(caller) is NonRecordingSpan and is_dropped(caller)


class current:  # noqa: N801 - a context manager, as a class because it is cheaper
    """Make ``span``, started in ``context``, the current one for the block; note what that raises, end the span."""

    __slots__ = ("_context", "_span", "_token")

    def __init__(self, span: Span, context: Context) -> None:
        self._span = span
        self._context = context

    def __enter__(self) -> Span:
        self._token: Token[Context] = otel_context.attach(otel_trace.set_span_in_context(self._span, self._context))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        otel_context.detach(self._token)
        if error is not None and isinstance(error, Exception):
            with guarded("recording an exception on a span"):
                if self._span.is_recording():
                    self._span.record_exception(error)
                    self._span.set_status(status_of(error))
        self._span.end()
