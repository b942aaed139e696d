"""The short way of a transaction to Sentry: past sentry-sdk's own pipeline, where that would change nothing.

A transaction is plain, masked data when :mod:`brain_otel.sentry.transaction` has made it. sentry-sdk would copy three
scopes for it and go through each value of each span, ten times the work of making it. So where nobody but us has a
say in it (no event processor, no filter, no attachment of the application's), it is completed here and written as
JSON at once. What the application has put on the request's scope (user, tags, contexts) goes through sentry-sdk's
serializer as ever. Everything else goes the long way, and so does what cannot be written here.
"""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import sentry_sdk
from sentry_sdk.client import SDK_INFO
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.scope import global_event_processors
from sentry_sdk.serializer import serialize

from brain_otel.configuration.hooks import hooks
from brain_otel.privacy import policy
from brain_otel.runtime.guard import caught
from brain_otel.sentry.before_send import before_send_transaction, masked_event
from brain_otel.sentry.events import link_event
from brain_otel.sentry.scopes import filled_scope_of
from brain_otel.sentry.spans import encode
from brain_otel.sentry.transport import DeliveringTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.privacy import Policy
    from brain_otel.sentry.spans import SpanPayload
    from brain_otel.sentry.transaction import Transaction
    from brain_otel.traces.local_trace import LocalTrace

logger = logging.getLogger(__name__)

_NOT_FOR_TRANSACTIONS = (
    "sentry_sdk.integrations.dedupe",
    "sentry_sdk.integrations.modules",
    "brain_otel.sentry.events",
)
"""Modules whose global event processors leave transactions as they are, or are ours; a test pins it."""

_NUMBERS = ("trace_id", "sample_rand", "sampled")


def send_plainly(trace: LocalTrace, transaction: Transaction, sampling_context: Mapping[str, str]) -> bool:
    """Send the ``transaction`` of ``trace``; false if it has to go the long way, and nothing was sent."""
    event, spans = transaction
    client = sentry_sdk.get_client()
    transport = client.transport
    scopes = (sentry_sdk.get_global_scope(), filled_scope_of(trace))
    if not isinstance(transport, DeliveringTransport) or not _is_ours_alone(client, scopes, event):
        return False
    event_id = uuid.uuid4().hex
    try:
        payload = _json_of(client, scopes, trace, {**event, "event_id": event_id}, spans).encode()
    except (TypeError, ValueError, RecursionError):  # a value of a class of its own, or not a number
        logger.debug("A transaction cannot be written plainly", exc_info=True)
        return False
    except Exception as error:
        caught("writing a transaction plainly", error)
        return False
    headers = f'{{"event_id":"{event_id}","sent_at":"{datetime.now(UTC).isoformat(timespec="microseconds")}"'
    if sampling_context:
        headers += f',"trace":{_context_json(sampling_context)}'
    transport.capture_transaction(f"{headers}}}".encode(), payload, len(spans) + 1)
    return True


def _context_json(items: Mapping[str, str]) -> str:
    """A sampling context as it may leave; to look for secrets in a number that no other trace has costs the most."""
    numbers = {name: items[name] for name in _NUMBERS if name in items and items[name].replace(".", "").isalnum()}
    names = tuple((name, items[name]) for name in items if name not in numbers)
    by = policy()
    rest = _names_json(by, names) if by.mask is None else _names_json.__wrapped__(by, names)
    parts = [f'"{name}":"{value}"' for name, value in numbers.items()]
    return f"{{{','.join([*parts, rest] if rest else parts)}}}"


@lru_cache(maxsize=256)
def _names_json(by: Policy, items: tuple[tuple[str, str], ...]) -> str:
    """What is the same for all traces of an endpoint, without braces."""
    return encode(by.value(dict(items)))[1:-1]


def _is_ours_alone(client: Any, scopes: tuple[Any, ...], event: Mapping[str, Any]) -> bool:
    """Whether nobody but us has a say in ``event``."""
    options = client.options
    return (
        client.spotlight is None
        and "profile" not in event
        and "_dropped_spans" not in event
        and options["before_send_transaction"] is before_send_transaction
        and hooks().before_send_transaction is None
        and options["max_value_length"] == DEFAULT_OPTIONS["max_value_length"]
        and not getattr(options["event_scrubber"], "denylist", True)
        and all(each is None or _is_plain(each) for each in scopes)
        and all(each.__module__ in _NOT_FOR_TRANSACTIONS for each in global_event_processors)
    )


