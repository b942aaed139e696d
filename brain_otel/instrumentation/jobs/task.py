"""A task of a queue while it runs, and a message while it is sent; Celery, arq and taskiq share both.

Attributes follow https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/, and Sentry's
`queues <https://docs.sentry.io/platforms/python/tracing/instrumentation/custom-instrumentation/queues-module/>`_.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Self

from opentelemetry import propagate
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from brain_otel.events.arguments import text_of
from brain_otel.events.deduplication import record_ignored
from brain_otel.events.listeners import local_trace_entered
from brain_otel.events.report import record_error, report_exception
from brain_otel.instrumentation.jobs.quiet_calls import suppressed
from brain_otel.runtime.context import Attachment, settled_context
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.text import encodable
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace, Name
from brain_otel.traces.operations import LATENCY, RETRIES
from brain_otel.traces.scope import OP_ATTRIBUTE, create_tracer

TASK = "brain_otel.task."
"""Prefix of the facts about a task on its error's log record and event."""

SENT_AT = "sentry-task-enqueued-time"
"""Header: when a message was sent, in seconds since the epoch. sentry-sdk writes and reads it too."""

_SPANS = ("traceparent", "tracestate", "sentry-trace")
"""Headers that name a span."""

_BAGGAGE = "baggage"

MAX_HEADER = 8_192
"""Characters of a header that is read: W3C's limit for ``baggage``, the longest of them."""

_MAX_DIGITS = 9
"""Digits of a number of retries."""

MAX_LATENCY = 365 * 86_400.0
"""Seconds; what is longer is a clock that is wrong."""


class Task:
    """Describes a task: its name, its message and the library that runs it.

    A sender may write anything into a message, so each field takes a value of any type.
    """

    def __init__(
        self,
        library: str,
        name: Any,
        *,
        task_id: Any = None,
        retries: Any = 0,
        system: str | None = None,
        destination: str | None = None,
    ) -> None:
        self.library = library
        self.name = text_of(name)
        self.task_id = None if task_id is None else text_of(task_id)
        self.retries = _count(retries)
        self.system = system
        self.destination = destination

    def attributes(self, operation: str) -> dict[str, Any]:
        """The attributes of a span that sends or processes the task's message."""
        found = {
            "messaging.system": self.system or self.library,
            "messaging.operation.type": operation,
            "messaging.operation.name": operation,
            "messaging.destination.name": self.destination,
            "messaging.message.id": self.task_id,
        }
        return {key: value for key, value in found.items() if value is not None}


def _count(given: Any) -> int:
    """A small number, which may be a text; 0 for anything else."""
    if type(given) is str and len(given) < _MAX_DIGITS and given.isdecimal():
        given = int(given)
    return given if type(given) is int and 0 <= given < 10**_MAX_DIGITS else 0


class TaskRun:
    """One run of a task: a local trace with its span, current until :meth:`end`.

    Without ``headers`` (the library calls the task where it was asked for) it is a child of the current span. A
    library that runs the task in a context of its own has entered the local trace ``within`` already.
    """

    def __init__(self, task: Task, headers: Mapping[str, Any] | None, within: LocalTrace | None = None) -> None:
        self.task = task
        self.outer: TaskRun | None = None
        """For the library: the run in which this one was started."""
        self.headers = headers
        """The message's; None if the task runs where it was asked for, so that its exceptions reach the caller."""
        self.is_sent_again = False
        """For the library: whether it has asked for another run, so that this one is no failure."""
        self._is_ended = False
        self._deferred: BaseException | None = None
        name = Name(task.name, "task")
        own = LocalTrace(kind="transaction") if headers is not None else local_trace.opened("transaction")
        self._trace = own if within is None else within
        self._trace.describe, self._trace.tags = lambda: name, _tags(task)
        self._entered = local_trace_entered(own) if within is None else None
        if self._entered is not None:
            self._entered.__enter__()
        try:
            self._start(headers)
        except BaseException:
            self._leave(None)
            raise

    def _start(self, headers: Mapping[str, Any] | None) -> None:
        attributes = {
            **self.task.attributes("process"),
            OP_ATTRIBUTE: "queue.task",
            RETRIES: self.task.retries,
        }
        context = settled_context()
        if headers is not None:
            context = propagate.extract(_texts(headers), local_trace.within(self._trace, Context()))
            if (latency := _latency(headers)) is not None:
                attributes[LATENCY] = latency
        self.span = create_tracer(self.task.library).start_span(
            self.task.name, context, kind=SpanKind.CONSUMER, attributes=attributes
        )
        self._trace.start(self.span, context)
        self._attachment = Attachment(otel_trace.set_span_in_context(self.span, context))

    def defer(self, error: Exception) -> None:
        """Keep ``error`` from becoming an event, as by the library's log, until :meth:`fail` decides."""
        self._deferred = error
        with guarded("deferring a task's failure"):
            record_ignored(error)

    def fail(self, error: Exception, arguments: Callable[[], Mapping[str, Any]], *, is_event: bool = True) -> None:
        """Record that ``error`` has ended the task, and report it unless it is expected.

        Args:
            error: The exception.
            arguments: Gives the task's arguments by name, for the report.
            is_event: Whether it is a failure of the service.
        """
        record_error(self.span, error)
        self._trace.failures[:] = [each for each in self._trace.failures if each.error is not self._deferred]
        self._deferred = None
        if is_event:
            self._trace.is_failed = True
            report_failure(self.task, error, arguments)
        else:
            record_ignored(error)

    def end(self, error: BaseException | None = None) -> None:
        """End the span and its local trace, once; ``error`` is what leaves the task, or None."""
        if self._is_ended:
            return
        self._is_ended = True
        has_exited = isinstance(error, SystemExit) and error.code not in (None, 0)
        self._trace.is_failed |= has_exited
        self._trace.is_cancelled = error is not None and not isinstance(error, (Exception, SystemExit))
        with guarded("ending a task's span"):
            self._attachment.detach()
            if error is not None and (has_exited or isinstance(error, Exception)):
                record_error(self.span, error)
            self.span.end()
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if self._entered is not None:
            self._entered.__exit__(None, error, None)


