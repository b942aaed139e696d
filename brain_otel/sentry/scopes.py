"""One isolation scope per local trace: what the user, tags and breadcrumbs of a request are kept on.

sentry-sdk keeps them on an *isolation scope*, found through a context variable. A request, and a transaction
outside of any request, gets a fork of its own; a transaction inside a request shares the request's.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.scope import use_isolation_scope, use_scope
from sentry_sdk.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.local_trace import LocalTrace

_KEPT = "sentry.scope"
_NO_ID = uuid.UUID(int=0)


class BaseScopes:
    """The scopes of the code that set everything up: what is set on them is on every request."""

    def __init__(self) -> None:
        self.isolation = sentry_sdk.get_isolation_scope()
        self.current = sentry_sdk.get_current_scope()


def enter_scope(trace: LocalTrace, apply: Callable[[Any, Any], Any], base: BaseScopes) -> ExitStack:
    """Give ``trace`` its isolation scope in the current context; ``close()`` the result to leave it.

    A request begins from ``base``, never from what happens to be current: a server that is sent two requests at
    once starts the second in the context of the first. ``apply`` becomes an event processor of the scope. It goes
    along with every fork, so it also sees what a thread captures that sentry-sdk gave the scope but nobody gave the
    OpenTelemetry context.
    """
    stack = ExitStack()
    around = scope_of(trace.parent) if trace.parent is not None else None
    if around is not None and trace.parent is not None and not trace.parent.closed:
        trace.carrier[_KEPT] = around
        return stack
    if trace.kind == "request":
        scope = base.isolation.fork()
        stack.enter_context(use_scope(base.current.fork()))
    else:
        scope = (around or sentry_sdk.get_isolation_scope()).fork()
    scope.clear_breadcrumbs()
    scope.add_event_processor(apply)
    stack.enter_context(use_isolation_scope(scope))
    trace.carrier[_KEPT] = scope
    return stack


def start_session(scope: sentry_sdk.Scope) -> None:
    """Begin a request's session on ``scope``, which has none; sentry-sdk's ``end_session`` ends and counts it.

    Sessions of requests are told to Sentry as numbers. sentry-sdk's ``start_session`` gives each an id that nobody
    sees, from the system's random numbers, which is most of its cost. A test pins ``_session``.
    """
    options = sentry_sdk.get_client().options
    scope._session = Session(
        sid=_NO_ID,
        release=options["release"],
        environment=options["environment"],
        user=scope._user,
        session_mode="request",
    )


def scope_of(trace: LocalTrace) -> sentry_sdk.Scope | None:
    """The isolation scope of ``trace``, or None for one that nobody announced."""
    scope = trace.carrier.get(_KEPT)
    return scope if isinstance(scope, sentry_sdk.Scope) else None


def captured_with_scope_of(trace: LocalTrace, event: dict[str, Any], hint: dict[str, Any] | None = None) -> None:
    """Capture ``event`` with the data of ``trace``'s scope, or of none: never with a bystander's."""
    scope = scope_of(trace) or sentry_sdk.Scope()
    with use_scope(sentry_sdk.Scope()), use_isolation_scope(scope):
        sentry_sdk.capture_event(event, hint=hint)  # type: ignore[arg-type]