def _is_plain(scope: Any) -> bool:
    """Whether ``scope`` holds nothing but what :func:`_put_on` takes from it; a test pins these names."""
    return not (
        scope._attachments
        or scope._level
        or scope._fingerprint
        or scope._n_breadcrumbs_truncated
        or scope._gen_ai_original_message_count
        or not scope._should_capture
        or any(getattr(each, "func", None) is not link_event for each in scope._event_processors)
    )


def _json_of(
    client: Any, scopes: tuple[Any, ...], trace: LocalTrace, event: dict[str, Any], spans: list[SpanPayload]
) -> str:
    """The whole transaction; what stands in each is written once and put together with the rest as text."""
    completed = _completed(client, scopes, trace, event)
    contexts = dict(completed.pop("contexts"))
    own = event["contexts"]
    same = {name: contexts.pop(name) for name in _SAME if name in own and contexts[name] is own[name]}
    around = encode({**completed, "contexts": contexts})  # the contexts, that of the trace among them, end it
    return (
        f"{around[:-2]}{_same_contexts.members(same)}}}{_same_fields.members(_static(client))},"
        f'"spans":[{",".join([span.to_json() for span in spans])}]}}'
    )


class _Unchanging:
    """The JSON of what hardly ever changes, made again when it does."""

    def __init__(self) -> None:
        self._known: tuple[dict[str, Any], str] | None = None

    def members(self, value: dict[str, Any]) -> str:
        """Each member of ``value`` behind a comma, to stand behind others."""
        known = self._known
        if known is None or known[0] != value:
            text = "".join(f",{encode(name)}:{encode(each)}" for name, each in value.items())
            known = self._known = (value, text)
        return known[1]


_SAME = ("otel", "runtime")
"""Contexts that are the same in each event unless the application has others."""

_same_contexts, _same_fields = _Unchanging(), _Unchanging()


def _completed(client: Any, scopes: tuple[Any, ...], trace: LocalTrace, event: dict[str, Any]) -> dict[str, Any]:
    """``event`` with what the request and the application add to it, masked."""
    link_event(trace, event, {})
    given = _put_on(scopes)
    given |= {name: event[name] for name in ("breadcrumbs", "request") if name in event and _is_free(name, event)}
    if given:
        options = {name: client.options[name] for name in ("custom_repr", "max_request_body_size")}
        given = serialize(given, **options)
    contexts = event["contexts"]
    if "contexts" in given:
        contexts = {**contexts, **masked_event({"contexts": given.pop("contexts")}, {})["contexts"]}
    if "tags" in given:
        given["tags"] = {**event["tags"], **given["tags"]}
    known = {name: event[name] for name in ("transaction", "tags") if event.get(name)}
    own = masked_event(known | given, {})
    return {**event, **own, "contexts": contexts}


def _is_free(name: str, event: Mapping[str, Any]) -> bool:
    """Whether a part of ``event`` may be of any depth, and of classes that JSON does not know."""
    return name != "request" or "data" in event[name]


def _put_on(scopes: tuple[Any, ...]) -> dict[str, Any]:
    """What the application has put on its scopes, the request's last; as ``Scope.apply_to_event`` takes it."""
    given: dict[str, Any] = {}
    for scope in scopes:
        if scope is None:
            continue
        if scope._user is not None:
            given["user"] = scope._user
        for name, values in (("tags", scope._tags), ("contexts", scope._contexts), ("extra", scope._extras)):
            if values:
                given[name] = {**given.get(name, {}), **values}
    return given


_known: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def _static(client: Any) -> dict[str, Any]:
    """What is the same in each event of ``client``, as sentry-sdk puts it there."""
    known = _known.get(client)
    if known is None:
        known = {"platform": "python", "sdk": {**SDK_INFO, "integrations": sorted(client.integrations)}}
        for name in ("release", "environment", "server_name", "dist"):
            if client.options[name] is not None:
                known[name] = str(client.options[name]).strip()
        _known[client] = known
    return known
