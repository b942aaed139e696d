"""From the helpers to the destinations: who is told of an error, a message, a tag.

Spans reach destinations through OpenTelemetry's span processors. What OpenTelemetry has no pipeline for
(Sentry's errors, breadcrumbs, users) goes through a :class:`EventListener`, one per destination that wants it. The
helpers and the instrumentations speak to all of them here and know none of them by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from brain_otel.events.failures import ended_traces
from brain_otel.runtime.guard import caught, guarded
from brain_otel.traces import local_trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.traces.local_trace import LocalTrace


class Failure(NamedTuple):
    """An exception on its way to the destinations."""

    error: BaseException
    event_id: str
    handled: bool
    mechanism: str
    context: Mapping[str, Any]


class Message(NamedTuple):
    """A message on its way to the destinations."""

    text: str
    event_id: str
    level: str
    context: Mapping[str, Any]


class EventListener:
    """What a destination may want to hear beside spans; each method does nothing until overridden.

    No method may block on the network: they are called while a request runs.
    """

    def on_trace_start(self, trace: LocalTrace) -> object:  # noqa: ARG002 - for those who override it
        """A local trace begins in this context; the result is handed back to :meth:`end`."""
        return None

    def on_trace_end(self, trace: LocalTrace, token: object) -> None:
        """The code that opened ``trace`` leaves it, in the context in which it began."""

    def on_exception(self, failure: Failure) -> None:
        """An exception to report."""

    def on_message(self, message: Message) -> None:
        """A message to report."""

    def on_breadcrumb(self, crumb: Mapping[str, Any]) -> None:
        """One step on the way to an error: ``message``, ``category``, ``level`` and ``data``."""

    def on_user(self, user: Mapping[str, Any]) -> None:
        """The user on whose behalf the current request runs."""

    def on_tag(self, key: str, value: str) -> None:
        """A tag of the current request."""

    def on_context(self, name: str, data: Mapping[str, Any]) -> None:
        """A named block of facts about the current request."""


_listeners: tuple[EventListener, ...] = ()


def configure_listeners(listeners: tuple[EventListener, ...]) -> None:
    """Set who is told; an empty tuple for nobody. Called by set-up and shut-down."""
    global _listeners
    _listeners = listeners


def listeners() -> tuple[EventListener, ...]:
    """Who is told at the moment."""
    return _listeners


class local_trace_entered:  # noqa: N801 - a context manager, as a class because it is cheaper
    """Make ``trace`` the current local trace for the block, and tell every reporter at both ends.

    What the block raises passes through untouched; what a reporter raises stays here.
    """

    __slots__ = ("_before", "_tokens", "_trace")

    def __init__(self, trace: LocalTrace) -> None:
        self._trace = trace

    def __enter__(self) -> LocalTrace:
        if self._trace.kind == "transaction" and self._trace.parent is None:
            ended_traces.forget_latest()
        self._tokens: list[tuple[EventListener, object]] = []
        for listener in _listeners:
            try:
                self._tokens.append((listener, listener.on_trace_start(self._trace)))
            except Exception as error:
                caught("beginning a local trace", error)
        self._before = local_trace.enter(self._trace)
        return self._trace

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        trace = self._trace
        local_trace.leave(self._before)
        if error is not None and trace.parent is None:
            with guarded("remembering what ended a local trace"):
                ended_traces.add(error, trace)
        trace.closed = True
        for listener, token in reversed(self._tokens):
            try:
                listener.on_trace_end(trace, token)
            except Exception as failure:
                caught("ending a local trace", failure)