def report_failure(task: Task, error: Exception, arguments: Callable[[], Mapping[str, Any]]) -> None:
    """Report ``error``, which has ended ``task``, to every destination."""
    facts: dict[str, Any] = {f"{TASK}name": task.name, f"{TASK}retries": task.retries}
    if task.task_id is not None:
        facts[f"{TASK}id"] = task.task_id
    with guarded("reading the arguments of a task"):
        facts[f"{TASK}arguments"] = dict(arguments())
    report_exception(error, handled=False, mechanism=task.library, context=facts)


@contextmanager
def lost_task(task: Task, headers: Mapping[str, Any]) -> Iterator[None]:
    """The trace of the request that sent ``task`` is current, without a span: the process that ran it is gone."""
    trace = LocalTrace(kind="transaction", describe=lambda: Name(task.name, "task"), tags=_tags(task))
    context = propagate.extract(_texts(headers), local_trace.within(trace, Context()))
    trace.start(otel_trace.get_current_span(context), context)
    with local_trace_entered(trace):
        attachment = Attachment(context)
        try:
            yield
        finally:
            attachment.detach()


def _tags(task: Task) -> dict[str, str]:
    return {} if task.task_id is None else {f"{task.library}_task_id": task.task_id}


class Publication:
    """The span of a message that is sent, for a ``with`` block, in which the library's commands make no spans.

    ``describe`` looks at what the application sends, and so may fail; the message is sent without a span then.
    """

    def __init__(self, describe: Callable[[], Task]) -> None:
        self._describe = describe
        self.task: Task | None = None
        self.span: Span = otel_trace.INVALID_SPAN
        self._attachment: Attachment | None = None

    def __enter__(self) -> Self:
        with guarded("starting the span of a task's message"):
            task, context = self._describe(), settled_context()
            self.task = task
            attributes = {**task.attributes("send"), OP_ATTRIBUTE: "queue.publish"}
            self.span = create_tracer(task.library).start_span(
                task.name, context, kind=SpanKind.PRODUCER, attributes=attributes
            )
            self._attachment = Attachment(suppressed(otel_trace.set_span_in_context(self.span, context)))
        return self

    def describe(self, task: Task) -> None:
        """Add what is known about the message by now."""
        if self.span.is_recording():
            self.span.set_attributes(task.attributes("send"))
            if task.retries:
                self.span.set_attribute(RETRIES, task.retries)

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        with guarded("ending the span of a task's message"):
            if self._attachment is not None:
                self._attachment.detach()
            if isinstance(error, Exception):
                record_error(self.span, error)
            self.span.end()


def write_headers(headers: MutableMapping[str, Any]) -> None:
    """Write the trace headers of the current span, and the time, into the ``headers`` of a message.

    Those of an earlier message are removed: a library may send a task's message again. A value that neither we nor
    other telemetry have written, such as an object that the library cannot send, is the application's and stays.
    """
    theirs = {name for name in (*_SPANS, _BAGGAGE, SENT_AT) if not _is_of_telemetry(headers.get(name))}
    for name in _SPANS:
        if name not in theirs:
            headers.pop(name, None)
    ours = {} if _BAGGAGE in theirs else {_BAGGAGE: headers[_BAGGAGE]} if _BAGGAGE in headers else {}
    propagate.inject(ours)
    ours[SENT_AT] = time.time()
    headers.update((name, value) for name, value in ours.items() if name not in theirs)


def _is_of_telemetry(value: Any) -> bool:
    """Whether telemetry may have written the header; propagators would split a long one."""
    return value is None or type(value) in (int, float) or (type(value) is str and len(value) <= MAX_HEADER)


def arguments_by_name(function: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by the names of its parameters, so that names mask them."""
    try:
        return dict(inspect.signature(function).bind_partial(*args, **kwargs).arguments)
    except (TypeError, ValueError):  # arguments that do not fit, or a function without a signature
        return {**{str(place): value for place, value in enumerate(args or ())}, **(kwargs or {})}


def _latency(headers: Mapping[str, Any]) -> float | None:
    """Milliseconds since the message was sent."""
    try:
        passed = time.time() - float(headers[SENT_AT])
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
    return round(max(0.0, passed) * 1_000, 3) if passed < MAX_LATENCY else None


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    """The headers that are texts of a header's length; propagators expect no others, and split what they get."""
    return {
        name.lower(): encodable(value)  # a lone surrogate makes propagators raise
        for name, value in headers.items()
        if type(name) is str and type(value) is str and len(value) <= MAX_HEADER
    }
