"""Sends errors and messages to Sentry, linked to their trace, with the request and the trail of calls before them."""

import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import sentry_sdk
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from sentry_sdk.integrations import Integration
from sentry_sdk.scope import add_global_event_processor
from sentry_sdk.utils import event_from_exception

from brain_otel.events.check_ins import CheckIn
from brain_otel.events.deduplication import find_record, names_reported_event, record_reported, trace_of
from brain_otel.events.error_counter import count_error
from brain_otel.events.error_rules import ASKED_FOR, error_rules
from brain_otel.events.listeners import EventListener, Failure, Feedback, Message
from brain_otel.privacy import policy
from brain_otel.privacy.attributes import path_secrets, route_secrets
from brain_otel.privacy.resource import masked_resource
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.quiet import is_looking, one_budget
from brain_otel.runtime.safe_repr import plain
from brain_otel.sentry.breadcrumbs import breadcrumbs_of, merged
from brain_otel.sentry.check_ins import capture_check_in
from brain_otel.sentry.event_size import plain_event
from brain_otel.sentry.event_trace import current_trace_context, trace_context
from brain_otel.sentry.feedback import feedback_event
from brain_otel.sentry.request import request_interface
from brain_otel.sentry.route_secrets import SECRETS
from brain_otel.sentry.scopes import BaseScopes, enter_scope, get_isolation_scope, release_scope, use_scopes
from brain_otel.sentry.stack_frames import hide_shared_variables
from brain_otel.traces import conventions, local_trace
from brain_otel.traces.collector import LocalTraceCollector
from brain_otel.traces.local_trace import LocalTrace, Request

_RUNTIME = {"name": platform.python_implementation(), "version": platform.python_version(), "build": sys.version}

Facts = tuple[Request, str | None]
"""A request, and the route with parameters that it has taken."""

_LINKED = "brain_otel.linked"
"""Key in an event's hint: the scope's event processor or the global one, whichever came first, has linked it."""


class SentryListener(EventListener):
    """Sends Sentry what the helpers and instrumentations report."""

    def __init__(self, processor: LocalTraceCollector) -> None:
        self._processor = processor
        self._base = BaseScopes()

    def on_trace_start(self, trace: LocalTrace) -> object:
        """Give the trace its scope, and a request its session for release health. The result ends them."""
        return enter_scope(trace, link_event, self._base)

    def keep_apart(self, *, cheaply: bool = False) -> Callable[[], object]:
        """Enter new scopes without :class:`EnteredScopes`, which may have failed; in the base, a user would stay."""
        return use_scopes(*(self._base.fork() if cheaply else self._base.plain_fork()))

    def on_trace_end(self, trace: LocalTrace, token: Any) -> None:
        """End the session, leave the scope and release the transaction."""
        if trace.kind == "request":
            self._base.end_session(get_isolation_scope())
        if token is not None:
            token.close()
        self._processor.close(trace)
        if not isinstance(trace.root, ReadableSpan):  # a recorded one: its transaction still needs the scope
            release_scope(trace)

    def carry(self) -> Callable[[], Callable[[], object]]:
        """The request's scopes, without the forks that sentry-sdk's integration makes for each thread."""
        return partial(use_scopes, sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope())

    def on_exception(self, failure: Failure) -> None:
        """Capture an exception as an error event."""
        event, hint = event_from_exception(
            failure.error,
            client_options=sentry_sdk.get_client().options,
            mechanism={"type": failure.mechanism, "handled": failure.handled},
        )
        event["event_id"] = failure.event_id
        if failure.context:
            event["contexts"] = {"extra": policy().value(plain(dict(failure.context)))}
        sentry_sdk.capture_event(event, hint=hint)

    def on_message(self, message: Message) -> None:
        """Capture a message event."""
        event: dict[str, Any] = {"event_id": message.event_id, "message": message.text, "level": message.level}
        if message.context:
            event["contexts"] = {"extra": policy().value(plain(dict(message.context)))}
        sentry_sdk.capture_event(event)  # type: ignore[arg-type]

    def on_check_in(self, check_in: CheckIn) -> None:
        """Capture a check-in."""
        capture_check_in(check_in)

    def on_feedback(self, feedback: Feedback) -> None:
        """Capture a feedback event."""
        sentry_sdk.capture_event(feedback_event(feedback))

    def on_breadcrumb(self, crumb: Mapping[str, Any]) -> None:
        """Add a breadcrumb to the request's scope."""
        sentry_sdk.get_isolation_scope().add_breadcrumb(policy().value(plain(dict(crumb))))

    def on_user(self, user: Mapping[str, Any]) -> None:
        """Set the request's user."""
        sentry_sdk.get_isolation_scope().set_user(plain(dict(user)) or None)

    def on_tag(self, key: str, value: str) -> None:
        """Set a tag of the request."""
        sentry_sdk.get_isolation_scope().set_tag(key, policy().value(value, key))

    def on_context(self, name: str, data: Mapping[str, Any]) -> None:
        """Set a context block of the request."""
        sentry_sdk.get_isolation_scope().set_context(name, policy().value(plain(dict(data))))


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
            return link_event(None, event, hint)


def link_event(owner: LocalTrace | None, event: Any, hint: Any) -> Any:
    """Add the trace, name, request and trail of calls to ``event``; None if its failure is an event already.

    ``owner`` is the local trace on whose scope the event was captured, for code that has only the scope.
    """
    # sentry-sdk swallows what an event processor raises, but logs it only with `debug`.
    if is_looking():
        return None
    with guarded("linking an event"), one_budget():
        event = _linked(owner, event, hint)
        return event if event is None else plain_event(event)
    return event


