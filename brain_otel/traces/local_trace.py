"""The local trace: one request, task or transaction, and what belongs to it.

A *local root* is a span without a parent in this process (none, or a remote one), or one opened by
``start_transaction``. A *local trace* is a local root and its descendants in this process. It becomes one Sentry
transaction, one tree on the console.

A context variable and OpenTelemetry's context both hold the current local trace, so it follows a trace into child
tasks, into threads that were given either context, and into a background task after its request's span has ended.
One of them is not enough: OpenTelemetry's propagators start with an empty context when they read headers, and a
thread may be given OpenTelemetry's context alone. A local trace exists for unsampled requests too, where no span is
recorded, so that an error there is linked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext

from brain_otel.runtime.context import attach, get_current, restore, settled_context
from brain_otel.runtime.named_tuple import NamedTuple

_KEY = otel_context.create_key("brain_otel.traces.local_trace")
_variable: ContextVar[LocalTrace | None] = ContextVar("brain_otel.traces.local_trace", default=None)

Entered = tuple[Token["LocalTrace | None"], "Context", "Context"]
"""Restores the local trace from before :func:`enter`; the context that it made current, and the one before."""


class Request(NamedTuple):
    """The facts of an HTTP request or a WebSocket handshake, independent of frameworks."""

    method: str
    url: str
    query_string: str
    headers: Mapping[str, str]
    client_address: str | None
    body: bytes | None = None
    """The part that the application has read; None if it is not kept, or too long."""


class Name(NamedTuple):
    """The name of a local trace, and the kind of name.

    ``source`` is Sentry's `transaction source <https://develop.sentry.dev/sdk/event-payloads/transaction/>`_:
    ``route`` for a parametrised route, ``url`` for a raw path, ``task`` or ``custom`` for a name from code.
    """

    text: str
    source: str


MEASUREMENTS = "measurements"
"""Key in a trace's extras: numbers and units by name, as ``brain_otel.measurement`` sets them."""

COUNTED = "counted"
"""Stands in for an event id in the record of an exception that has been counted."""


class FailureRecord(NamedTuple):
    """What became of an exception; written and read by :mod:`brain_otel.events.deduplication`."""

    error: BaseException
    event_id: str | None
    """The id of its event; None if the exception is ignored, so that later sightings make no event either."""

    @property
    def is_ignored(self) -> bool:
        """Whether the exception was judged to be no event."""
        return self.event_id is None

    @property
    def is_count(self) -> bool:
        """Whether the record only says that the exception has been counted."""
        return self.event_id == COUNTED


class LocalTrace:
    """The identity of one request, task or transaction while it runs; compared by identity, so it can be a key."""

    __slots__ = (
        "attributes",
        "closed",
        "context",
        "describe",
        "describe_request",
        "extras",
        "failures",
        "is_abandoned",
        "is_cancelled",
        "is_failed",
        "kind",
        "parent",
        "root",
        "tags",
    )

    def __init__(
        self,
        *,
        kind: str,
        parent: LocalTrace | None = None,
        describe: Callable[[], Name] | None = None,
        describe_request: Callable[[], Request] | None = None,
        attributes: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
        failures: list[FailureRecord] | None = None,
        closed: bool = False,
    ) -> None:
        self.kind = kind
        """``request``, ``transaction``, or ``implicit`` for a root span that brain_otel did not open."""
        self.root: Span | None = None
        """The root span, recorded or not; None until it has started."""
        self.context: Context | None = None
        """The context in which the root started; it holds what the caller sent."""
        self.parent = parent
        """The local trace in which this one was opened (``start_transaction`` inside a request)."""
        self.describe = describe
        """Names the trace if its root span is not recorded and so has no name."""
        self.describe_request = describe_request
        """Makes the request's facts on demand."""
        self.attributes = {} if attributes is None else attributes
        """Attributes that every later span of this trace gets, such as ``user.id``."""
        self.tags = {} if tags is None else tags
        """Tags of this trace alone (``transaction.set_tag``)."""
        self.failures = [] if failures is None else failures
        """What became of its exceptions; kept by :mod:`brain_otel.events.deduplication`."""
        self.extras: dict[str, Any] = {}
        """Data that destinations keep with this trace, by key."""
        self.is_abandoned = False
        """True once the trace was left in another context than it was entered in, where it may still be current."""
        self.is_cancelled = False
        """True once its client has gone, or its task was cancelled."""
        self.is_failed = False
        """True once an exception has left it unhandled, be it after the response."""
        self.closed = closed
        """True once the code that opened the trace has left it; spans may still end."""

    def span_context(self) -> SpanContext | None:
        """The root span's context, or None before it has started."""
        return self.root.get_span_context() if self.root is not None else None

    def start(self, root: Span, context: Context | None) -> None:
        """Set the root span, which has started in ``context`` (default: the current one)."""
        if self.root is None:
            self.root = root
            self.context = get_current() if context is None else context


def opened(kind: str) -> LocalTrace:
    """A new local trace inside the current one, if there is one, with what it inherits."""
    parent = current()
    if parent is None:
        return LocalTrace(kind=kind)
    return LocalTrace(
        kind=kind,
        parent=parent,
        describe_request=parent.describe_request,
        attributes=dict(parent.attributes),
        failures=[] if parent.closed else parent.failures,
    )


def current(context: Context | None = None) -> LocalTrace | None:
    """The local trace of OpenTelemetry's ``context`` if it has one, else of the running code, else None."""
    value = (settled_context() if context is None else context).get(_KEY)
    trace = value if isinstance(value, LocalTrace) else _variable.get()
    while trace is not None and trace.is_abandoned:
        trace = trace.parent
    return trace


def within(trace: LocalTrace | None, context: Context | None) -> Context:
    """``context`` (default: the current one) with ``trace`` as the local trace."""
    found = get_current() if context is None else context
    return found if trace is None else Context({**found, _KEY: trace})


def enter(trace: LocalTrace) -> Entered:
    """Make ``trace`` the current local trace; hand the result to :func:`leave`."""
    before = get_current()
    entered = within(trace, before)
    attach(entered)
    return _variable.set(trace), entered, before


def leave(trace: LocalTrace, entered: Entered) -> None:
    """Restore the local trace from before :func:`enter`; in another context than its own, abandon ``trace``."""
    token, context, before = entered
    trace.is_abandoned = not restore(context, before)
    if _variable.get() is not trace:
        trace.is_abandoned = True
        return
    try:
        _variable.reset(token)
    except ValueError:  # a copy of the context, such as another task's
        trace.is_abandoned = True
        _variable.set(trace.parent)


class outside:  # noqa: N801 - a context manager, as the traces of this module are entered
    """Have no local trace in the block; OpenTelemetry's context must have none either."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _variable.set(None)

    def __exit__(self, *_: object) -> None:
        with suppress(ValueError):  # left in a copy of the context, such as another task's
            _variable.reset(self._token)


def current_span_context(trace: LocalTrace | None) -> SpanContext | None:
    """The span to link to: the current one if it belongs to ``trace``, else the root of ``trace``.

    Without a local trace, the current span if there is one.
    """
    here = otel_trace.get_current_span().get_span_context()
    if trace is None:
        return here if here.is_valid else None
    root = trace.span_context()
    if here.is_valid and (root is None or root.trace_id == here.trace_id):
        return here
    return root
