"""One isolation scope per local trace: what the user, tags and breadcrumbs of a request are kept on.

sentry-sdk keeps them on an *isolation scope*, found through a context variable. A request, and a transaction
outside of any request, gets a fork of its own; a transaction inside a request shares the request's.
"""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.scope import _current_scope, _isolation_scope, use_isolation_scope, use_scope
from sentry_sdk.session import Session

from brain_otel.runtime.fork import reset_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.traces.local_trace import LocalTrace

_KEPT = "sentry.scope"
_NO_ID = uuid.UUID(int=0)


class RequestScope(sentry_sdk.Scope):
    """A fork of another scope that is made when somebody first looks at it, or writes on it.

    Most requests go well and say nothing of themselves; for those the copy of some thirty fields, several times a
    request, would be most of what the bridge costs. Python asks ``__getattr__`` for a field that is not there yet.
    The client is there from the beginning: sentry-sdk asks each scope for its own all the time.
    """

    __slots__ = ("__weakref__", "_begin", "_forked_from", "_making")

    def __init__(
        self, forked_from: sentry_sdk.Scope, begin: Callable[[sentry_sdk.Scope], None] = lambda _: None
    ) -> None:
        """Fork ``forked_from`` later; ``begin`` completes the fork."""
        _set(self, "_making", threading.RLock())  # a request may be at work in several threads
        _set(self, "_begin", begin)
        _set(self, "client", forked_from.client)
        _set(self, "_forked_from", forked_from)

    @property
    def is_untouched(self) -> bool:
        """Whether nobody has looked at it yet, or written on it, so that it holds what the other does."""
        return self._forked_from is not None

    def __getattr__(self, name: str) -> Any:
        if name in RequestScope.__slots__:
            raise AttributeError(name)
        self._fork()
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "_forked_from", None) is not None:
            self._fork()
        _set(self, name, value)

    def _fork(self) -> None:
        with self._making:
            other: sentry_sdk.Scope | None = self._forked_from
            if other is not None:
                made = other.fork()
                self._begin(made)
                for field, value in _fields(made):  # complete: other threads may read a field as soon as it is there
                    _set(self, field, value)
                _set(self, "_forked_from", None)

    def __copy__(self) -> sentry_sdk.Scope:
        """A plain scope: who forks this one is about to use it."""
        made: sentry_sdk.Scope = object.__new__(sentry_sdk.Scope)
        for field, value in _fields(super().__copy__()):
            setattr(made, field, value)
        return made


_set = object.__setattr__


def _fields(scope: sentry_sdk.Scope) -> list[tuple[str, Any]]:
    return [(name, getattr(scope, name)) for name in sentry_sdk.Scope.__slots__ if _has(scope, name)]


def _has(scope: sentry_sdk.Scope, name: str) -> bool:
    try:
        object.__getattribute__(scope, name)
    except AttributeError:
        return False
    return True


class BaseScopes:
    """The scopes of the code that set everything up: what is set on them is on every request."""

    def __init__(self) -> None:
        self.isolation = sentry_sdk.get_isolation_scope()
        self.current = sentry_sdk.get_current_scope()


class Entered:
    """The scopes of a local trace, current until :meth:`close` is called in the same context."""

    __slots__ = ("_current", "_isolation", "isolation")

    def __init__(self, isolation: sentry_sdk.Scope, current: sentry_sdk.Scope) -> None:
        self.isolation: sentry_sdk.Scope | None = isolation
        # `use_isolation_scope()` forks the current scope each time; these are what it sets. A test pins them.
        self._current = _current_scope.set(current)
        self._isolation = _isolation_scope.set(isolation)

    def close(self) -> None:
        """Make current what was before."""
        _isolation_scope.reset(self._isolation)
        _current_scope.reset(self._current)


def enter_scope(trace: LocalTrace, apply: Callable[[Any, Any], Any], base: BaseScopes) -> Entered | None:
    """Give ``trace`` its isolation scope in the current context; ``close()`` the result to leave it.

    A request begins from ``base``, never from what happens to be current: a server that is sent two requests at
    once starts the second in the context of the first. ``apply`` becomes an event processor of the scope. It goes
    along with every fork, so it also sees what a thread captures that sentry-sdk gave the scope but nobody gave the
    OpenTelemetry context. None for a transaction inside a request, which shares the request's scope.
    """
    around = scope_of(trace.parent) if trace.parent is not None else None
    if around is not None and trace.parent is not None and not trace.parent.closed:
        trace.extras[_KEPT] = around
        return None

    def begin(scope: sentry_sdk.Scope) -> None:
        scope.clear_breadcrumbs()
        scope.add_event_processor(apply)
        if trace.kind == "request" and not trace.closed:
            start_session(scope)

    if trace.kind == "request":
        entered = Entered(RequestScope(base.isolation, begin), RequestScope(base.current))
    else:
        scope = (around or sentry_sdk.get_isolation_scope()).fork()
        begin(scope)
        entered = Entered(scope, sentry_sdk.get_current_scope().fork())
    trace.extras[_KEPT] = entered.isolation
    return entered


