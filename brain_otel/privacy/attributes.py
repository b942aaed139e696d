"""Masks attributes of spans, events, links, log records and resources by what the semantic conventions put there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from brain_otel.privacy.cards import SMALLEST_CARD
from brain_otel.privacy.names import PERSONAL_HEADERS, is_fact
from brain_otel.privacy.policy import Policy
from brain_otel.privacy.settings import FILTERED
from brain_otel.privacy.sql import sql_without_literals
from brain_otel.privacy.statements import json_without_values, redis_lines_without_values
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.text import word_set

Mask = Callable[[Policy, str, Any, Mapping[str, Any]], Any]
"""Returns what may leave in place of a value, given the policy, the key, the value and all attributes."""

_CLIENT_ADDRESSES = word_set("client.address client.port http.client_ip net.peer.ip net.sock.peer.addr")
_QUERIES = frozenset({"url.query", "http.query"})
_URLS = frozenset({"url.full", "http.url", "http.target", "url", "url.path"})
_STATEMENTS = frozenset({"db.statement", "db.query.text"})
_OPERATIONS = frozenset({"db.operation", "db.operation.name"})
_KEY_VALUE_STORES = frozenset({"redis", "valkey", "memcached"})
_DOCUMENT_STORES = word_set("""
    mongodb elasticsearch opensearch couchdb couchbase dynamodb aws.dynamodb cosmosdb azure.cosmosdb neo4j
    firestore gcp.firestore geode hbase meilisearch qdrant
""")
"""Databases whose queries are no SQL."""

_JSON_BEGINS = frozenset("{[")

_STATEMENT_VALUES = ("redis.search.xdoc_", "redis.search.query", "db.query.parameter.", "db.statement.parameters")
_NEVER_PRIVATE = word_set("""
    http.request.method http.method http.scheme http.flavor http.status_code http.response.status_code url.scheme
    http.route network.protocol.version network.protocol.name net.transport network.transport db.system
    db.system.name server.port net.host.port net.peer.port db.redis.database_index db.operation.batch.size
    brain_otel.op sentry.op sentry.source code.function code.lineno code.function.name code.file.path
    code.line.number
""")
"""Keys whose values come from a closed list or from the source code."""

_DEPENDS_ON_OTHERS = _URLS | _STATEMENTS
"""Keys whose values are masked by other attributes, such as the route, so their masks cannot be cached."""

_MAX_CACHED = 256
"""Characters of the longest value whose masked form is cached."""

_MAX_KEYS = 4_096
"""Keys whose masks are cached."""

_NUMBERS = (int, float, bool)

_MAX_URL = 2_048
"""Characters of the longest address of a route with a secret; a longer one is masked as a whole."""

_MAX_PARTS = 128
"""Different parts of a path with a secret; each secret costs a look at every text of an event."""

_ROUTE_PARAMETER = expression(r"\{([^{}:]++)(?::[^{}]*+)?\}")


def masked_attributes(policy: Policy, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``attributes`` as ``policy`` lets them leave."""
    find_mask, mask_short_text, private_keys = _masks_of(policy)
    masked: dict[str, Any] = {}
    for key, value in attributes.items():
        if type(value) is str and len(value) <= _MAX_CACHED and key not in _DEPENDS_ON_OTHERS:
            text = mask_short_text(key, value)
            if text is not None:
                masked[key] = text
            continue
        mask = find_mask(key)
        if mask is None or (
            mask is _mask_value and type(value) in _NUMBERS and policy.mask is None and value < SMALLEST_CARD
        ):
            masked[key] = value
        elif mask is not _drop:
            masked[key] = _applied(mask, policy, key, value, attributes)
    if private_keys and not private_keys.isdisjoint(masked):
        return {policy.key(key): value for key, value in masked.items()}
    return masked


def unsent_attributes(policy: Policy) -> frozenset[str]:
    """Attributes that :func:`masked_attributes` leaves out, whatever their values."""
    return frozenset() if policy.send_default_pii else _CLIENT_ADDRESSES


