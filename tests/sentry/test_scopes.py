"""A request's scope is forked once, on the first access, and keeps what was written before."""

import os
import threading
from typing import Any

import pytest
import sentry_sdk
from opentelemetry.context import Context
from opentelemetry.trace import Tracer

import brain_otel
from brain_otel.events.listeners import Failure, listeners, local_trace_entered
from brain_otel.runtime import guard
from brain_otel.runtime.fast_paths import configure_fast_paths, fast_paths_enabled
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


def test_the_first_access_forks_the_scope_once(base: sentry_sdk.Scope) -> None:
    """It then has every field of a fork, and shares none with the base."""
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


def test_a_write_forks_the_scope_and_stays(base: sentry_sdk.Scope) -> None:
    """The other fields are those of the fork."""
    seen: list[Any] = []
    scope = RequestScope(base, lambda made: seen.append((made._user, made._tags)))
    scope._level = "warning"
    assert not scope.is_untouched
    scope._user = {"id": "early"}
    assert scope._tags == {"base": "yes"}
    assert (scope._user, scope._level) == ({"id": "early"}, "warning")
    assert seen == [({"id": "base"}, {"base": "yes"})]


def test_a_fork_of_a_request_scope_is_a_plain_scope(base: sentry_sdk.Scope) -> None:
    """It has all fields of the request's scope."""
    scope = RequestScope(base)
    forked = scope.fork()
    assert type(forked) is sentry_sdk.Scope
    assert (forked._tags, forked._user) == ({"base": "yes"}, {"id": "base"})
    forked.set_tag("own", "yes")
    assert scope._tags == {"base": "yes"}


def test_threads_never_see_a_scope_half_complete(base: sentry_sdk.Scope) -> None:
    """It is completed once, before any field can be read."""
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


def test_a_thread_waits_while_another_completes_the_scope(base: sentry_sdk.Scope) -> None:
    """It does not see the breadcrumbs of the base, and what it writes stays."""
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
    """Count the reported sessions by status."""
    bridge.flush()
    ingest.wait_for(lambda it: bool(it.sessions))
    counts = {"exited": 0, "errored": 0, "crashed": 0}
    for session in ingest.sessions:
        for aggregate in session["aggregates"]:
            for name in counts:
                counts[name] += aggregate.get(name, 0)
    return counts


def test_each_request_is_one_session(connect: Connect, ingest: SentryIngest) -> None:
    """Whether its scope was accessed or not; a transaction outside of a request is none."""
    bridge = connect()
    for number in range(12):
        trace = LocalTrace(kind="request")
        with local_trace_entered(trace), bridge.tracer.start_as_current_span("GET /"):
            if number % 4 == 1:
                brain_otel.set_tag("touched", "yes")
            if number % 4 == 2:
                brain_otel.capture_exception(ValueError("handled"))
            scope = scope_of(trace)
            if fast_paths_enabled():
                assert isinstance(scope, RequestScope)
                assert scope.is_untouched == (number % 4 in (0, 3))
    with local_trace_entered(LocalTrace(kind="transaction")), bridge.tracer.start_as_current_span("task"):
        pass
    assert sessions(ingest, bridge) == {"exited": 9, "errored": 3, "crashed": 0}


def test_a_request_that_crashes_is_a_crashed_session(bridge: Bridge, ingest: SentryIngest) -> None:
    """An unhandled exception makes it one."""
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("GET /"):
        failure = Failure(error=ValueError("no"), event_id="a" * 32, mechanism="fastapi", handled=False, context={})
        for listener in listeners():
            listener.on_exception(failure)
    assert sessions(ingest, bridge) == {"exited": 0, "errored": 0, "crashed": 1}


def test_successful_requests_are_counted_after_a_report_too(bridge: Bridge, ingest: SentryIngest) -> None:
    """A report starts the counts anew, and the session of the minute goes on."""
    for requests in (3, 2):
        ingest.clear()
        for _ in range(requests):
            with local_trace_entered(LocalTrace(kind="request")):
                pass
        assert sessions(ingest, bridge) == {"exited": requests, "errored": 0, "crashed": 0}


def test_a_forked_child_reports_its_own_sessions(bridge: Bridge) -> None:
    """sentry-sdk starts the child's thread when it gets a session."""
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


def test_without_fast_paths_requests_get_a_plain_fork(connect: Connect, ingest: SentryIngest) -> None:
    """With its tag, and with one session per request."""
    configure_fast_paths(False)
    bridge = connect()
    for number in range(2):
        with local_trace_entered(LocalTrace(kind="request")) as trace, bridge.tracer.start_as_current_span("GET /"):
            assert type(scope_of(trace)) is sentry_sdk.Scope
            brain_otel.set_tag("number", number)
    assert sessions(ingest, bridge)["exited"] == 2
    assert [each["tags"] for each in ingest.transactions] == [{"number": "0"}, {"number": "1"}]


