"""Tests of the daemon threads that no instrumentation has patched."""

import contextvars
import threading

import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration

from brain_otel.runtime.threads import start_daemon
from tests.support.threads import no_new_threads

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME")


def test_a_thread_starts_as_a_daemon_in_an_empty_context() -> None:
    """It runs the target, and knows nothing of the request that started it."""
    found: list[tuple[str, bool, str | None]] = []

    def run() -> None:
        found.append((threading.current_thread().name, threading.current_thread().daemon, NAME.get(None)))

    token = NAME.set("request")
    thread = start_daemon(run, "brain_otel.test")
    NAME.reset(token)
    assert thread is not None
    thread.join(5)
    assert found == [("brain_otel.test", True, None)]


def test_sentry_sdk_copies_no_scope_into_a_thread() -> None:
    """Its integration patches `Thread.start` and `Thread.run`: an application's thread has the tag, ours does not."""
    tags: dict[str, object] = {}

    def read(name: str) -> None:
        tags[name] = dict(sentry_sdk.get_isolation_scope()._tags)

    with sentry_sdk.isolation_scope() as scope:
        before = sentry_sdk.get_global_scope().client
        sentry_sdk.init(default_integrations=False, integrations=[ThreadingIntegration()])
        try:
            scope.set_tag("of", "request")
            theirs = threading.Thread(target=read, args=("theirs",))
            theirs.start()
            ours = start_daemon(lambda: read("ours"), "brain_otel.test")
            assert ours is not None
            theirs.join(5)
            ours.join(5)
        finally:
            sentry_sdk.get_global_scope().set_client(before)
    assert tags == {"theirs": {"of": "request"}, "ours": {}}


def test_no_thread_is_returned_where_none_can_start() -> None:
    with no_new_threads():
        assert start_daemon(lambda: None, "brain_otel.none") is None
    assert "brain_otel.none" not in [each.name for each in threading.enumerate()]