def masked_attribute(policy: Policy, key: str, value: Any, attributes: Mapping[str, Any]) -> Any:
    """The ``value`` of ``key`` as :func:`masked_attributes` lets it leave beside the others in ``attributes``."""
    mask = _masks_of(policy).find_mask(key)
    return value if mask is None else _applied(mask, policy, key, value, attributes)


def _applied(mask: Mask, policy: Policy, key: str, value: Any, attributes: Mapping[str, Any]) -> Any:
    try:
        return mask(policy, key, value, attributes)
    except Exception:  # the value may be of any class
        return FILTERED


class _Masks(NamedTuple):
    """What is known of a policy."""

    find_mask: Callable[[str], Mask | None]
    """Finds the mask for a key; cached."""
    mask_short_text: Callable[[str, str], Any]
    """Masks a short text under a key; cached."""
    private_keys: set[str]
    """Those of the cached keys that hold a secret themselves."""


def _mask_for(policy: Policy, key: str) -> Mask | None:
    if key in _NEVER_PRIVATE and policy.mask is None:
        return None
    if key in unsent_attributes(policy):
        return _drop
    if policy.is_sensitive(key) or (not policy.send_default_pii and _is_personal_header(key)):
        return _filter_unless_boolean
    if key in _STATEMENTS:
        return _mask_statement
    if key.startswith(_STATEMENT_VALUES) and policy.settings.rules.sql_literals:
        return _filter
    mask: Mask = _MASKS.get(key, _mask_value)
    return mask


@lru_cache(maxsize=8)
def _masks_of(policy: Policy) -> _Masks:

    private_keys: set[str] = set()

    @lru_cache(maxsize=_MAX_KEYS)
    def find_mask(key: str) -> Mask | None:
        if policy.key(key) != key:
            if len(private_keys) >= _MAX_KEYS:
                private_keys.clear()
                find_mask.cache_clear()
                cached.cache_clear()
            private_keys.add(key)
        return _mask_for(policy, key)

    def mask_short_text(key: str, value: str) -> Any:
        mask = find_mask(key)
        try:
            return value if mask is None else mask(policy, key, value, {})
        except Exception:  # the application's own mask may raise anything
            return FILTERED

    cached = lru_cache(maxsize=8_192)(mask_short_text)
    return _Masks(find_mask, cached if policy.mask is None else mask_short_text, private_keys)


def _mask_value(policy: Policy, key: str, value: Any, _attributes: Mapping[str, Any]) -> Any:
    if type(value) is str and "://" not in value:
        return policy.string(value, key)
    return policy.value(value, key)


def _filter(_policy: Policy, _key: str, _value: Any, _attributes: Mapping[str, Any]) -> str:
    return FILTERED


def _filter_unless_boolean(_policy: Policy, key: str, value: Any, _attributes: Mapping[str, Any]) -> Any:
    return value if value is None or isinstance(value, bool) or is_fact(key, value) else FILTERED


def _drop(_policy: Policy, _key: str, _value: Any, _attributes: Mapping[str, Any]) -> None:
    return None


def _mask_url(policy: Policy, _key: str, value: Any, attributes: Mapping[str, Any]) -> str:
    text = str(value)
    route = attributes.get("http.route")
    if isinstance(route, str) and "{" in route:
        text = url_without_route_secrets(policy, route, text)
    if "?" not in text and "#" not in text and "://" not in text:
        return policy.text(text)
    return policy.url(text)


def _mask_statement(policy: Policy, _key: str, value: Any, attributes: Mapping[str, Any]) -> str:
    system = _system_of(attributes)
    text = str(value)
    rules = policy.settings.rules
    if system in _KEY_VALUE_STORES:
        if rules.redis_values:
            text = redis_lines_without_values(text, policy.text)
    elif rules.sql_literals:
        is_json = text[:1] in _JSON_BEGINS or system in _DOCUMENT_STORES
        text = json_without_values(text) if is_json else sql_without_literals(text, system)
    return policy.text(text)