@pytest.mark.usefixtures("fast_paths")
def test_a_scope_that_cannot_be_forked_on_access_is_forked_at_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A release of sentry-sdk may store its fields differently. One line says so."""
    guard.reraise_failures(False)
    guard.forget_logged_places()
    with monkeypatch.context() as patched:
        patched.setattr(scopes, "_fields", lambda _: sentry_sdk.Scope.fields)  # type: ignore[attr-defined]
        bridge = connect()
        with local_trace_entered(LocalTrace(kind="request")) as trace, bridge.tracer.start_as_current_span("GET /"):
            assert type(scope_of(trace)) is sentry_sdk.Scope
    assert bridge.transaction()["transaction"] == "GET /"
    assert [record.message.partition(";")[0] for record in caplog.records if record.levelname == "ERROR"] == [
        "brain_otel failed while forking a scope on its first access"
    ]


def serve(tracer: Tracer, *, marks: bool) -> None:
    """Serve a request that puts one of everything on its scopes, or nothing."""
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


def test_no_data_of_a_request_reaches_another(bridge: Bridge, ingest: SentryIngest) -> None:
    """Neither its user, tag, context, breadcrumb nor level, before or after."""
    for marks in (False, True, False):
        serve(bridge.tracer, marks=marks)
    bridge.flush()
    ingest.wait_for(lambda it: len(it.transactions) == 3 and len(it.events) == 3)
    found = sorted((each["message"], "marked" in str(each), each["level"]) for each in ingest.events)
    assert found == [("loud", True, "warning"), ("quiet", False, "info"), ("quiet", False, "info")]
    assert sorted("marked" in str(each) for each in ingest.transactions) == [False, False, True]


@pytest.mark.parametrize(
    "place",
    [
        "listener.SentryListener.on_trace_start",
        "listener.SentryListener._created_base",
        "scopes.BaseScopes.enter",
        "scopes.BaseScopes.fork",
        "scopes.EnteredScopes.__init__",
        "scopes.RequestScope.__init__",
    ],
)
def test_no_data_of_a_request_without_our_scopes_reaches_another(
    place: str, bridge: Bridge, ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where we fail to make its scopes, it has sentry-sdk's."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("injected")

    guard.reraise_failures(False)
    with monkeypatch.context() as broken:
        broken.setattr(f"brain_otel.sentry.{place}", fail)
        serve(bridge.tracer, marks=True)
    serve(bridge.tracer, marks=False)
    bridge.flush()
    ingest.wait_for(lambda it: len(it.transactions) == 2 and len(it.events) == 2)
    found = sorted((each["message"], "marked" in str(each), each["level"]) for each in ingest.events)
    assert found == [("loud", True, "warning"), ("quiet", False, "info")]
    assert "marked" not in str(sentry_sdk.get_isolation_scope()._tags)


def test_requests_start_from_the_scopes_of_setup(bridge: Bridge, ingest: SentryIngest) -> None:
    """A tag set beside `setup()` is on each request; one set within a request is on that one alone."""
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


def _described(scope: sentry_sdk.Scope) -> None:
    scope.set_tag("current", "yes")
    scope.set_user({"id": "u1"})
    scope.set_context("cluster", {"name": "blue"})
    scope.set_extra("more", 1)


def _with_more(scope: sentry_sdk.Scope) -> None:
    _described(scope)
    scope.fingerprint = ["mine"]
    scope.set_level("warning")


@pytest.mark.parametrize("describe", [_described, _with_more], ids=["plain", "with a fingerprint"])
@pytest.mark.parametrize("opens_inside", [False, True])
def test_what_is_set_on_the_current_scope_reaches_the_transaction(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, describe: Any, opens_inside: bool
) -> None:
    """As with sentry-sdk's own transactions, be it plain data or what needs sentry-sdk's pipeline."""
    monkeypatch.setattr("opentelemetry.trace.get_tracer", lambda *_, **__: bridge.tracer)
    with sentry_sdk.new_scope() as around:
        if opens_inside:
            with brain_otel.start_transaction("job"):
                describe(sentry_sdk.get_current_scope())
        else:
            describe(around)
            with brain_otel.start_transaction("job"):
                pass
    transaction = bridge.transaction()
    assert transaction["tags"] == {"current": "yes"}
    assert transaction["user"] == {"id": "u1"}
    assert transaction["contexts"]["cluster"] == {"name": "blue"}
    assert transaction["extra"] == {"more": 1}
    expected = (["mine"], "warning") if describe is _with_more else (None, None)
    assert (transaction.get("fingerprint"), transaction.get("level")) == expected


def test_a_scope_inside_of_the_transaction_keeps_its_data(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set in `new_scope()` is for the block."""
    monkeypatch.setattr("opentelemetry.trace.get_tracer", lambda *_, **__: bridge.tracer)
    with brain_otel.start_transaction("job"):
        sentry_sdk.get_current_scope().set_tag("outer", "yes")
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("inner", "yes")
    assert bridge.transaction()["tags"] == {"outer": "yes"}


def test_requests_do_not_share_their_current_scopes(bridge: Bridge) -> None:
    """Each starts from the scope of the set-up; what the current scope says wins over the isolation scope."""
    for number in range(3):
        with (
            local_trace_entered(LocalTrace(kind="request")) as trace,
            bridge.tracer.start_as_current_span(f"GET /{number}", context=Context()) as span,
        ):
            trace.start(span, None)
            if number < 2:
                sentry_sdk.get_isolation_scope().set_tag("number", "isolation")
                sentry_sdk.get_current_scope().set_tag("number", str(number))
    bridge.flush()
    found = {each["transaction"]: each.get("tags") for each in bridge.ingest.transactions}
    assert found == {"GET /0": {"number": "0"}, "GET /1": {"number": "1"}, "GET /2": {}}


@pytest.mark.parametrize("source", [None, "task"])
def test_a_transaction_has_the_name_of_its_scope(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, source: str | None
) -> None:
    """And its source if one was given; the name is masked."""
    monkeypatch.setattr("opentelemetry.trace.get_tracer", lambda *_, **__: bridge.tracer)
    with brain_otel.start_transaction("job"):
        sentry_sdk.set_transaction_name("nightly password=hunter2-4Zq", source)
    transaction = bridge.transaction()
    assert transaction["transaction"] == "nightly password=[Filtered]"
    assert transaction["transaction_info"] == {"source": source or "custom"}
