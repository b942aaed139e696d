"""The span around what a client does: current for as long as the call lasts, ended with it.

Contrib's way is a generator for each span, and as much work for a span that is not recorded as for one that is. Where
the request is not recorded nothing that it calls is: the call goes on without a span of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace

from brain_otel.guard import guarded
from brain_otel.instrumentation.exceptions import status_of
from brain_otel.sampling import is_dropped

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span


def is_left_out() -> bool:
    """Whether a span that started here would not be recorded, as its request is not."""
    return is_dropped(otel_trace.get_current_span())


class current:  # noqa: N801 - a context manager, as a class because it is cheaper
    """Make ``span`` the current one for the block; note what the block raises, and end the span."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._token: Token[Context] = otel_context.attach(otel_trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        otel_context.detach(self._token)
        if isinstance(error, Exception):
            with guarded("recording an exception on a span"):
                if self._span.is_recording():
                    self._span.record_exception(error)
                    self._span.set_status(status_of(error))
        self._span.end()