def complete_transaction(event: Any, trace: LocalTrace | None, facts: Facts | None = None) -> None:
    """Add the runtime and the request to a transaction of ours; both are plain data, as the rest of it."""
    event["contexts"].setdefault("runtime", dict(_RUNTIME))
    _add_request(event, trace, facts)


def _linked(owner: LocalTrace | None, event: Any, hint: Any) -> Any:
    event.setdefault("contexts", {})
    if event.get("type") == "transaction":
        complete_transaction(event, owner)
        return event
    event["contexts"].setdefault("runtime", dict(_RUNTIME))
    with guarded("naming the service of an event"):
        _add_resource(event["contexts"])
    if not event.get("breadcrumbs", {}).get("values"):
        event.pop("breadcrumbs", None)  # sentry-sdk sends an empty list
    if hint.get(_LINKED):
        return event
    error = _error_of(hint)
    if not _should_send(event, error, hint):
        return None
    trace = local_trace.current() or owner or trace_of(error)
    if trace is None:
        _count(event, error)
        with guarded("linking an event to its span"):
            event["contexts"] = _with_trace(event, None)
        return event
    hint[_LINKED] = True
    with guarded("hiding the variables of a shared frame"):
        hide_shared_variables(event)
    if error is not None:
        record = find_record(error, trace)
        if record is None:
            record_reported(trace, error, str(event.get("event_id")))
            _count(event, error)
        elif record.event_id != event.get("event_id"):
            return None
    hint[SECRETS] = None  # until they are known, the event cannot be masked
    with guarded("finding the secrets of a request"):
        hint[SECRETS] = _secrets_of(trace)
    with guarded("linking an event to its trace"):
        _link(event, trace)
    return event


def _count(event: Any, error: BaseException | None) -> None:
    """Count an exception that an integration of sentry-sdk has reported, unless our own does that."""
    mechanism: Any = next((each["mechanism"] for each in _exceptions(event) if each.get("mechanism")), {})
    if error is not None and mechanism.get("type") != "logging":  # which ours counts
        count_error(error, handled=mechanism.get("handled") is not False)


def _add_resource(contexts: dict[str, Any]) -> None:
    """Add what transactions carry of their service; two services may share a DSN."""
    resource = getattr(otel_trace.get_tracer_provider(), "resource", None)
    if isinstance(resource, Resource):
        contexts.setdefault("otel", {"resource": dict(masked_resource(policy(), resource).attributes)})


def _with_trace(event: Any, trace: LocalTrace | None) -> dict[str, Any]:
    """The contexts of ``event`` with its trace, or the one that sentry-sdk has put there."""
    found = current_trace_context() if trace is None else trace_context(event, trace)
    contexts: dict[str, Any] = event["contexts"]
    return contexts if found is None else {**contexts, "trace": found}


def _link(event: Any, trace: LocalTrace) -> None:
    event["contexts"] = _with_trace(event, trace)
    name = conventions.name_of(trace)
    if name is not None and not event.get("transaction"):
        event["transaction"] = name.text
    if name is not None and not event.get("transaction_info"):
        event["transaction_info"] = {"source": name.source}
    if trace.tags:
        event["tags"] = {**policy().value(trace.tags), **(event.get("tags") or {})}
    _add_request(event, trace)
    _add_trail(event, trace)


def _should_send(event: Any, error: BaseException | None, hint: Any) -> bool:
    """Whether the error rules do not ignore ``error``, or the application reported it on purpose.

    sentry-sdk captures some errors by itself, such as those in the log or at the end of a thread. A log line with the
    id of an event that was just reported is about the same failure.
    """
    if error is None:
        return "log_record" not in hint or not names_reported_event(_logged_text(event))
    if error_rules().should_report(error) is not False:
        return True
    return any((value.get("mechanism") or {}).get("type") == ASKED_FOR for value in _exceptions(event))


def _exceptions(event: Any) -> list[Any]:
    return (event.get("exception") or {}).get("values") or []


def _logged_text(event: Any) -> str:
    entry = event.get("logentry") or {}
    return str(entry.get("formatted") or entry.get("message") or "")


def _secrets_of(trace: LocalTrace) -> tuple[str, ...]:
    """The values of the request's path parameters with sensitive names, and parts of its path that look secret."""
    if trace.describe_request is None:
        return ()
    route, url = route_of(trace), trace.describe_request().url
    named = route_secrets(policy(), route, url) if route is not None else ()
    return (*named, *path_secrets(policy(), url))


def route_of(trace: LocalTrace) -> str | None:
    """The route with parameters that the request of ``trace`` has taken; None for another path."""
    name = conventions.name_of(trace)
    return name.text.rpartition(" ")[2] if name is not None and "{" in name.text else None


def _add_request(event: Any, trace: LocalTrace | None, facts: Facts | None = None) -> None:
    if trace is not None and trace.describe_request is not None and "request" not in event:
        with guarded("describing a request"):
            event["request"] = request_interface(*(facts or (trace.describe_request(), route_of(trace))))


def _add_trail(event: Any, trace: LocalTrace) -> None:
    integration = sentry_sdk.get_client().get_integration(LinkingIntegration)
    collected = integration.processor.collected(trace) if integration is not None else None
    if collected is None or not collected.spans:
        return
    values = event.setdefault("breadcrumbs", {}).setdefault("values", [])
    event["breadcrumbs"]["values"] = merged(values, breadcrumbs_of(list(collected.spans)))


def _error_of(hint: Any) -> BaseException | None:
    exc_info = (hint or {}).get("exc_info")
    error = exc_info[1] if exc_info else None
    return error if isinstance(error, BaseException) else None