def span_name_without_literals(name: str, attributes: Mapping[str, Any]) -> str:
    """``name``, of a span with ``attributes``, without SQL's literals and comments; another name as it is."""
    system = _system_of(attributes)
    is_sql = system not in _KEY_VALUE_STORES and not (system == "" and _STATEMENTS.isdisjoint(attributes))
    if not is_sql:
        return name
    return sql_without_literals(name, system).strip() or system or "SQL"


def _system_of(attributes: Mapping[str, Any]) -> str:
    return str(attributes.get("db.system.name") or attributes.get("db.system") or "")


def _mask_operation(policy: Policy, _key: str, value: Any, attributes: Mapping[str, Any]) -> str:
    return policy.text(span_name_without_literals(str(value), {"db.query.text": "", **attributes}))


_MASKS: dict[str, Mask] = {
    **dict.fromkeys(_QUERIES, lambda policy, _key, value, _attributes: policy.query(str(value))),
    **dict.fromkeys(_URLS, _mask_url),
    **dict.fromkeys(_OPERATIONS, _mask_operation),
    "exception.stacktrace": lambda policy, _key, value, _attributes: policy.stacktrace(str(value)),
}


def _is_personal_header(key: str) -> bool:
    if not key.startswith(("http.request.header.", "http.response.header.")):
        return False
    return key.split(".", 3)[3].lower().replace("_", "-") in PERSONAL_HEADERS


def url_without_route_secrets(policy: Policy, route: str, url: str) -> str:
    """``url``, or a path, with the values masked that stand for sensitive parameters of ``route``."""
    pattern = _route_pattern(policy, route)
    if pattern is None:
        return url
    if len(url) > _MAX_URL:
        return FILTERED
    match = pattern.search(url)
    if match is not None:
        for number in range(len(match.groups()), 0, -1):
            url = f"{url[: match.start(number)]}{FILTERED}{url[match.end(number) :]}"
    return url


def route_secrets(policy: Policy, route: str, url: str) -> tuple[str, ...]:
    """The values in ``url`` that stand for sensitive parameters of ``route``.

    Raises:
        ValueError: ``url`` is too long to find them in bounded time.
    """
    pattern = _route_pattern(policy, route)
    if pattern is None:
        return ()
    if len(url) > _MAX_URL:
        raise ValueError("the address is too long to find its route's parameters in it")
    match = pattern.search(url)
    return match.groups() if match is not None else ()


def path_secrets(policy: Policy, url: str) -> tuple[str, ...]:
    """The parts of the path of ``url`` that are masked by their look; a handler has them in its variables too.

    Raises:
        ValueError: There are too many parts to look for each of them in a whole event.
    """
    url = url.partition("?")[0]
    masked = policy.text(url)
    if masked == url:
        return ()
    parts = dict.fromkeys(url.split("/"))
    if len(parts) > _MAX_PARTS:
        raise ValueError("the address has too many parts to find the secrets among them")
    return tuple(part for part in parts if part not in masked)


@lru_cache(maxsize=1_024)
def _route_pattern(policy: Policy, route: str) -> re.Pattern[str] | None:
    """Matches a path of ``route``, with a group for each sensitive parameter; None if there is no such parameter."""
    if not any(map(policy.is_sensitive, _ROUTE_PARAMETER.findall(route))):
        return None
    parts = []
    end = 0
    for match in _ROUTE_PARAMETER.finditer(route):
        anything = ".*" if ":path" in match[0] else "[^/?#]*"
        is_sensitive = policy.is_sensitive(match[1])
        parts += [re.escape(route[end : match.start()]), f"({anything})" if is_sensitive else anything]
        end = match.end()
    return re.compile("".join([*parts, re.escape(route[end:])]) + r"(?=[?#]|$)")
