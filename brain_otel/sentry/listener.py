"""Tells sentry-sdk what the helpers and instrumentations report; loads what it needs with the first use."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import sentry_sdk
from opentelemetry.sdk.trace import ReadableSpan
from sentry_sdk.integrations import Integration
from sentry_sdk.scope import add_global_event_processor

from brain_otel.events.listeners import EventListener
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.traces.collector import LocalTraceCollector
from brain_otel.traces.local_trace import LocalTrace

if TYPE_CHECKING:
    from brain_otel.events.check_ins import CheckIn
    from brain_otel.events.listeners import Failure, Feedback, Message
    from brain_otel.sentry import events, scopes
else:
    # The first event needs the one, and the first local trace the other.
    events = late_module("brain_otel.sentry.events")
    scopes = late_module("brain_otel.sentry.scopes")


class SentryListener(EventListener):
    """Sends Sentry what the helpers and instrumentations report."""

    def __init__(self, processor: LocalTraceCollector) -> None:
        self._processor = processor
        self._here = sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope()
        self._base: scopes.BaseScopes | None = None

    def _created_base(self) -> "scopes.BaseScopes":
        """The scopes that requests start from; two threads may create them, and one pair stays."""
        if self._base is None:
            self._base = scopes.BaseScopes(*self._here, events.link_event)
        return self._base

    def on_trace_start(self, trace: LocalTrace) -> object:
        """Give the trace its scope, and a request its session for release health. The result ends them."""
        return (self._base or self._created_base()).enter(trace)

    def keep_apart(self, *, cheaply: bool = False) -> Callable[[], object]:
        """Enter new scopes without :class:`EnteredScopes`, which may have failed; in the base, a user would stay."""
        if cheaply:
            with guarded("keeping a request apart at little cost"):
                return use_scopes(*self._created_base().fork())
        isolation, current = self._here
        return use_scopes(isolation.fork(), current.fork())

    def on_trace_end(self, trace: LocalTrace, token: Any) -> None:
        """End the session, leave the scope and release the transaction."""
        base = self._base
        if base is not None and trace.kind == "request":
            base.end_session()
        if token is not None:
            token.close()
        self._processor.close(trace)
        if base is not None and not isinstance(trace.root, ReadableSpan):
            scopes.release_scope(trace)  # a recorded one: its transaction still needs the scope

    def carry(self) -> Callable[[], Callable[[], object]]:
        """The request's scopes, without the forks that sentry-sdk's integration makes for each thread."""
        return partial(use_scopes, sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope())

    def on_exception(self, failure: "Failure") -> None:
        """Capture an exception as an error event."""
        with _counted("error"):
            events.capture_failure(failure)

    def on_message(self, message: "Message") -> None:
        """Capture a message event."""
        with _counted("error"):
            events.capture_message(message)

    def on_check_in(self, check_in: "CheckIn") -> None:
        """Capture a check-in."""
        with _counted("monitor"):
            events.capture_check_in(check_in)

    def on_feedback(self, feedback: "Feedback") -> None:
        """Capture a feedback event."""
        with _counted("feedback"):
            events.capture_feedback(feedback)

    def on_breadcrumb(self, crumb: Mapping[str, Any]) -> None:
        """Add a breadcrumb to the request's scope."""
        sentry_sdk.get_isolation_scope().add_breadcrumb(events.plain_data(crumb))

    def on_user(self, user: Mapping[str, Any]) -> None:
        """Set the request's user."""
        sentry_sdk.get_isolation_scope().set_user(events.plain_user(user))

    def on_tag(self, key: str, value: str) -> None:
        """Set a tag of the request."""
        sentry_sdk.get_isolation_scope().set_tag(key, events.plain_tag(key, value))

    def on_context(self, name: str, data: Mapping[str, Any]) -> None:
        """Set a context block of the request."""
        sentry_sdk.get_isolation_scope().set_context(name, events.plain_data(data))


@contextmanager
def _counted(category: str) -> Iterator[None]:
    """Count an item of ``category`` as discarded if the block fails, such as an import without a descriptor."""
    try:
        yield
    except Exception:
        transport = sentry_sdk.get_client().transport
        if transport is not None:
            transport.record_lost_event("internal_sdk_error", data_category=category)  # type: ignore[arg-type]
        raise


def use_scopes(isolation: sentry_sdk.Scope, current: sentry_sdk.Scope) -> Callable[[], None]:
    """Make the scopes current in this context; the result restores the ones from before.

    It is not in :mod:`.scopes`, because it keeps requests apart also where the import of that module fails.
    """
    restore = partial(_set_scopes, sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope())
    _set_scopes(isolation, current)
    return restore


def _set_scopes(isolation: sentry_sdk.Scope, current: sentry_sdk.Scope) -> None:
    sentry_sdk.Scope.set_isolation_scope(isolation)
    sentry_sdk.Scope.set_current_scope(current)


class LinkingIntegration(Integration):
    """Links every captured event to its trace, through a global event processor.

    sentry-sdk cannot remove a global event processor. This one does nothing unless the client has this integration.
    """

    identifier = "brain_otel"

    def __init__(self, processor: LocalTraceCollector) -> None:
        self.processor = processor

    @staticmethod
    def setup_once() -> None:
        """Add the event processor; sentry-sdk calls this at most once per process."""

        @add_global_event_processor
        def process(event: Any, hint: Any) -> Any:
            if sentry_sdk.get_client().get_integration(LinkingIntegration) is None:
                return event
            with guarded("linking an event to its trace"):
                return events.link_event(None, event, hint)
            return event