def start_session(scope: sentry_sdk.Scope) -> None:
    """Begin a request's session on ``scope``, which has none, if sessions are told to Sentry.

    Sessions of requests are told as numbers. sentry-sdk's ``start_session`` gives each an id that nobody sees, from
    the system's random numbers, which is most of its cost. A test pins ``_session``.
    """
    options = sentry_sdk.get_client().options
    if options.get("auto_session_tracking"):
        scope._session = _create_session(options, scope._user)


def end_session(scope: sentry_sdk.Scope) -> None:
    """End the session of a request with this ``scope``: one that went well unless something was captured."""
    if not isinstance(scope, RequestScope) or not scope.is_untouched:
        scope.end_session()
        return
    client = sentry_sdk.get_client()
    if client.options.get("auto_session_tracking"):
        _without_errors.count(client)


class _WithoutErrors:
    """A session that has ended well, one for all of a minute: nothing but the minute is told of them."""

    def __init__(self) -> None:
        self._known: tuple[Any, int, Session] | None = None
        self._counted: tuple[Session, Any, dict[str, Any]] | None = None
        """The latest, the flusher's counts that it is in, and its own."""

    def count(self, client: Any) -> None:
        """One more of ``client`` in this minute.

        sentry-sdk finds the counts of a session by all that is known of it, each time. They are the same as long as
        the session is and its flusher has not begun anew; a test pins the fields.
        """
        session, flusher, counted = self.of(client), client.session_flusher, self._counted
        if counted is not None and counted[0] is session:
            with flusher._aggregate_lock:
                if flusher.pending_aggregates is counted[1]:
                    counted[2]["exited"] += 1
                    return
        client.capture_session(session)
        self._counted = self._counts(session, flusher)

    @staticmethod
    def _counts(session: Session, flusher: Any) -> tuple[Session, Any, dict[str, Any]] | None:
        """Where ``session`` has just been counted; None if that cannot be told."""
        pending = getattr(flusher, "pending_aggregates", None)
        if not isinstance(pending, dict) or not hasattr(flusher, "_aggregate_lock"):
            return None
        known = tuple(sorted(session.get_json_attrs(with_user_info=False).items()))
        counts = pending.get(known, {}).get(session.truncated_started, {})
        return (session, pending, counts) if "exited" in counts else None

    def _reset(self) -> None:
        """In a forked child sentry-sdk has to start the thread that tells them."""
        self._counted = None

    def of(self, client: Any) -> Session:
        """That of ``client`` for this minute."""
        minute = int(time.time() // 60)
        known = self._known
        if known is None or known[0] is not client or known[1] != minute:
            session = _create_session(client.options, None)
            session.close()
            known = self._known = (client, minute, session)
        return known[2]


_without_errors = _WithoutErrors()
reset_in_child(_without_errors)


def _create_session(options: Any, user: Any) -> Session:
    return Session(
        sid=_NO_ID,
        release=options["release"],
        environment=options["environment"],
        user=user,
        session_mode="request",
    )


def scope_of(trace: LocalTrace) -> sentry_sdk.Scope | None:
    """The isolation scope of ``trace``, or None for one that nobody announced, or nobody has any more."""
    scope = trace.extras.get(_KEPT)
    if isinstance(scope, weakref.ref):
        scope = scope()
    return scope if isinstance(scope, sentry_sdk.Scope) else None


def let_scope_go(trace: LocalTrace) -> None:
    """``trace`` is over: who still works for it has the scope itself.

    A scope holds its trace, to link what is captured with it. If that held the scope as well, all of a request would
    be there until Python's collector comes, which would come twice as often.
    """
    scope = trace.extras.get(_KEPT)
    if isinstance(scope, RequestScope):
        trace.extras[_KEPT] = weakref.ref(scope)


def filled_scope_of(trace: LocalTrace) -> sentry_sdk.Scope | None:
    """A scope that holds what the one of ``trace`` does, which is left untouched if nobody has touched it."""
    scope = scope_of(trace)
    forked_from = scope._forked_from if isinstance(scope, RequestScope) else None
    return scope if forked_from is None else forked_from


def captured_with_scope_of(trace: LocalTrace, event: dict[str, Any], hint: dict[str, Any] | None = None) -> None:
    """Capture ``event`` with the data of ``trace``'s scope, or of none: never with a bystander's."""
    scope = scope_of(trace) or sentry_sdk.Scope()
    with use_scope(sentry_sdk.Scope()), use_isolation_scope(scope):
        sentry_sdk.capture_event(event, hint=hint)  # type: ignore[arg-type]
