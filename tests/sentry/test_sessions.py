"""Requests that went well are counted where sentry-sdk counts them, or by sentry-sdk itself."""

from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.session import Session

from brain_otel.sentry.sessions import SuccessfulSessions
from tests.sentry.conftest import Bridge


@pytest.fixture
def captured(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """The sessions that sentry-sdk is given."""
    client: Any = sentry_sdk.get_client()
    sessions: list[Session] = []

    def capture_session(session: Session) -> None:
        sessions.append(session)
        client.session_flusher.add_session(session)

    monkeypatch.setattr(client, "capture_session", capture_session)
    return sessions


def counted() -> dict[str, int]:
    """The unsent counts, by minute."""
    client: Any = sentry_sdk.get_client()
    (states,) = client.session_flusher.pending_aggregates.values()
    return {state["started"][14:16]: state["exited"] for state in states.values()}


def test_a_request_is_counted_where_the_one_before_was(captured: list[Session]) -> None:
    """sentry-sdk gets one session, and counts it as it would count each."""
    sessions = SuccessfulSessions()
    for _ in range(3):
        sessions.count()
    assert list(counted().values()) == [3]
    assert [(each.status, each.session_mode, each.release) for each in captured] == [("exited", "request", "shop@1")]


def test_each_minute_and_each_report_begins_with_a_session(
    captured: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that is counted after a report is in the next one."""
    now = [60_000.0]
    monkeypatch.setattr("brain_otel.sentry.sessions.time.time", lambda: now[0])
    sessions, numbers = SuccessfulSessions(), []
    for seconds in (0, 59, 60, 61):
        now[0] = 60_000.0 + seconds
        sessions.count()
        numbers.append(len(captured))
    assert numbers == [1, 1, 2, 2]
    client: Any = sentry_sdk.get_client()
    client.session_flusher.flush()
    sessions.count()
    assert (len(captured), list(counted().values())) == (3, [1])


@pytest.mark.parametrize("missing", ["_aggregate_lock", "pending_aggregates"])
def test_sentry_sdk_counts_each_request_where_its_counts_are_elsewhere(
    captured: list[Session], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """As a later release of sentry-sdk may keep them."""
    client: Any = sentry_sdk.get_client()
    flusher = client.session_flusher
    others = {name: value for name, value in vars(flusher).items() if name != missing}

    class Later:
        def add_session(self, session: Session) -> None:
            flusher.add_session(session)

    later = Later()
    vars(later).update(others)
    with monkeypatch.context() as patched:
        patched.setattr(client, "session_flusher", later)
        sessions = SuccessfulSessions()
        sessions.count()
        sessions.count()
    assert (len(captured), list(counted().values())) == (2, [2])


def test_no_request_is_counted_where_release_health_is_off(
    captured: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By sentry-sdk's option."""
    monkeypatch.setitem(sentry_sdk.get_client().options, "auto_session_tracking", False)
    SuccessfulSessions().count()
    assert captured == []
