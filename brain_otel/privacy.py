"""What is private and how it is masked: pure functions, for every destination.

A value is masked by the name it goes under. The marker never echoes what it stands for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FILTERED = "[Filtered]"

_SENSITIVE = re.compile(
    r"""(?<![a-z]) (?:
        authorization | auth | password | passwd | pwd | passphrase | secret | token | jwt | api[-_.]?key
        | access[-_.]?key | private[-_.]?key | credentials? | dsn | connection[-_.]?string
        | cookie | csrf(?:[-_]?token)? | xsrf
        | (?: passwords | secrets | cookies | api[-_.]?keys | access[-_.]?keys | (?:access|refresh)[-_.]?tokens ) $
        | session(?:[-_]?id)? | sid | signature | sig | otp | pin | ssn | card[-_]?number | cvv
    ) (?![a-z])""",
    re.IGNORECASE | re.VERBOSE,
)
_PERSONAL_HEADERS = frozenset(
    {"cookie", "set-cookie", "forwarded", "x-forwarded-for", "x-real-ip", "remote-addr", "true-client-ip"}
)

_CLIENT_ADDRESSES = frozenset(
    {"client.address", "client.port", "http.client_ip", "net.peer.ip", "net.sock.peer.addr"}
)
_MAX_DEPTH = 8
"""Levels of mappings and lists that are looked into; what is deeper is masked as a whole."""

_QUERIES = frozenset({"url.query", "http.query"})
_URLS = frozenset({"url.full", "http.url", "http.target", "url"})


@lru_cache(maxsize=4_096)
def is_sensitive(name: str) -> bool:
    """Whether a value of this name is a secret: ``api_key`` and ``X-Auth-Token`` are, ``author`` is not."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _SENSITIVE.search(spaced) is not None


def masked_headers(headers: Mapping[str, str], *, send_default_pii: bool) -> dict[str, str]:
    """The headers with secrets masked, and what tells a person apart too unless it may be sent."""
    return {
        name: FILTERED
        if is_sensitive(name) or (not send_default_pii and name.lower() in _PERSONAL_HEADERS)
        else value
        for name, value in headers.items()
    }


def masked_query(query: str) -> str:
    """The query string with the values of secret parameters masked, and otherwise as it was."""
    if not query:
        return query
    parts = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        parts.append(f"{name}={FILTERED}" if equals and is_sensitive(unquote_plus(name)) else part)
    return "&".join(parts)


def masked_url(url: str) -> str:
    """The URL with secret parameters of its query masked, and without the user information before the host."""
    address, mark, query = url.partition("?")
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    if separator and "@" in host:
        address = f"{scheme}://{FILTERED}@{host.rpartition('@')[2]}{slash}{path}"
    return f"{address}?{masked_query(query)}" if mark else address


def masked_attributes(attributes: Mapping[str, Any], *, send_default_pii: bool) -> dict[str, Any]:
    """Attributes with secrets masked, by name and in queries and URLs.

    What tells a person apart, such as the client's address, is in it only if ``send_default_pii``.
    """
    masked: dict[str, Any] = {}
    for key, value in attributes.items():
        if not send_default_pii and key in _CLIENT_ADDRESSES:
            continue
        if is_sensitive(key) or (not send_default_pii and _is_personal_header(key)):
            masked[key] = FILTERED
        elif key in _QUERIES:
            masked[key] = masked_query(str(value))
        elif key in _URLS:
            masked[key] = masked_url(str(value))
        else:
            masked[key] = masked_value(value)
    return masked


def masked_value(value: Any, depth: int = 0) -> Any:
    """``value`` with secrets in it masked: in the mappings and lists it is made of by name, and in URLs."""
    if isinstance(value, str):
        return masked_url(value) if "://" in value and not any(map(str.isspace, value)) else value
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth >= _MAX_DEPTH:
        return FILTERED
    if isinstance(value, dict):
        return {
            key: FILTERED if isinstance(key, str) and is_sensitive(key) else masked_value(item, depth + 1)
            for key, item in value.items()
        }
    items = [masked_value(item, depth + 1) for item in value]
    return tuple(items) if isinstance(value, tuple) else items


def _is_personal_header(key: str) -> bool:
    if not key.startswith(("http.request.header.", "http.response.header.")):
        return False
    return key.split(".", 3)[3].lower().replace("_", "-") in _PERSONAL_HEADERS
