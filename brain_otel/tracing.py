"""``start_transaction`` and ``start_span``: context managers and decorators, for sync and async code."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Self

from opentelemetry import trace as otel_trace
from opentelemetry.trace import INVALID_SPAN, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util.types import Attributes, AttributeValue

from brain_otel.events.arguments import facts, name_of_fact, text_of
from brain_otel.events.attributes import attribute_value
from brain_otel.events.listeners import local_trace_entered
from brain_otel.events.report import record_error
from brain_otel.runtime.context import Attachment, settled_context
from brain_otel.runtime.context_decorator import ContextDecorator
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.quiet import is_looking, one_budget
from brain_otel.runtime.text import encodable
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace, Name
from brain_otel.traces.scope import OP_ATTRIBUTE, create_tracer

_KINDS = {
    **dict.fromkeys(("db", "cache", "http.client", "grpc.client", "rpc.client", "queue.receive"), SpanKind.CLIENT),
    **dict.fromkeys(("gen_ai.chat", "gen_ai.embeddings", "gen_ai.text_completion"), SpanKind.CLIENT),
    **dict.fromkeys(("queue.publish", "queue.create", "queue.submit"), SpanKind.PRODUCER),
    **dict.fromkeys(("queue.process", "queue.task"), SpanKind.CONSUMER),
    **dict.fromkeys(("http.server", "websocket.server", "grpc.server", "rpc.server", "mcp.server"), SpanKind.SERVER),
}
"""Operation, or the beginning of one -> the kind of its span; any other is the application's own work."""


