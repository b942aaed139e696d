"""A request's scope is forked when somebody looks at it, once, and holds what was written before."""

import os
import threading
from typing import Any

import pytest
import sentry_sdk
from opentelemetry.context import Context
from opentelemetry.trace import Tracer

import brain_otel
from brain_otel.events.listeners import Failure, listeners, local_trace_entered
from brain_otel.sentry import scopes
from brain_otel.sentry.scopes import RequestScope, scope_of
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Bridge, Connect
from tests.support.ingest import SentryIngest


@pytest.fixture
def base() -> sentry_sdk.Scope:
    """Give a scope with one of everything."""
    scope = sentry_sdk.Scope()
    scope.set_tag("base", "yes")
    scope.set_context("cluster", {"name": "blue"})
    scope.set_extra("more", 1)
    scope.set_user({"id": "base"})
    scope.add_breadcrumb({"message": "base"})
    scope.add_event_processor(lambda event, _: event)
    return scope


def test_it_is_forked_once_when_first_looked_at(base: sentry_sdk.Scope) -> None:
    """And holds each field that a fork holds, apart from the other's."""
    begun: list[sentry_sdk.Scope] = []
    scope = RequestScope(base, begun.append)
    assert begun == []
    expected = base.fork()
    for name in sentry_sdk.Scope.__slots__:
        if hasattr(expected, name):
            given, wanted = getattr(scope, name), getattr(expected, name)
            assert type(given) is type(wanted), name
            assert repr(given) == repr(wanted) or name == "_flags", name
    assert len(begun) == 1
    assert scope.is_untouched is False
    scope.set_tag("own", "yes")
    assert base._tags == {"base": "yes"}
    with pytest.raises(AttributeError):
        _ = scope.nothing


def test_what_was_written_before_it_was_looked_at_stays(base: sentry_sdk.Scope) -> None:
    """To write is to touch: the others are the fork's, and it is no longer what it was forked from."""
    seen: list[Any] = []
    scope = RequestScope(base, lambda made: seen.append((made._user, made._tags)))
    scope._level = "warning"
    assert not scope.is_untouched
    scope._user = {"id": "early"}
    assert scope._tags == {"base": "yes"}
    assert (scope._user, scope._level) == ({"id": "early"}, "warning")
    assert seen == [({"id": "base"}, {"base": "yes"})]


def test_a_fork_of_it_is_a_plain_scope(base: sentry_sdk.Scope) -> None:
    """With all that it holds."""
    scope = RequestScope(base)
    forked = scope.fork()
    assert type(forked) is sentry_sdk.Scope
    assert (forked._tags, forked._user) == ({"base": "yes"}, {"id": "base"})
    forked.set_tag("own", "yes")
    assert scope._tags == {"base": "yes"}


def test_several_threads_see_it_whole(base: sentry_sdk.Scope) -> None:
    """It is completed once, and no field is there before all of it is complete."""
    for _ in range(200):
        begun: list[None] = []

        def begin(made: sentry_sdk.Scope, begun: list[None] = begun) -> None:
            begun.append(None)
            made.clear_breadcrumbs()
            made.add_event_processor(lambda event, _: event)

        scope = RequestScope(base, begin)
        ready, seen = threading.Barrier(4), list[tuple[int, int]]()

        def look(scope: RequestScope = scope, ready: threading.Barrier = ready, seen: Any = seen) -> None:
            ready.wait()
            seen.append((len(scope._event_processors), len(scope._breadcrumbs)))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [(2, 0)] * 4
        assert len(begun) == 1


def test_a_thread_that_comes_while_it_is_completed_waits(base: sentry_sdk.Scope) -> None:
    """It does not get the breadcrumbs of what the scope was forked from, and what it writes stays."""
    going_on, finish, begun = threading.Event(), threading.Event(), list[None]()

    def begin(made: sentry_sdk.Scope) -> None:
        begun.append(None)
        going_on.set()
        assert finish.wait(5)
        made.clear_breadcrumbs()

    scope, seen = RequestScope(base, begin), list[int]()
    first = threading.Thread(target=lambda: scope._tags)
    second = threading.Thread(target=lambda: seen.append(len(scope._breadcrumbs)))
    first.start()
    assert going_on.wait(5)
    second.start()
    third = threading.Thread(target=lambda: setattr(scope, "_user", {"id": "meanwhile"}))
    third.start()
    second.join(0.05)
    assert (seen, len(begun)) == ([], 1)
    finish.set()
    for thread in (first, second, third):
        thread.join()
    assert (seen, len(begun)) == ([0], 1)
    assert scope._user == {"id": "meanwhile"}


def sessions(ingest: SentryIngest, bridge: Bridge) -> dict[str, int]:
    """Count the sessions that were told, by how they ended."""
    bridge.flush()
    ingest.wait_for(lambda it: bool(it.sessions))
    counts = {"exited": 0, "errored": 0, "crashed": 0}
    for told in ingest.sessions:
        for aggregate in told["aggregates"]:
            for name in counts:
                counts[name] += aggregate.get(name, 0)
    return counts


