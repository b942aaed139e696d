"""Sends a transaction past sentry-sdk's own pipeline, where the pipeline would change nothing: a fast path.

A transaction is plain, masked data when :mod:`brain_otel.sentry.transaction` has built it. sentry-sdk would copy
three scopes for it and walk through each value of each span, ten times the work of building it. So where only
brain_otel has a say in the event (no event processor, filter or attachment of the application's), it is completed
here and encoded directly. What the application put on the request's scope (user, tags, contexts) still passes
sentry-sdk's serializer. Equal requests share the masked JSON of all but ids, times and spans.

Everything else takes sentry-sdk's pipeline: other events, values that JSON cannot express, and any failure here, such
as an attribute of a scope that a release of sentry-sdk renames.
"""

import logging
import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter, itemgetter
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
from brain_otel.sentry.before_send import mask
from brain_otel.sentry.callbacks import before_send_transaction
from brain_otel.sentry.dynamic_sampling_context import context_json
from brain_otel.sentry.event_size import encode, plain_event
from brain_otel.sentry.events import Facts, complete_transaction, link_event
from brain_otel.sentry.profiling import has_profile
from brain_otel.sentry.repeats import Repeats
from brain_otel.sentry.scopes import filled_scopes_of, name_by_scope
from brain_otel.sentry.spans import ids_of, microseconds, seconds
from brain_otel.sentry.transaction import Transaction
from brain_otel.sentry.transaction_heads import Head, HeadEncoder, HeadTemplate, create_head_template, shape_of
from brain_otel.sentry.transport import DeliveringTransport
from brain_otel.traces.local_trace import LocalTrace

logger = logging.getLogger(__name__)

_NO_SAY_IN_TRANSACTIONS = frozenset(
    {"sentry_sdk.integrations.dedupe", "sentry_sdk.integrations.modules", "brain_otel.sentry.listener"}
)
"""Modules whose global event processors leave transactions unchanged, or are called here; a test pins them."""

_MODULE_OF = attrgetter("__module__")

_OPTIONS = ("release", "environment", "server_name", "dist")
"""Options of sentry-sdk's that stand on each event."""

_options_of = itemgetter(*_OPTIONS)


class FastPath:
    """Encodes and sends transactions, and keeps the JSON of their constant parts."""

    def __init__(self) -> None:
        self._encoder = HeadEncoder()
        self._heads: Repeats[Head] = Repeats(policy())
        self._templates: Repeats[HeadTemplate] = Repeats(policy())
        self._ids = _EventIds()
        self._transport: DeliveringTransport | None = None
        """The one that was used last."""

    def write(self) -> None:
        """Hand what was sent to the delivery: a part of the work is one write to disk."""
        if self._transport is not None:
            self._transport.write_gathered()

    def send(self, transaction: Transaction, sampling_context: Mapping[str, str]) -> bool:
        """Send ``transaction``; false if nothing was sent, and sentry-sdk's pipeline has to."""
        event_id = self._ids.new()
        try:
            client = sentry_sdk.get_client()
            transport = client.transport
            trace = transaction.collected.trace
            scopes = (sentry_sdk.get_global_scope(), *filled_scopes_of(trace))
            if not isinstance(transport, DeliveringTransport) or not _is_ours_alone(client, scopes, trace):
                return False
            payload = self._encode(client, scopes, transaction, event_id).encode()
            headers = _headers(event_id, sampling_context).encode()
        except (TypeError, ValueError, RecursionError) as error:  # JSON cannot express a value
            logger.debug("A transaction cannot be encoded on the fast path (%s)", type(error).__name__)
            return False
        except Exception as error:
            caught("sending a transaction on the fast path", error)
            return False
        if transport is not self._transport:
            self.write()
            self._transport = transport
        transport.gather_transaction(headers, payload, len(transaction.spans) + 1)
        return True

    def _encode(self, client: Any, scopes: tuple[Any, ...], transaction: Transaction, event_id: str) -> str:
        """The whole transaction as JSON; its constant parts are joined as text."""
        root, head = transaction.root, self._head_of(client, transaction)
        added = _added(client, scopes, transaction.collected.trace, head.event)
        opening, contexts = (
            self._encoder.texts({**head.event, **added}, head.event["contexts"]) if added else head.texts
        )
        trace_id, span_id, parent = ids_of(root)
        parent_member = f',"parent_span_id":"{parent}"' if parent is not None else ""
        return (
            f'{opening},"trace_id":"{trace_id}","span_id":"{span_id}"{parent_member}}}{contexts}}},'
            f'"event_id":"{event_id}","start_timestamp":{seconds(microseconds(root.start_time))},'
            f'"timestamp":{seconds(microseconds(root.end_time))},{_constants(client)},'
            f'"spans":[{",".join([span.to_json() for span in transaction.spans])}]}}'
        )

    def _head_of(self, client: Any, transaction: Transaction) -> Head:
        by, known = policy(), self._heads
        if known.by is not by:
            known = self._heads = Repeats(by)
            self._templates = Repeats(by)
        key, facts = transaction.key(by) if known.is_used else (None, None)
        head = known.find(key) if key is not None else None
        if head is None or head.resource is not transaction.root.resource:
            if key is None or facts is None:
                head = self._create_head(client, transaction, facts)
            else:
                head = self._filled_head(client, transaction, key, facts)
            if key is not None:
                made = head
                known.keep(key, lambda: made)
        return head

    def _create_head(self, client: Any, transaction: Transaction, facts: Facts | None) -> Head:
        event = _completed(client, transaction, facts)
        return Head(event, transaction.root.resource, self._encoder.texts(event, event["contexts"]))

    def _filled_head(self, client: Any, transaction: Transaction, key: tuple[Any, ...], facts: Facts) -> Head:
        """The head of a request, from a template if requests that differ in their address have come before."""
        templates, (shape, attributes) = self._templates, shape_of(key)
        template = templates.find(shape)
        filled = None
        if template is not None:
            filled = template.fill(templates.by, attributes, facts, transaction.root.resource)
        if filled is not None:
            return filled
        made = self._create_head(client, transaction, facts)
        templates.keep(shape, lambda: create_head_template(made, attributes, self._encoder))
        return made


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


