"""Masks query strings, parameter by parameter."""

from collections.abc import Callable
from urllib.parse import unquote_plus

from brain_otel.privacy.settings import FILTERED

_MAX_LENGTH = 8_192
_MAX_PARAMETERS = 200
"""Characters and parameters of a query that are sent."""


def mask_query(query: str, mask: Callable[..., str], is_secret: Callable[[str, str], bool]) -> str:
    """``query`` without the values of secret parameters.

    Args:
        query: Without its question mark. A long one is cut between two parameters.
        mask: Masks a text; its second argument is the name of a value.
        is_secret: Whether a name and its value are a secret.
    """
    if not query:
        return query
    given = query if len(query) <= _MAX_LENGTH else query[:_MAX_LENGTH].rpartition("&")[0] or query[:_MAX_LENGTH]
    parts = given.split("&", _MAX_PARAMETERS)[:_MAX_PARAMETERS]
    masked = "&".join(_mask_parameter(part, mask, is_secret) for part in parts)
    omitted = query.count("&") + 1 - len(parts)
    return masked if omitted == 0 and len(given) == len(query) else f"{masked}&... {omitted} parameters left out"


def _mask_parameter(part: str, mask: Callable[..., str], is_secret: Callable[[str, str], bool]) -> str:
    name, equals, value = part.partition("=")
    plain_name = unquote_plus(name)
    if equals and (is_secret(plain_name, unquote_plus(value)) or not _may_leave(plain_name, value, mask)):
        return f"{mask(name)}={FILTERED}"
    return part if mask(decoded := unquote_plus(part)) == decoded else FILTERED


def _may_leave(name: str, value: str, mask: Callable[..., str]) -> bool:
    """Whether ``value`` holds no secret, be it encoded once or twice."""
    once = unquote_plus(value)
    twice = unquote_plus(once)
    return mask(once, name) == once and (twice == once or mask(twice, name) == twice)
