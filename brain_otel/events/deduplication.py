"""One failure is one event, and counted once: remembers what became of each exception.

Several observers see the same exception: the instrumentation that it passes, the server's log, ``sys.excepthook``.
The first one reports or ignores it and leaves a record on the local trace. The others find the record and make no
second event.
"""

from contextvars import ContextVar
from typing import Any
from weakref import ref

from brain_otel.runtime.lazy_regex import expression
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import COUNTED, FailureRecord, LocalTrace

MAX_RECORDS = 64
"""Failure records per local trace; the oldest is discarded beyond it."""

MAX_LOG_TEXT = 10_000
"""Characters of a log message in which an event's id is looked for."""

_EVENT_ID = expression(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")

_latest_event: ContextVar[str | None] = ContextVar("brain_otel.latest_event", default=None)
"""The id of the latest event that the application reported here, be it outside of any local trace."""


_counted: ContextVar[Any] = ContextVar("brain_otel.counted", default=None)
"""The exception that this context has counted last outside of local traces, or a weak reference to it."""


def record_reported(trace: LocalTrace, error: BaseException, event_id: str) -> None:
    """Remember that ``error`` is the event ``event_id``."""
    _add(trace, FailureRecord(error, event_id))


def record_ignored(error: BaseException) -> None:
    """Remember for the current local trace that ``error`` is no event, such as the client's mistake."""
    trace = local_trace.current()
    if trace is not None:
        _add(trace, FailureRecord(error, None))


def remember_event(event_id: str) -> None:
    """Remember that the application has the id of this event, and may log it."""
    _latest_event.set(event_id)


def names_reported_event(text: str) -> bool:
    """Whether ``text`` has the id of an event that was just reported: a log line about it is the same failure."""
    found = set(_EVENT_ID.findall(text)) if len(text) <= MAX_LOG_TEXT else set()
    trace = local_trace.current()
    known = {record.event_id for record in trace.failures} if trace is not None else set()
    return not found.isdisjoint({*known, _latest_event.get()})


def _add(trace: LocalTrace, record: FailureRecord) -> None:
    trace.failures.append(record)
    if len(trace.failures) > MAX_RECORDS:
        del trace.failures[0]


def find_record(error: BaseException, trace: LocalTrace | None = None) -> FailureRecord | None:
    """The record of ``error`` in ``trace`` (default: the trace that ``error`` belongs to), None if it has none.

    A group whose exceptions have all been reported has the record of its first.
    """
    trace = trace or trace_of(error)
    return _search(trace, error, count=False) if trace is not None else None


def _search(trace: LocalTrace, error: BaseException, *, count: bool) -> FailureRecord | None:
    records = [each for each in trace.failures if each.is_count is count]
    found = None
    waiting = [error]
    while waiting:
        each = waiting.pop()
        record = next((record for record in records if record.error is each), None)
        if each is error and record is not None:
            return record
        if record is not None and not record.is_ignored:
            found = found or record
        elif record is None and isinstance(each, BaseExceptionGroup):
            waiting.extend(reversed(each.exceptions))
        else:
            return None
    return found


def has_reported(trace: LocalTrace) -> bool:
    """Whether a failure of ``trace`` became an event."""
    return any(not record.is_ignored and not record.is_count for record in trace.failures)


def was_counted(error: BaseException) -> bool:
    """Whether ``error`` has been counted. Outside of local traces only the latest exception is known."""
    trace = trace_of(error)
    if trace is not None:
        return _search(trace, error, count=True) is not None
    latest = _counted.get()
    return (latest() if isinstance(latest, ref) else latest) is error


def record_counted(error: BaseException) -> None:
    """Remember that ``error`` has been counted."""
    trace = trace_of(error)
    if trace is not None:
        _add(trace, FailureRecord(error, COUNTED))
        return
    try:
        _counted.set(ref(error))
    except TypeError:  # a built-in exception has no weak references
        _counted.set(error)


def trace_of(error: BaseException | None) -> LocalTrace | None:
    """The local trace that ``error`` belongs to: the current one, else the one that it has just ended."""
    return local_trace.current() or ended_traces.find(error)


class _EndedTraces:
    """The exceptions that ended local traces, one per context, and the latest that ended a transaction.

    The server's log, ``sys.excepthook`` and the log of a worker's loop see such an exception when no local trace is
    current any more. This links it nevertheless.
    """

    def __init__(self) -> None:
        self._here: ContextVar[tuple[BaseException, LocalTrace] | None] = ContextVar(
            "brain_otel.ended_trace", default=None
        )
        self._latest: tuple[BaseException, LocalTrace] | None = None

    def add(self, error: BaseException, trace: LocalTrace) -> None:
        """Remember that ``error`` ended ``trace``, an outermost local trace.

        The exception of a request is kept in its server's context alone, which ends with the request.
        """
        self._here.set((error, trace))
        if trace.kind == "transaction":
            self._latest = (error, trace)

    def find(self, error: BaseException | None) -> LocalTrace | None:
        """The local trace that ``error`` ended, if it is the latest of this context or of any transaction."""
        for ended in (self._here.get(), self._latest):
            if ended is not None and ended[0] is error:
                return ended[1]
        return None

    def forget_latest(self) -> None:
        """Release the exception that ended the latest transaction, and the frames that it holds."""
        self._latest = None


ended_traces = _EndedTraces()
