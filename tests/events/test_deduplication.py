"""One failure is one event: what is remembered of an exception, and by whom it is found."""

import weakref
from collections.abc import Iterator

import pytest

from brain_otel.configuration.sections.errors import ErrorSettings
from brain_otel.events.deduplication import (
    MAX_RECORDS,
    ended_traces,
    find_record,
    has_reported,
    record_counted,
    record_ignored,
    record_reported,
    trace_of,
    was_counted,
)
from brain_otel.events.error_rules import configure_error_rules
from brain_otel.events.listeners import EventListener, Failure, configure_listeners, local_trace_entered
from brain_otel.events.report import report_exception
from brain_otel.traces.local_trace import LocalTrace


class Recorder(EventListener):
    """Keeps the ids of the exceptions that it is given."""

    def __init__(self) -> None:
        self.event_ids: list[str] = []

    def on_exception(self, failure: Failure) -> None:
        self.event_ids.append(failure.event_id)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    configure_listeners((made,))
    configure_error_rules(ErrorSettings(ignored_exceptions=("KeyError",)))
    yield made
    configure_listeners(())
    configure_error_rules(ErrorSettings())


def report(error: BaseException) -> str | None:
    return report_exception(error, handled=False, mechanism="test")


def test_a_second_report_returns_the_first_id(recorder: Recorder) -> None:
    """And reaches no listener."""
    error = ValueError("no")
    with local_trace_entered(LocalTrace(kind="request")) as trace:
        first = report(error)
        assert report(error) == first
        assert has_reported(trace)
    assert recorder.event_ids == [first]


def test_an_ignored_exception_stays_ignored(recorder: Recorder) -> None:
    """Its record has no id, and a later report makes no event, whoever makes it."""
    by_rule, by_caller = KeyError("no"), ValueError("the client's")
    with local_trace_entered(LocalTrace(kind="request")) as trace:
        assert report(by_rule) is None
        record_ignored(by_caller)
        assert report(by_caller) is None
        for error in (by_rule, by_caller):
            record = find_record(error)
            assert record is not None
            assert record.is_ignored
        assert not has_reported(trace)
    assert recorder.event_ids == []


def test_a_group_is_reported_if_all_of_it_is() -> None:
    """An ignored or unknown exception in it makes the group an event of its own."""
    reported, ignored = ValueError("reported"), ValueError("ignored")
    with local_trace_entered(LocalTrace(kind="request")) as trace:
        record_reported(trace, reported, "a" * 32)
        record_ignored(ignored)
        found = find_record(ExceptionGroup("all", [reported, reported]))
        assert found is not None
        assert found.event_id == "a" * 32
        assert find_record(ExceptionGroup("one ignored", [reported, ignored])) is None
        assert find_record(ExceptionGroup("one unknown", [reported, ValueError("new")])) is None


def test_records_are_bounded() -> None:
    """The oldest is discarded."""
    errors = [ValueError(number) for number in range(MAX_RECORDS + 1)]
    trace = LocalTrace(kind="request")
    for error in errors:
        record_reported(trace, error, "a" * 32)
    assert len(trace.failures) == MAX_RECORDS
    assert find_record(errors[0], trace) is None
    assert find_record(errors[-1], trace) is not None


def test_an_exception_is_found_after_it_ended_its_trace() -> None:
    """By the server's log or `sys.excepthook`; another exception is not."""
    error = ValueError("no")
    trace = LocalTrace(kind="transaction")
    record_reported(trace, error, "a" * 32)
    with pytest.raises(ValueError, match="no"), local_trace_entered(trace):
        raise error
    assert trace_of(error) is trace
    assert find_record(error) == (error, "a" * 32)
    assert trace_of(ValueError("another")) is None
    assert trace_of(None) is None


def test_the_next_transaction_releases_the_exception_of_the_last() -> None:
    """Its frames hold the application's objects. A request does not touch it."""
    error = ValueError("no")
    with pytest.raises(ValueError, match="no"), local_trace_entered(LocalTrace(kind="transaction")) as trace:
        raise error
    ended_traces._here.set(None)
    with local_trace_entered(LocalTrace(kind="request")):
        pass
    assert trace_of(error) is trace
    with local_trace_entered(LocalTrace(kind="transaction")):
        pass
    assert trace_of(error) is None


def test_without_a_local_trace_every_report_is_an_event(recorder: Recorder) -> None:
    """Nothing remembers it."""
    error = ValueError("no")
    record_ignored(error)
    first, second = report(error), report(error)
    assert recorder.event_ids == [first, second]
    assert find_record(error) is None


def test_outside_of_a_local_trace_the_latest_exception_is_known_as_counted() -> None:
    """In the same context."""
    first, second = LookupError("a"), ValueError("b")
    assert not was_counted(first)
    record_counted(first)
    assert was_counted(first)
    record_counted(second)
    assert (was_counted(second), was_counted(first)) == (True, False)


class OwnError(Exception):
    """Weak references to it are possible."""


def test_an_exception_outside_of_a_local_trace_is_not_kept() -> None:
    """Its frames hold the application's objects."""
    error = OwnError("a")
    alive = weakref.ref(error)
    record_counted(error)
    assert was_counted(error)
    del error
    assert alive() is None
