"""Release health: each request is a session of Sentry's, which sentry-sdk sends as numbers per minute."""

from __future__ import annotations

import time
from typing import Any

import sentry_sdk
from sentry_sdk.session import Session

from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.named_tuple import NamedTuple


class _Counts(NamedTuple):
    """Where sentry-sdk counts the sessions of one minute that went well."""

    minute: int
    flusher: Any
    pending: Any
    """All counts that it has not sent yet."""
    states: dict[str, Any]


class SuccessfulSessions:
    """Counts the requests in which nothing was captured: a fast path.

    sentry-sdk looks the counts of a session up by all its fields. For these requests the fields are the same, so the
    counts are as long as the minute lasts and sentry-sdk has not sent them.
    """

    def __init__(self) -> None:
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """In a child, sentry-sdk has to start the thread that sends the counts."""
        self._counts: _Counts | None = None

    def count(self) -> None:
        """Count one request of this minute."""
        minute, counts = int(time.time() // 60), self._counts
        if counts is not None and counts.minute == minute:
            with counts.flusher._aggregate_lock:
                if counts.flusher.pending_aggregates is counts.pending:
                    counts.states["exited"] += 1
                    return
        client = sentry_sdk.get_client()
        if client.options.get("auto_session_tracking"):
            session = _successful(client)
            client.capture_session(session)
            self._counts = _counts_of(session, client, minute)


def start_session(scope: sentry_sdk.Scope) -> None:
    """Start a request's session on ``scope`` unless release health is off."""
    if sentry_sdk.get_client().options.get("auto_session_tracking"):
        scope.start_session(session_mode="request")


def _successful(client: Any) -> Session:
    options = client.options
    session = Session(release=options["release"], environment=options["environment"], session_mode="request")
    session.close()
    return session


def _counts_of(session: Session, client: Any, minute: int) -> _Counts | None:
    """Where sentry-sdk has just counted ``session``; None if that cannot be told."""
    flusher = getattr(client, "session_flusher", None)
    pending = getattr(flusher, "pending_aggregates", None)
    if not isinstance(pending, dict) or not hasattr(flusher, "_aggregate_lock"):
        return None
    fields = tuple(sorted(session.get_json_attrs(with_user_info=False).items()))
    states = pending.get(fields, {}).get(session.truncated_started, {})
    return _Counts(minute, flusher, pending, states) if "exited" in states else None