def _headers(event_id: str, sampling_context: Mapping[str, str]) -> str:
    sent_at = datetime.now(UTC).isoformat(timespec="microseconds")
    trace = f',"trace":{context_json(sampling_context)}' if sampling_context else ""
    return f'{{"event_id":"{event_id}","sent_at":"{sent_at}"{trace}}}'


def _is_ours_alone(client: Any, scopes: tuple[Any, ...], trace: LocalTrace) -> bool:
    """Whether only brain_otel has a say in the transaction of ``trace``."""
    options = client.options
    return (
        client.spotlight is None
        and not has_profile(trace)
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
        or "trace" in scope._contexts
        or [each for each in scope._event_processors if getattr(each, "func", None) is not link_event]
    )


def _completed(client: Any, transaction: Transaction, facts: Facts | None) -> dict[str, Any]:
    """The event of ``transaction`` with the data of its request, masked, and without ids, times and spans."""
    event = transaction.create_event()
    complete_transaction(event, transaction.collected.trace, facts)
    event |= _masked(client, {name: event[name] for name in ("breadcrumbs", "request") if _is_free(name, event)})
    event["transaction"] = _name_as_it_leaves(event["transaction"])
    for name in ("start_timestamp", "timestamp"):
        del event[name]
    for name in ("trace_id", "span_id", "parent_span_id"):
        event["contexts"]["trace"].pop(name, None)
    return event


def _added(client: Any, scopes: tuple[Any, ...], trace: LocalTrace, event: dict[str, Any]) -> dict[str, Any]:
    """What the application's scopes change of ``event``, masked."""
    added = _masked(client, _data_of(scopes))
    for name in ("tags", "contexts"):
        if name in added:
            added[name] = {**event[name], **added[name]}
    named = {"transaction": event["transaction"], "transaction_info": event["transaction_info"]}
    name_by_scope(trace, named)
    if named["transaction_info"] is not event["transaction_info"]:
        added |= {**named, "transaction": _name_as_it_leaves(named["transaction"])}
    return added


def _masked(client: Any, data: dict[str, Any]) -> dict[str, Any]:
    """``data`` of the application as sentry-sdk's serializer and our mask leave it."""
    if not data:
        return data
    options = {name: client.options[name] for name in ("custom_repr", "max_request_body_size")}
    return mask(serialize(plain_event(data), **options))


def _name_as_it_leaves(name: Any) -> Any:
    by = policy()
    return (_masked_name if by.mask is None and type(name) is str else _masked_name.__wrapped__)(by, name)


@lru_cache(maxsize=1_024)
def _masked_name(by: Policy, name: Any) -> Any:
    """The name of a transaction, which may be what the application has put on the scope."""
    return mask({"transaction": name}, by)["transaction"]


def _is_free(name: str, event: Mapping[str, Any]) -> bool:
    """Whether ``event`` has a part that may be of any depth, with values that JSON does not know."""
    return name in event and (name != "request" or "data" in event[name])


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


def _constants(client: Any) -> str:
    """What sentry-sdk puts on each event of ``client``, as JSON."""
    return _constants_json(SDK_INFO["name"], tuple(client.integrations), _options_of(client.options))


@lru_cache(maxsize=4)
def _constants_json(_sdk: str, integrations: tuple[str, ...], values: tuple[Any, ...]) -> str:
    constants = {"platform": "python", "sdk": {**SDK_INFO, "integrations": sorted(integrations)}}
    given = zip(_OPTIONS, values, strict=True)
    constants |= {name: str(value).strip() for name, value in given if value is not None}
    return encode(constants)[1:-1]
