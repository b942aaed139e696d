"""One isolation scope per local trace, for the user, tags and breadcrumbs of a request.

sentry-sdk keeps them on an *isolation scope*, found through a context variable. A request, and a transaction
outside of any request, gets a fork of its own; a transaction inside a request shares the request's.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import sentry_sdk
from sentry_sdk import scope as sentry_scope
from sentry_sdk.scope import use_isolation_scope, use_scope

from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.sentry.sessions import SuccessfulSessions, start_session
from brain_otel.traces.local_trace import LocalTrace

_EXTRAS_KEY = "sentry.scope"
_CURRENT_KEY = "sentry.current_scope"

_isolation: Any = getattr(sentry_scope, "_isolation_scope", None)
_current: Any = getattr(sentry_scope, "_current_scope", None)
_are_variables = isinstance(_isolation, ContextVar) and isinstance(_current, ContextVar)

get_isolation_scope: Callable[[], Any] = _isolation.get if _are_variables else sentry_sdk.get_isolation_scope
"""sentry-sdk's function, without its two calls; None where it would make a scope."""

_get_current: Callable[[], Any] = _current.get if _are_variables else sentry_sdk.get_current_scope
_set_isolation: Callable[[Any], Any] = _isolation.set if _are_variables else sentry_sdk.Scope.set_isolation_scope
_set_current: Callable[[Any], Any] = _current.set if _are_variables else sentry_sdk.Scope.set_current_scope


class _Forking:
    """The lock under which scopes are forked: several threads may work for one request.

    One for all: a lock for each would be an object for the garbage collector, and few requests fork their scopes.
    """

    def __init__(self) -> None:
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self.lock = threading.RLock()


_forking = _Forking()


class RequestScope(sentry_sdk.Scope):
    """A fork of another scope that is made on the first access: a fast path.

    Most requests succeed and put nothing on their scope. Copying some thirty fields for each of them would be most of
    what the bridge costs. Python calls ``__getattr__`` for a field that is not set yet. ``client`` is set from the
    beginning, because sentry-sdk reads it on every call.
    """

    __slots__ = ("__weakref__", "_complete", "_forked_from")

    def __init__(
        self, forked_from: sentry_sdk.Scope, complete: Callable[[sentry_sdk.Scope], None] = lambda _: None
    ) -> None:
        """Fork ``forked_from`` later; ``complete`` is then called with the fork."""
        _set(self, "_complete", complete)
        _set(self, "client", forked_from.client)
        _set(self, "_forked_from", forked_from)

    @property
    def is_untouched(self) -> bool:
        """Whether the scope is not forked yet: nobody has read or written a field."""
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
        with _forking.lock:
            forked_from: sentry_sdk.Scope | None = self._forked_from
            if forked_from is not None:
                made = forked_from.fork()
                with guarded("completing a request's scope"):
                    self._complete(made)
                # Copy only now: other threads may read a field as soon as it is set.
                for field, value in _fields(made):
                    _set(self, field, value)
                _set(self, "_forked_from", None)

    def __copy__(self) -> sentry_sdk.Scope:
        """A plain scope: the code that forks this one is about to use it."""
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


def _is_forked_on_access() -> bool:
    """Whether :class:`RequestScope` works with the installed sentry-sdk: tries one."""
    with guarded("forking a scope on its first access"):
        base = sentry_sdk.Scope()
        base.set_tag("base", "1")
        scope = RequestScope(base)
        untouched = scope.is_untouched
        scope.set_tag("own", "2")
        # Only for errors, sentry-sdk's processors list the installed packages, which takes 40 ms.
        applied: Any = [each.apply_to_event({"type": "transaction"}, {}) for each in (scope.fork(), base)]
        return untouched and [each["tags"] for each in applied] == [{"base": "1", "own": "2"}, {"base": "1"}]
    return False


class BaseScopes:
    """The scopes of the code that called ``setup()``: every request starts from them, and so has their tags.

    ``process``, with the trace before its arguments, becomes an event processor of each local trace's scope. Every
    fork has it too, so it also sees what a thread captures that sentry-sdk gave the scope but nobody gave the
    OpenTelemetry context.
    """

    def __init__(
        self, isolation: sentry_sdk.Scope, current: sentry_sdk.Scope, process: Callable[[Any, Any, Any], Any]
    ) -> None:
        self._isolation, self._current = isolation, current
        self._process = process
        self._forks_on_access = fast_paths_enabled() and _is_forked_on_access()
        self._sessions = SuccessfulSessions()

    def enter(self, trace: LocalTrace) -> EnteredScopes | None:
        """Give ``trace`` its isolation scope in the current context; ``close()`` the result to leave it.

        A request starts from these scopes and not from the current ones: a server that receives two requests at once
        starts the second in the context of the first. None for a transaction inside a request, which shares the
        request's scope.
        """
        around = scope_of(trace.parent) if trace.parent is not None else None
        if around is not None and trace.parent is not None and not trace.parent.closed:
            trace.extras |= {_EXTRAS_KEY: around, _CURRENT_KEY: sentry_sdk.get_current_scope()}
            return None
        complete = partial(_complete, trace, self._process)
        if trace.kind == "request":
            isolation, current = self.fork(complete)
        else:
            isolation = (around or sentry_sdk.get_isolation_scope()).fork()
            current = sentry_sdk.get_current_scope().fork()
            complete(isolation)
        trace.extras[_EXTRAS_KEY], trace.extras[_CURRENT_KEY] = isolation, current
        return EnteredScopes(isolation, current)

    def fork(
        self, complete: Callable[[sentry_sdk.Scope], None] = lambda _: None
    ) -> tuple[sentry_sdk.Scope, sentry_sdk.Scope]:
        """An isolation scope, completed by ``complete``, and a current scope."""
        if self._forks_on_access:
            return RequestScope(self._isolation, complete), RequestScope(self._current)
        made, current = self._isolation.fork(), self._current.fork()
        complete(made)
        return made, current

    def end_session(self) -> None:
        """End the session of the request whose scope is current; it went well unless something was captured."""
        scope = get_isolation_scope()
        if isinstance(scope, RequestScope) and scope.is_untouched:
            self._sessions.count()
        elif scope is not None:
            scope.end_session()


