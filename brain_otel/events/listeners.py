"""Passes errors, messages, users and tags from the helpers to the destinations.

Spans reach destinations through OpenTelemetry's span processors. OpenTelemetry has no pipeline for Sentry's errors,
breadcrumbs and users; they go through an :class:`EventListener`, one per destination that wants them. The helpers and
the instrumentations call all listeners and know none by name.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from brain_otel.events.deduplication import ended_traces
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace

if TYPE_CHECKING:
    from brain_otel.events.check_ins import CheckIn


class Failure(NamedTuple):
    """An exception to report."""

    error: BaseException
    event_id: str
    handled: bool
    mechanism: str
    context: Mapping[str, Any]


class Message(NamedTuple):
    """A message to report."""

    text: str
    event_id: str
    level: str
    context: Mapping[str, Any]


class Feedback(NamedTuple):
    """A user's words about the application, with the address that the user gave."""

    text: str
    event_id: str
    about: str | None
    """The id of the event that it is about."""
    name: str | None
    email: str | None


class EventListener:
    """Receives what a destination may want beside spans; each method does nothing until overridden.

    No method may block on the network: they are called while a request runs.
    """

    def on_trace_start(self, trace: LocalTrace) -> object:  # noqa: ARG002 - for subclasses
        """Called when ``trace`` starts in this context; :meth:`on_trace_end` gets the result."""
        return None

    def on_trace_end(self, trace: LocalTrace, token: object) -> None:
        """Called when the code that opened ``trace`` leaves it, in the context in which it started."""

    def keep_apart(self, *, cheaply: bool = False) -> Callable[[], object]:  # noqa: ARG002 - for subclasses
        """Keep what this context reports apart from all other work, until the result is called.

        ``cheaply``: use the fast path of a local trace. Leave it out where that path may be what failed.
        """
        return _nothing

    def carry(self) -> Callable[[], Callable[[], object]] | None:
        """What this context holds for a thread that works for it: a function that makes it current there.

        The function returns another one that restores what was current before. None: nothing.
        """
        return None

    def on_exception(self, failure: Failure) -> None:
        """Called with each exception to report, once."""

    def on_message(self, message: Message) -> None:
        """Called with each message to report."""

    def on_check_in(self, check_in: "CheckIn") -> None:
        """Called with each check-in of a monitor."""

    def on_feedback(self, feedback: Feedback) -> None:
        """Called with each user's feedback."""

    def on_breadcrumb(self, crumb: Mapping[str, Any]) -> None:
        """Called with each breadcrumb: ``message``, ``category``, ``level`` and ``data``."""

    def on_user(self, user: Mapping[str, Any]) -> None:
        """Called with the user of the current request, empty if there is none."""

    def on_tag(self, key: str, value: str) -> None:
        """Called with each tag of the current request."""

    def on_context(self, name: str, data: Mapping[str, Any]) -> None:
        """Called with each context block of the current request."""


def _nothing() -> None:
    pass


class _Current:
    listeners: tuple[EventListener, ...] = ()
    separating: tuple[EventListener, ...] = ()
    """The listeners with a ``keep_apart`` of their own."""


def configure_listeners(listeners: tuple[EventListener, ...]) -> None:
    """Set the listeners; set-up and shut-down call this."""
    _Current.listeners = listeners
    _Current.separating = tuple(each for each in listeners if type(each).keep_apart is not EventListener.keep_apart)


def listeners() -> tuple[EventListener, ...]:
    """The current listeners."""
    return _Current.listeners


def notify(place: str, call: Callable[[EventListener], object]) -> None:
    """Make ``call`` with each listener; ``place`` is for the log line if it fails."""
    for listener in _Current.listeners:
        with guarded(place):
            call(listener)


class kept_apart:  # noqa: N801 - a context manager, as a class because it is cheaper
    """Keep what a request without a local trace reports from the requests after it."""

    __slots__ = ("_cheaply", "_leave")

    def __init__(self, *, cheaply: bool = False) -> None:
        self._cheaply = cheaply

    def __enter__(self) -> None:
        self._leave: list[Callable[[], object]] = []
        for listener in _Current.separating:
            try:
                self._leave.append(listener.keep_apart(cheaply=self._cheaply))
            except Exception as error:
                caught("keeping a request apart", error)

    def __exit__(self, *_: object) -> None:
        for leave in reversed(self._leave):
            try:
                leave()
            except Exception as error:
                caught("ending what was kept apart", error)


class CarriedContext:
    """What the running code belongs to, for a thread that works for it."""

    __slots__ = ("_context", "_enter")

    def __init__(self, context: Context) -> None:
        """Carry ``context``, OpenTelemetry's current one, and what the listeners have."""
        self._context = local_trace.within(local_trace.current(context), context)  # contrib leaves the trace out
        self._enter: list[Callable[[], Callable[[], object]]] = []
        for listener in _Current.listeners:
            with guarded("carrying a context into a thread"):
                enter = listener.carry()
                if enter is not None:
                    self._enter.append(enter)

    def enter(self) -> Callable[[], None]:
        """Make it current in this thread; the result restores what was current before."""
        before = otel_context.get_current()
        otel_context.attach(self._context)
        leave: list[Callable[[], object]] = []
        for enter in self._enter:
            with guarded("entering a context in a thread"):
                leave.append(enter())

        def restore() -> None:
            for each in reversed(leave):
                with guarded("leaving a context in a thread"):
                    each()
            # Whatever the work has left attached, the thread's next work must not find it.
            otel_context.attach(before)

        return restore


class local_trace_entered:  # noqa: N801 - a context manager, as a class because it is cheaper
    """Make ``trace`` the current local trace for the block, and call every listener at its start and end.

    Exceptions of the block pass through unchanged. Exceptions of a listener are caught.
    """

    __slots__ = ("_entered", "_tokens", "_trace")

    def __init__(self, trace: LocalTrace) -> None:
        self._trace = trace

    def __enter__(self) -> LocalTrace:
        if self._trace.kind == "transaction" and self._trace.parent is None:
            ended_traces.forget_latest()
        self._tokens: list[tuple[EventListener, object]] = []
        for listener in _Current.listeners:
            try:
                self._tokens.append((listener, listener.on_trace_start(self._trace)))
            except Exception as error:
                caught("starting a local trace", error)
                if self._trace.parent is None or self._trace.parent.closed:
                    with guarded("keeping a local trace apart"):
                        entered = ExitStack()
                        entered.callback(listener.keep_apart())
                        self._tokens.append((listener, entered))
        self._entered = local_trace.enter(self._trace)
        return self._trace

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        trace = self._trace
        local_trace.leave(trace, self._entered)
        if error is not None and trace.parent is None:
            with guarded("recording what ended a local trace"):
                ended_traces.add(error, trace)
        trace.closed = True
        for listener, token in reversed(self._tokens):
            try:
                listener.on_trace_end(trace, token)
            except Exception as failure:
                caught("ending a local trace", failure)
