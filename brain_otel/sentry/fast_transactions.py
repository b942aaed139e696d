"""Sends a transaction past sentry-sdk's own pipeline, where the pipeline would change nothing: a fast path.

A transaction is plain, masked data when :mod:`brain_otel.sentry.transaction` has built it. sentry-sdk would copy
three scopes for it and walk through each value of each span, ten times the work of building it. So where only
brain_otel has a say in the event (no event processor, filter or attachment of the application's), it is completed
here and encoded directly. What the application put on the request's scope (user, tags, contexts) still passes
sentry-sdk's serializer.

Everything else takes sentry-sdk's pipeline: other events, values that JSON cannot express, and any failure here, such
as an attribute of a scope that a release of sentry-sdk renames.
"""

import logging
import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import sentry_sdk
from sentry_sdk.client import SDK_INFO
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.scope import global_event_processors
from sentry_sdk.serializer import serialize

from brain_otel.configuration.hooks import hooks
from brain_otel.privacy import Policy, policy
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import caught
from brain_otel.sentry.before_send import before_send_transaction, mask
from brain_otel.sentry.event_size import encode, plain_event
from brain_otel.sentry.events import complete_transaction, link_event
from brain_otel.sentry.scopes import filled_scopes_of
from brain_otel.sentry.spans import SpanPayload
from brain_otel.sentry.transaction import Transaction
from brain_otel.sentry.transport import DeliveringTransport
from brain_otel.traces.local_trace import LocalTrace

logger = logging.getLogger(__name__)

_NO_SAY_IN_TRANSACTIONS = frozenset(
    {"sentry_sdk.integrations.dedupe", "sentry_sdk.integrations.modules", "brain_otel.sentry.events"}
)
"""Modules whose global event processors leave transactions unchanged, or are called here; a test pins them."""

_MODULE_OF = attrgetter("__module__")

_PER_TRACE = ("trace_id", "sample_rand", "sampled")
"""Members of a sampling context that differ between the traces of an endpoint."""

_SHARED = ("otel", "runtime")
"""Contexts that are the same in each event unless the application sets its own."""


class FastPath:
    """Encodes and sends transactions, and keeps the JSON of their constant parts."""

    def __init__(self) -> None:
        self._contexts, self._constants = _EncodedMembers(), _EncodedMembers()
        self._ids = _EventIds()

    def send(self, trace: LocalTrace, transaction: Transaction, sampling_context: Mapping[str, str]) -> bool:
        """Send the ``transaction`` of ``trace``; false if nothing was sent, and sentry-sdk's pipeline has to."""
        event_id = self._ids.new()
        try:
            client = sentry_sdk.get_client()
            transport = client.transport
            scopes = (sentry_sdk.get_global_scope(), *filled_scopes_of(trace))
            event = {**transaction.event, "event_id": event_id}
            if not isinstance(transport, DeliveringTransport) or not _is_ours_alone(client, scopes, event):
                return False
            payload = self._encode(client, scopes, trace, event, transaction.spans).encode()
            headers = _headers(event_id, sampling_context).encode()
        except (TypeError, ValueError, RecursionError) as error:  # JSON cannot express a value
            logger.debug("A transaction cannot be encoded on the fast path (%s)", type(error).__name__)
            return False
        except Exception as error:
            caught("sending a transaction on the fast path", error)
            return False
        transport.capture_transaction(headers, payload, len(transaction.spans) + 1)
        return True

    def _encode(
        self, client: Any, scopes: tuple[Any, ...], trace: LocalTrace, event: dict[str, Any], spans: list[SpanPayload]
    ) -> str:
        """The whole transaction as JSON; its constant parts are joined as text."""
        completed = _completed(client, scopes, trace, event)
        contexts, own = dict(completed.pop("contexts")), event["contexts"]
        shared = {name: contexts.pop(name) for name in _SHARED if name in own and contexts[name] is own[name]}
        opening = encode({**completed, "contexts": contexts})  # ends with the contexts, the trace's among them
        return (
            f"{opening[:-2]}{self._contexts.members(shared)}}}{self._constants.members(_constants(client))},"
            f'"spans":[{",".join([span.to_json() for span in spans])}]}}'
        )


class _EventIds:
    """Random ids in the form of UUIDs of version 4.

    ``uuid4()`` asks the system each time, and the event loop takes the interpreter meanwhile.
    """

    def __init__(self) -> None:
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self._random = random.Random(os.urandom(32))  # noqa: S311 - the ids are no secrets

    def new(self) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:12]}4{digits[13:16]}a{digits[17:]}"


class _EncodedMembers:
    """The JSON of a dict that hardly ever changes; encoded again when it does."""

    def __init__(self) -> None:
        self._known: tuple[dict[str, Any], str] | None = None

    def members(self, value: dict[str, Any]) -> str:
        """Each member of ``value`` with a comma before it, to follow other members."""
        known = self._known
        if known is None or known[0] != value:
            text = "".join(f",{encode(name)}:{encode(each)}" for name, each in value.items())
            known = self._known = (value, text)
        return known[1]


