"""Attributes of spans, events, links and log records, by what the semantic conventions keep under a key."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from brain_otel.privacy.policy import PERSONAL_HEADERS
from brain_otel.privacy.settings import FILTERED
from brain_otel.privacy.statements import redis_without_values, sql_without_literals
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brain_otel.privacy.policy import Policy

    Mask = Callable[[Policy, str, Any, Mapping[str, Any]], Any]

_CLIENT_ADDRESSES = frozenset(
    {"client.address", "client.port", "http.client_ip", "net.peer.ip", "net.sock.peer.addr"}
)
_QUERIES = frozenset({"url.query", "http.query"})
_URLS = frozenset({"url.full", "http.url", "http.target", "url", "url.path"})
_STATEMENTS = frozenset({"db.statement", "db.query.text"})
_RESULTS = ("redis.search.xdoc_", "redis.search.query", "db.query.parameter.", "db.statement.parameters")
_PLAIN = frozenset(
    [
        "http.request.method",
        "http.method",
        "http.scheme",
        "http.flavor",
        "http.status_code",
        "http.response.status_code",
        "url.scheme",
        "http.route",
        "network.protocol.version",
        "network.protocol.name",
        "net.transport",
        "network.transport",
        "db.system",
        "db.system.name",
        "db.operation",
        "db.operation.name",
        "server.port",
        "net.host.port",
        "net.peer.port",
        "db.redis.database_index",
        "sentry.op",
        "sentry.source",
        "code.function",
        "code.lineno",
    ]
)
"""Keys whose values come from a closed list, or from the code: never looked at."""

_PARAMETER = expression(r"\{([^}:]+)(?::[^}]*)?\}")


def masked_attributes(policy: Policy, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span, event, link or log record as they may leave, by ``policy``."""
    masks, known = _masks(policy)
    masked: dict[str, Any] = {}
    for key, value in attributes.items():
        if type(value) is str and len(value) <= _MAX_KNOWN and key not in _IN_CONTEXT:
            found = known(key, value)
            if found is not None:
                masked[key] = found
            continue
        mask = masks(key)
        if mask is None or (mask is _text and type(value) in _NUMBERS and policy.mask is None and value < _CARDS):
            masked[key] = value
        elif mask is not _dropped:
            try:
                masked[key] = mask(policy, key, value, attributes)
            except Exception:  # the value may be of any class
                masked[key] = FILTERED
    return masked


_MAX_KNOWN = 256
"""Characters of a value whose masked form is remembered."""

_NUMBERS = (int, float, bool)

_CARDS = 10**12
"""No smaller number is a card's."""

_IN_CONTEXT = _URLS | _STATEMENTS
"""Keys whose values are masked by what stands beside them."""


@lru_cache(maxsize=8)
def _masks(policy: Policy) -> tuple[Callable[[str], Mask | None], Callable[[str, str], Any]]:
    """What is done with the value of a key, and what becomes of a short text; both remember."""

    @lru_cache(maxsize=4_096)
    def mask_of(key: str) -> Mask | None:
        rules = policy.settings.rules
        if key in _PLAIN and policy.mask is None:
            return None
        if not policy.send_default_pii and key in _CLIENT_ADDRESSES:
            return _dropped
        if policy.is_sensitive(key) or (not policy.send_default_pii and _is_personal_header(key)):
            return _sensitive
        if key in _STATEMENTS:
            return _statement
        if key.startswith(_RESULTS) and rules.sql_literals:
            return _filtered
        mask: Mask = _BY_KEY.get(key, _text)
        return mask

    def masked(key: str, value: str) -> Any:
        mask = mask_of(key)
        try:
            return value if mask is None else mask(policy, key, value, {})
        except Exception:  # the application's own mask may fail in any way
            return FILTERED

    return mask_of, lru_cache(maxsize=8_192)(masked) if policy.mask is None else masked


def _text(policy: Policy, key: str, value: Any, _: Mapping[str, Any]) -> Any:
    if type(value) is str and "://" not in value:
        return policy.text(value, key)
    return policy.value(value) if policy.mask is None else policy.value(value, key)


def _filtered(_: Policy, __: str, ___: Any, ____: Mapping[str, Any]) -> str:
    return FILTERED


def _sensitive(_: Policy, __: str, value: Any, ___: Mapping[str, Any]) -> Any:
    return value if value is None or isinstance(value, bool) else FILTERED


def _dropped(_: Policy, __: str, ___: Any, ____: Mapping[str, Any]) -> Any:
    return None


def _query(policy: Policy, _: str, value: Any, __: Mapping[str, Any]) -> str:
    return policy.query(str(value))


def _url(policy: Policy, _: str, value: Any, attributes: Mapping[str, Any]) -> str:
    text = str(value)
    route = attributes.get("http.route")
    if isinstance(route, str) and "{" in route:
        text = without_parameters(policy, route, text)
    if "?" not in text and "#" not in text and "://" not in text:
        return policy.text(text)
    return policy.url(text)


def _statement(policy: Policy, _: str, value: Any, attributes: Mapping[str, Any]) -> str:
    system = str(attributes.get("db.system.name") or attributes.get("db.system") or "")
    text = str(value)
    rules = policy.settings.rules
    if system in ("redis", "valkey"):
        if rules.redis_values:
            text = "\n".join(redis_without_values(line.split(), policy.text) for line in text.split("\n"))
    elif rules.sql_literals:
        text = sql_without_literals(text, system)
    return policy.text(text)


def _stacktrace(policy: Policy, _: str, value: Any, __: Mapping[str, Any]) -> str:
    return policy.stacktrace(str(value))


_BY_KEY: dict[str, Callable[[Any, str, Any, Any], Any]] = {
    **dict.fromkeys(_QUERIES, _query),
    **dict.fromkeys(_URLS, _url),
    "exception.stacktrace": _stacktrace,
}


def _is_personal_header(key: str) -> bool:
    if not key.startswith(("http.request.header.", "http.response.header.")):
        return False
    return key.split(".", 3)[3].lower().replace("_", "-") in PERSONAL_HEADERS


def without_parameters(policy: Policy, route: str, url: str) -> str:
    """``url``, or a path, with those parameters of ``route`` masked whose names are sensitive."""
    expression = _route_expression(policy, route)
    if expression is None:
        return url
    match = expression.search(url)
    if match is None:
        return url
    for number in range(len(match.groups()), 0, -1):
        url = f"{url[: match.start(number)]}{FILTERED}{url[match.end(number) :]}"
    return url


def parameters(policy: Policy, route: str, url: str) -> tuple[str, ...]:
    """The values that the parameters of ``route`` with sensitive names have in ``url``."""
    expression = _route_expression(policy, route)
    match = expression.search(url) if expression is not None else None
    return match.groups() if match is not None else ()


@lru_cache(maxsize=1_024)
def _route_expression(policy: Policy, route: str) -> re.Pattern[str] | None:
    """What finds the sensitive parameters in a path that matched ``route``; None if it has none."""
    if not any(map(policy.is_sensitive, _PARAMETER.findall(route))):
        return None
    parts = []
    end = 0
    for match in _PARAMETER.finditer(route):
        anything = ".*" if ":path" in match[0] else "[^/?#]*"
        is_sensitive = policy.is_sensitive(match[1])
        parts += [re.escape(route[end : match.start()]), f"({anything})" if is_sensitive else anything]
        end = match.end()
    return re.compile("".join([*parts, re.escape(route[end:])]) + r"(?=[?#]|$)")
