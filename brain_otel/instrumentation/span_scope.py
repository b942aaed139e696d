"""The span around an outgoing call, for the fast paths: current while the call runs, and ended with it.

Contrib creates a generator for each span, recorded or not. In a request that is not recorded, the fast paths create
no span at all.
"""

from typing import Any

from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY, Context
from opentelemetry.instrumentation.utils import (
    _SUPPRESS_INSTRUMENTATION_KEY_PLAIN,
    is_http_instrumentation_enabled,
    is_instrumentation_enabled,
)
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext, SpanKind
from opentelemetry.trace.propagation import _SPAN_KEY

from brain_otel.events.report import record_error
from brain_otel.runtime.context import attach, get_current
from brain_otel.runtime.guard import caught, guarded
from brain_otel.sampling.decision import DroppedSpan, is_dropped

_SUPPRESSING = frozenset(
    {_SUPPRESS_HTTP_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY, _SUPPRESS_INSTRUMENTATION_KEY_PLAIN}
)
"""Contrib looks these keys up one by one; hardly any context has one of them."""

_CLIENT = SpanKind.CLIENT


def is_enabled(context: Context) -> bool:
    """Whether calls made in ``context``, the current one, are traced."""
    return _SUPPRESSING.isdisjoint(context) or is_instrumentation_enabled()


def is_http_enabled(context: Context) -> bool:
    """Whether HTTP calls made in ``context``, the current one, are traced."""
    return _SUPPRESSING.isdisjoint(context) or is_http_instrumentation_enabled()


def is_excluded_call(context: Context) -> bool:
    """Whether a span started in ``context`` would not be recorded because its request is not."""
    return is_dropped(context.get(_SPAN_KEY))


def is_inside_call(context: Context) -> bool:
    """Whether the span of ``context`` is one around a call; only then the call may have its span already."""
    return getattr(context.get(_SPAN_KEY), "kind", None) is _CLIENT


def unrecorded_call(tracer: Any, context: Context) -> Context:
    """``context``, of a request that is not recorded, with a span id for one call.

    Each call names a parent of its own: https://www.w3.org/TR/trace-context-2/#parent-id.
    """
    with guarded("naming a call that is not recorded"):
        caller: Span = context[_SPAN_KEY]  # type: ignore[assignment]  # `is_excluded_call` has found it
        trace_id, _, _, flags, state, _ = caller.get_span_context()
        called = SpanContext(trace_id, tracer.id_generator.generate_span_id(), False, flags, state)
        return with_span(DroppedSpan(called), context)
    return context


def has_span(context: Context) -> bool:
    """Whether ``context`` has a current span, valid or not."""
    return context.get(_SPAN_KEY, INVALID_SPAN) is not INVALID_SPAN


def with_span(span: Span, context: Context) -> Context:
    """``context`` with ``span`` as the current one."""
    return Context({**context, _SPAN_KEY: span})


class current:  # noqa: N801 - a context manager; a class costs less than a generator
    """Makes ``span`` current for the block, in ``context``, which is current; records what it raises, and ends it."""

    __slots__ = ("_before", "_span", "context")

    def __init__(self, span: Span, context: Context) -> None:
        self._span = span
        self._before = context
        self.context = Context({**context, _SPAN_KEY: span})
        """The context of the block."""

    def __enter__(self) -> Span:
        attach(self.context)
        return self._span

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if get_current() is self.context:
            attach(self._before)
        if error is not None and isinstance(error, Exception):
            record_error(self._span, error)
        try:
            self._span.end()
        except Exception as failure:  # of a span processor of the application's
            caught("ending a span", failure)