class Span(otel_trace.Span):
    """OpenTelemetry's span with Sentry's methods.

    Beside OpenTelemetry's (``get_span_context``, ``set_attribute``, ``record_exception``, ...) it has ``set_tag``,
    ``set_data`` and ``set_http_status``, and ``set_status`` takes Sentry's status words too.
    """

    def __init__(self, span: otel_trace.Span, trace: LocalTrace | None = None) -> None:
        self._span = span
        self._trace = trace

    def set_tag(self, key: str, value: Any) -> None:
        """Set an attribute, and on a transaction's span a tag of the transaction."""
        with guarded("setting a span's tag"):
            name, known = name_of_fact(key), attribute_value(value)
            self._span.set_attribute(name, known)
            if self._trace is not None:
                self._trace.tags[name] = str(known)

    def set_data(self, key: str, value: Any) -> None:
        """Set an attribute; a value of a type that OpenTelemetry does not support becomes text."""
        with guarded("setting a span's data"):
            self._span.set_attribute(name_of_fact(key), attribute_value(value))

    def set_http_status(self, http_status: int) -> None:
        """Set the HTTP status code. A code of 500 or more also sets the status to error."""
        with guarded("setting a span's HTTP status"):
            self._span.set_attribute("http.response.status_code", int(http_status))
            if http_status >= 500:
                self._span.set_status(Status(StatusCode.ERROR))

    def set_status(self, status: Status | StatusCode | str, description: str | None = None) -> None:
        """Set the status.

        Args:
            status: OpenTelemetry's, or a word of Sentry's: ``ok`` means OK; any other, such as ``not_found``, means
                ERROR with the word as its description.
            description: The description of OpenTelemetry's status.
        """
        with guarded("setting a span's status"):
            if isinstance(status, str):
                words = status.lower()
                ok = words == "ok"
                self._span.set_status(Status(StatusCode.OK) if ok else Status(StatusCode.ERROR, words))
            else:
                self._span.set_status(status, description)

    def end(self, end_time: int | None = None) -> None:
        """End the span; the context manager that yielded it does this too."""
        self._span.end(end_time)

    def get_span_context(self) -> SpanContext:
        """The span's ids and flags."""
        return self._span.get_span_context()

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes."""
        self._span.set_attributes(attributes)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute."""
        self._span.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Add an event; ``timestamp`` in nanoseconds since the epoch."""
        self._span.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link to another span."""
        self._span.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        """Rename the span."""
        self._span.update_name(name)

    def is_recording(self) -> bool:
        """Whether the span is recorded and has not ended."""
        return self._span.is_recording()

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record an exception as an event of the span."""
        self._span.record_exception(exception, attributes, timestamp, escaped)


class _Starter(ContextDecorator[Span]):
    """Starts a span when it is entered (also with ``async with``), or at each call of a function it decorates."""

    def __init__(self, name: str, attributes: dict[str, Any], *, transaction: bool) -> None:
        self._name = name
        self._attributes = attributes
        self._is_transaction = transaction
        self._running: list[_Running | None] = []

    def __enter__(self) -> Span:
        running = None
        with guarded("starting a span"):
            if not is_looking():
                running = self._start()
        self._running.append(running)
        return Span(INVALID_SPAN) if running is None else running.span

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        running = self._running.pop() if self._running else None
        if running is not None:
            running.end(error)

    def _fresh(self) -> Self:
        return type(self)(self._name, self._attributes, transaction=self._is_transaction)

    def _start(self) -> _Running:
        trace, entered = None, None
        with one_budget():
            name = encodable(text_of(self._name))
            attributes = {key: attribute_value(value) for key, value in facts(self._attributes).items()}
        if self._is_transaction:
            trace = local_trace.opened("transaction")
            trace.describe = lambda: Name(text=name, source="custom")
            entered = local_trace_entered(trace)
            entered.__enter__()
        try:
            span = create_tracer().start_span(
                name, settled_context(), kind=_kind_of(str(attributes.get(OP_ATTRIBUTE))[:128]), attributes=attributes
            )
        except BaseException:
            if entered is not None:
                entered.__exit__(None, None, None)
            raise
        if trace is not None:
            trace.start(span, None)
        return _Running(Span(span, trace), Attachment(otel_trace.set_span_in_context(span)), entered)


class _Running:
    """A span that has started, is current, and perhaps the root of a local trace."""

    def __init__(self, span: Span, attachment: Attachment, entered: local_trace_entered | None) -> None:
        self.span = span
        self._attachment = attachment
        self._entered = entered

    def end(self, error: BaseException | None) -> None:
        """End the span and then its local trace. ``error`` is the exception that ended it, or None."""
        with guarded("ending a span"):
            self._attachment.detach()
            if isinstance(error, Exception):
                record_error(self.span, error)
            self.span.end()
        if self._entered is not None:
            with guarded("ending a span"):
                self._entered.__exit__(None, error, None)


@functools.lru_cache(maxsize=256)
def _kind_of(op: str) -> SpanKind:
    parts = op.split(".")
    named = (_KINDS.get(".".join(parts[:length])) for length in range(len(parts), 0, -1))
    return next((kind for kind in named if kind is not None), SpanKind.INTERNAL)


def start_transaction(name: str, op: str = "task", **attributes: Any) -> _Starter:
    """Start a transaction: a span that is a local root, and a child of the current span if there is one.

    Use it as a context manager (``with`` or ``async with``), which yields the :class:`Span`, or as a decorator.

    Args:
        name: The transaction's name, such as ``process_mission``.
        op: Sentry's `operation <https://develop.sentry.dev/sdk/telemetry/traces/span-operations/>`_.
        **attributes: Attributes of the span.
    """
    return _Starter(name, {**attributes, OP_ATTRIBUTE: op}, transaction=True)


def start_span(
    op: str | None = None, description: str | None = None, *, name: str | None = None, **attributes: Any
) -> _Starter:
    """Start a span, child of the current one.

    Use it as a context manager (``with`` or ``async with``), which yields the :class:`Span`, or as a decorator.

    Args:
        op: Sentry's operation, such as ``db.query``.
        description: The span's name; default: ``op``.
        name: sentry-sdk 2's word for ``description``.
        **attributes: Attributes of the span.
    """
    if op is not None:
        attributes[OP_ATTRIBUTE] = op
    given = (each for each in (name, description, op) if each is not None and not (type(each) is str and not each))
    named = next(given, "span")
    return _Starter(named, attributes, transaction=False)