def _headers(event_id: str, sampling_context: Mapping[str, str]) -> str:
    sent_at = datetime.now(UTC).isoformat(timespec="microseconds")
    trace = f',"trace":{_context_json(sampling_context)}' if sampling_context else ""
    return f'{{"event_id":"{event_id}","sent_at":"{sent_at}"{trace}}}'


def _context_json(items: Mapping[str, str]) -> str:
    """A masked sampling context; searching secrets in numbers that no other trace has would cost the most."""
    parts, names = [], []
    for name, value in items.items():
        if name in _PER_TRACE and value.replace(".", "").isalnum():
            parts.append(f'"{name}":"{value}"')
        else:
            names.append((name, value))
    if names:
        by = policy()
        known = _names_json if by.mask is None else _names_json.__wrapped__
        parts.append(known(by, tuple(names)))
    return f"{{{','.join(parts)}}}"


@lru_cache(maxsize=256)
def _names_json(by: Policy, items: tuple[tuple[str, str], ...]) -> str:
    """The members that all traces of an endpoint share, without braces."""
    return encode(by.value(dict(items)))[1:-1]


def _is_ours_alone(client: Any, scopes: tuple[Any, ...], event: Mapping[str, Any]) -> bool:
    """Whether only brain_otel has a say in ``event``."""
    options = client.options
    return (
        client.spotlight is None
        and "profile" not in event
        and options["before_send_transaction"] is before_send_transaction
        and hooks().before_send_transaction is None
        and options["max_value_length"] == DEFAULT_OPTIONS["max_value_length"]
        and not getattr(options["event_scrubber"], "denylist", True)
        and all(map(_is_plain, scopes))
        and _NO_SAY_IN_TRANSACTIONS.issuperset(map(_MODULE_OF, global_event_processors))
    )


def _is_plain(scope: Any) -> bool:
    """Whether ``scope``, None if the trace has none, holds only what :func:`_data_of` takes from it.

    A scope has no public way to ask. A test pins the private names, and that there are no others.
    """
    return scope is None or not (
        scope._attachments
        or scope._level
        or scope._fingerprint
        or scope._n_breadcrumbs_truncated
        or scope._gen_ai_original_message_count
        or not scope._should_capture
        or any(getattr(each, "func", None) is not link_event for each in scope._event_processors)
    )


def _completed(client: Any, scopes: tuple[Any, ...], trace: LocalTrace, event: dict[str, Any]) -> dict[str, Any]:
    """``event`` with the data of the request and the application, masked."""
    complete_transaction(event, trace)
    added = _data_of(scopes)
    added |= {name: event[name] for name in ("breadcrumbs", "request") if name in event and _is_free(name, event)}
    if added:
        options = {name: client.options[name] for name in ("custom_repr", "max_request_body_size")}
        added = serialize(plain_event(added), **options)
    contexts = event["contexts"]
    if "contexts" in added:
        contexts = {**contexts, **mask({"contexts": added.pop("contexts")})["contexts"]}
    masked = mask(added) if added else {}
    if name := event.get("transaction"):
        by = policy()
        known = _masked_name if by.mask is None and type(name) is str else _masked_name.__wrapped__
        masked["transaction"] = known(by, name)
    return {**event, **masked, "tags": {**event["tags"], **masked.get("tags", {})}, "contexts": contexts}


@lru_cache(maxsize=1_024)
def _masked_name(by: Policy, name: str) -> str:
    """The name of a transaction, which may be what the application has put on the scope."""
    masked: str = mask({"transaction": name}, by)["transaction"]
    return masked


def _is_free(name: str, event: Mapping[str, Any]) -> bool:
    """Whether a part of ``event`` may be of any depth, with values that JSON does not know."""
    return name != "request" or "data" in event[name]


def _data_of(scopes: tuple[Any, ...]) -> dict[str, Any]:
    """What the application put on its scopes, the request's last; as ``Scope.apply_to_event`` takes it."""
    data: dict[str, Any] = {}
    for scope in scopes:
        if scope is None:
            continue
        if scope._user is not None:
            data["user"] = scope._user
        for name, values in (("tags", scope._tags), ("contexts", scope._contexts), ("extra", scope._extras)):
            if values:
                data[name] = {**data.get(name, {}), **values}
    return data


def _constants(client: Any) -> dict[str, Any]:
    """What sentry-sdk puts on each event of ``client``."""
    options = client.options
    constants = {"platform": "python", "sdk": {**SDK_INFO, "integrations": sorted(client.integrations)}}
    for name in ("release", "environment", "server_name", "dist"):
        if options[name] is not None:
            constants[name] = str(options[name]).strip()
    return constants