class EnteredScopes:
    """The scopes of a local trace, current until :meth:`close` is called."""

    __slots__ = ("_current_before", "_isolation", "_isolation_before")

    def __init__(self, isolation: sentry_sdk.Scope, current: sentry_sdk.Scope) -> None:
        self._isolation = isolation
        self._isolation_before = get_isolation_scope()
        self._current_before = _get_current()
        # `use_isolation_scope()` would fork the current scope each time.
        _set_isolation(isolation)
        _set_current(current)

    def close(self) -> None:
        """Restore the scopes that were current before, unless this is another context than theirs."""
        if get_isolation_scope() is self._isolation:
            _set_isolation(self._isolation_before)
            _set_current(self._current_before)


def _complete(trace: LocalTrace, process: Callable[[Any, Any, Any], Any], scope: sentry_sdk.Scope) -> None:
    """Make ``scope`` the one of ``trace``."""
    scope.clear_breadcrumbs()
    scope.add_event_processor(partial(process, trace))
    if trace.kind == "request" and not trace.closed:
        start_session(scope)


def scope_of(trace: LocalTrace) -> sentry_sdk.Scope | None:
    """The isolation scope of ``trace``; None for an implicit trace, and after the scope was released."""
    scope = trace.extras.get(_EXTRAS_KEY)
    if isinstance(scope, weakref.ref):
        scope = scope()
    return scope if isinstance(scope, sentry_sdk.Scope) else None


def owner_of(scope: sentry_sdk.Scope) -> LocalTrace | None:
    """The trace whose scope ``scope`` is, or was forked from, as in a thread that has sentry-sdk's scopes alone."""
    for process in scope._event_processors:
        if isinstance(process, partial) and process.args and isinstance(process.args[0], LocalTrace):
            return process.args[0]
    return None


def release_scope(trace: LocalTrace) -> None:
    """Let ``trace``, which is over, hold its scope weakly; code that still works for it has the scope itself.

    The scope holds its trace, to link what is captured with it. A strong reference back would keep the whole request
    alive until Python's garbage collector runs, and would make it run twice as often.
    """
    scope = trace.extras.get(_EXTRAS_KEY)
    if isinstance(scope, RequestScope):
        trace.extras[_EXTRAS_KEY] = weakref.ref(scope)


def filled_scopes_of(trace: LocalTrace) -> tuple[sentry_sdk.Scope | None, sentry_sdk.Scope | None]:
    """The isolation scope and the current scope to read ``trace``'s data from.

    Each is its own, or the one that it would be forked from; reading the latter does not fork it.
    """
    return _filled(scope_of(trace)), _filled(trace.extras.get(_CURRENT_KEY))


def _filled(scope: sentry_sdk.Scope | None) -> sentry_sdk.Scope | None:
    forked_from = scope._forked_from if isinstance(scope, RequestScope) else None
    return scope if forked_from is None else forked_from


def name_by_scope(trace: LocalTrace, event: dict[str, Any]) -> None:
    """Name the transaction ``event`` as ``set_transaction_name()`` of sentry-sdk's says, if it was called."""
    scope = trace.extras.get(_CURRENT_KEY)
    if scope is None or (isinstance(scope, RequestScope) and scope.is_untouched):
        return
    with guarded("naming a transaction by its scope"):
        if scope._transaction is not None:
            event["transaction"] = scope._transaction
            event["transaction_info"] = {**event["transaction_info"], **scope._transaction_info}


def capture_with_scope_of(trace: LocalTrace, event: dict[str, Any]) -> None:
    """Capture ``event`` with the data of ``trace``'s scopes, or with empty ones: never with another request's."""
    scope, current = scope_of(trace) or sentry_sdk.Scope(), trace.extras.get(_CURRENT_KEY) or sentry_sdk.Scope()
    with use_scope(current), use_isolation_scope(scope):
        sentry_sdk.capture_event(event)  # type: ignore[arg-type]