def test_each_request_is_one_session_touched_or_not(connect: Connect, ingest: SentryIngest) -> None:
    """Well, with an error that was handled, or crashed; what is no request is none."""
    bridge = connect()
    for number in range(12):
        trace = LocalTrace(kind="request")
        with local_trace_entered(trace), bridge.tracer.start_as_current_span("GET /"):
            if number % 4 == 1:
                brain_otel.set_tag("touched", "yes")
            if number % 4 == 2:
                brain_otel.capture_exception(ValueError("handled"))
            scope = scope_of(trace)
            assert isinstance(scope, RequestScope)
            assert scope.is_untouched == (number % 4 in (0, 3))
    with local_trace_entered(LocalTrace(kind="transaction")), bridge.tracer.start_as_current_span("task"):
        pass
    assert sessions(ingest, bridge) == {"exited": 9, "errored": 3, "crashed": 0}


def test_a_request_that_crashes_is_a_crashed_session(bridge: Bridge, ingest: SentryIngest) -> None:
    """Told by the very error that left it."""
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("GET /"):
        failure = Failure(error=ValueError("no"), event_id="a" * 32, mechanism="fastapi", handled=False, context={})
        for listener in listeners():
            listener.on_exception(failure)
    assert sessions(ingest, bridge) == {"exited": 0, "errored": 0, "crashed": 1}


def test_sessions_of_two_minutes_are_told_apart(monkeypatch: pytest.MonkeyPatch, bridge: Bridge) -> None:
    """A session that goes well stands for all of its minute, and of its client."""
    client = sentry_sdk.get_client()
    known = scopes._WithoutErrors()
    now = [60_000.0]
    monkeypatch.setattr("brain_otel.sentry.scopes.time.time", lambda: now[0])
    first = known.of(client)
    now[0] += 59
    assert known.of(client) is first
    now[0] += 1
    assert known.of(client) is not first
    assert first.status == "exited"


def test_sessions_that_go_well_are_counted_where_the_first_was(bridge: Bridge, ingest: SentryIngest) -> None:
    """Until they are told, and anew then."""
    client: Any = sentry_sdk.get_client()
    known = scopes._WithoutErrors()
    for counted in (3, 2):
        ingest.clear()
        for _ in range(counted):
            known.count(client)
        (counts,) = client.session_flusher.pending_aggregates.values()
        assert sum(each["exited"] for each in counts.values()) == counted
        assert sessions(ingest, bridge)["exited"] == counted
        assert client.session_flusher.pending_aggregates == {}


def test_a_forked_child_tells_of_its_own_sessions(bridge: Bridge) -> None:
    """sentry-sdk starts the child's thread when a session is handed to it."""
    with local_trace_entered(LocalTrace(kind="request")):
        pass
    client: Any = sentry_sdk.get_client()
    flusher = client.session_flusher
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with local_trace_entered(LocalTrace(kind="request")):
            pass
        os.write(writing, str(flusher._thread_for_pid == os.getpid()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"True"


def test_nothing_is_left_for_the_next_request(bridge: Bridge, ingest: SentryIngest) -> None:
    """User, tag, context, breadcrumb, level and processor of one are of no other, before or after."""

    def serve(tracer: Tracer, marks: bool) -> None:
        with local_trace_entered(LocalTrace(kind="request")), tracer.start_as_current_span("GET /", Context()):
            if marks:
                scope = sentry_sdk.get_isolation_scope()
                brain_otel.set_user_context("marked")
                brain_otel.set_tag("marked", "yes")
                brain_otel.set_context("marked", {"a": 1})
                brain_otel.add_breadcrumb("marked")
                scope.set_level("warning")
                sentry_sdk.get_current_scope().set_tag("current", "marked")
            brain_otel.capture_message("loud" if marks else "quiet")

    for marks in (False, True, False):
        serve(bridge.tracer, marks)
    bridge.flush()
    ingest.wait_for(lambda it: len(it.transactions) == 3 and len(it.events) == 3)
    found = sorted((each["message"], "marked" in str(each), each["level"]) for each in ingest.events)
    assert found == [("loud", True, "warning"), ("quiet", False, "info"), ("quiet", False, "info")]
    assert sorted("marked" in str(each) for each in ingest.transactions) == [False, False, True]


def test_requests_begin_from_what_was_set_up_with(bridge: Bridge, ingest: SentryIngest) -> None:
    """A tag set beside `setup()` is on each, one set within a request on none but it."""
    sentry_sdk.get_isolation_scope().set_tag("service", "shop")
    try:
        with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("GET /one"):
            brain_otel.set_tag("within", "one")
            inner = LocalTrace(kind="request")
            with local_trace_entered(inner), bridge.tracer.start_as_current_span("GET /two", Context()):
                pass
        bridge.flush()
        ingest.wait_for(lambda it: len(it.transactions) == 2)
    finally:
        sentry_sdk.get_isolation_scope().clear()
    tags = {each["transaction"]: each["tags"] for each in ingest.transactions}
    assert tags == {"GET /one": {"service": "shop", "within": "one"}, "GET /two": {"service": "shop"}}
