"""Sends errors and messages to Sentry, linked to their trace, with the request and the trail of calls before them."""

import platform
import sys
from collections.abc import Mapping
from typing import Any

import sentry_sdk
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.resources import Resource
from sentry_sdk.utils import event_from_exception

from brain_otel.events.deduplication import find_record, names_reported_event, record_reported, trace_of
from brain_otel.events.error_counter import count_error
from brain_otel.events.error_rules import ASKED_FOR, error_rules
from brain_otel.events.listeners import Failure, Feedback, Message
from brain_otel.privacy import policy
from brain_otel.privacy.attributes import path_secrets, route_secrets
from brain_otel.privacy.resource import masked_resource
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.quiet import is_looking, one_budget
from brain_otel.runtime.safe_repr import plain
from brain_otel.sentry.breadcrumbs import breadcrumbs_of, merged
from brain_otel.sentry.check_ins import capture_check_in as capture_check_in  # for the listener
from brain_otel.sentry.event_size import plain_event
from brain_otel.sentry.event_trace import current_trace_context, trace_context
from brain_otel.sentry.feedback import feedback_event
from brain_otel.sentry.request import request_interface
from brain_otel.sentry.route_secrets import SECRETS
from brain_otel.sentry.stack_frames import hide_shared_variables
from brain_otel.traces import conventions, local_trace
from brain_otel.traces.local_trace import LocalTrace, Request

_RUNTIME = {"name": platform.python_implementation(), "version": platform.python_version(), "build": sys.version}

Facts = tuple[Request, str | None]
"""A request, and the route with parameters that it has taken."""

_INTEGRATION = "brain_otel"
"""The identifier of :class:`.listener.LinkingIntegration`, which loads this module."""

_LINKED = "brain_otel.linked"
"""Key in an event's hint: the scope's event processor or the global one, whichever came first, has linked it."""


def capture_failure(failure: Failure) -> None:
    """Capture an exception as an error event."""
    event, hint = event_from_exception(
        failure.error,
        client_options=sentry_sdk.get_client().options,
        mechanism={"type": failure.mechanism, "handled": failure.handled},
    )
    event["event_id"] = failure.event_id
    if failure.context:
        event["contexts"] = {"extra": plain_data(failure.context)}
    sentry_sdk.capture_event(event, hint=hint)


def capture_message(message: Message) -> None:
    """Capture a message event."""
    event: dict[str, Any] = {"event_id": message.event_id, "message": message.text, "level": message.level}
    if message.context:
        event["contexts"] = {"extra": plain_data(message.context)}
    sentry_sdk.capture_event(event)  # type: ignore[arg-type]


def capture_feedback(feedback: Feedback) -> None:
    """Capture a feedback event."""
    sentry_sdk.capture_event(feedback_event(feedback))


def plain_data(data: Mapping[str, Any]) -> Any:
    """Return the application's value as plain data, masked."""
    return policy().value(plain(dict(data)))


def plain_user(user: Mapping[str, Any]) -> Any:
    """A user as plain data, None without any; the event that has it is masked."""
    return plain(dict(user)) or None


def plain_tag(key: str, value: str) -> Any:
    """The value of a tag, masked."""
    return policy().value(value, key)


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
    integration: Any = sentry_sdk.get_client().get_integration(_INTEGRATION)
    collected = integration.processor.collected(trace) if integration is not None else None
    if collected is None or not collected.spans:
        return
    values = event.setdefault("breadcrumbs", {}).setdefault("values", [])
    event["breadcrumbs"]["values"] = merged(values, breadcrumbs_of(list(collected.spans)))


def _error_of(hint: Any) -> BaseException | None:
    exc_info = (hint or {}).get("exc_info")
    error = exc_info[1] if exc_info else None
    return error if isinstance(error, BaseException) else None
