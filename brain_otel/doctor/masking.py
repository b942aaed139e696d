"""Keeps secrets out of what is printed: by the name a value goes under, and wherever one turns up again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from brain_otel.configuration.error import MASK, is_secret_name
from brain_otel.configuration.values import BOOLEANS
from brain_otel.privacy import FILTERED, is_sensitive, masked_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from brain_otel.configuration.document import Key

_SHORTEST = 6
"""Characters that a secret has at least to be looked for in other text; less would mask words at random."""

_USER_WITH_SCHEME = re.compile(r"(?<=://)[^\s'\"]*@")
_USER = re.compile(r"[^\s/@,:'\"]+:(?!//)[^\s@,'\"]+@(?=[\w\[])")
_PAIR = re.compile(r"(?<![^,;\s])([\w.\-]+)=(?!\.\.\.)([^,;\s]+)")


def is_secret(*names: str) -> bool:
    """Whether a value under one of these key paths or variables is a secret."""
    return any(map(is_secret_name, names))


def masked_value(key: Key, value: Any, variables: Iterable[str], sibling: Any = None) -> str:
    """The value as it may be shown; ``sibling`` is the ``name`` beside a ``value``, as resource attributes have."""
    if value in (None, ""):
        return ""
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    path = ".".join(map(str, key))
    if is_secret(path, *variables) or (isinstance(sibling, str) and (is_sensitive(sibling) or is_secret(sibling))):
        return MASK
    if is_sensitive(str(key[-1])):
        return MASK
    return masked_text(str(value).lower() if isinstance(value, bool) else str(value))


def masked_text(text: str) -> str:
    """The text without user information in addresses, and secret values of ``name=value`` pairs."""
    if "://" in text and not any(character.isspace() for character in text):
        text = masked_url(text)
    text = _USER_WITH_SCHEME.sub(f"{FILTERED}@", text)
    text = _USER.sub(f"{FILTERED}@", text)
    return _PAIR.sub(lambda pair: f"{pair[1]}={MASK}" if is_sensitive(pair[1]) else pair[0], text)


class Mask:
    """Masks in any text what the environment and the file hold in secret places."""

    def __init__(self, environ: Mapping[str, str], data: Any = None) -> None:
        secrets = set(_of_environment(environ)) | set(_of_data(data, ()))
        words = {word for secret in secrets for word in _parts(secret)}
        self._secrets = sorted((word for word in words if _is_tellable(word)), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return masked_text(text)


def _of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if is_secret(name):
            yield value
        elif "://" in value and "@" in value:
            yield from _passwords(value)


def _of_data(data: Any, key: Key) -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _of_data(value, (*key, str(name)))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _of_data(value, (*key, index))
    elif isinstance(data, str):
        if is_secret(".".join(map(str, key))):
            yield data
        elif "://" in data and "@" in data:
            yield from _passwords(data)


def _parts(secret: str) -> Iterator[str]:
    """The secret itself; of an address what is before the host; of pairs as in headers the values."""
    yield secret
    if "://" in secret:
        yield from _passwords(secret)
        return
    for pair in secret.split(","):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            yield value.strip()
            yield unquote(value.strip())


def _passwords(address: str) -> Iterator[str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    # The key of a DSN stands where others have the user's name; such a name alone is no secret.
    for word in (parts.password, parts.username if not parts.password else None):
        if word:
            yield word
            yield unquote(word)


def _is_tellable(word: str) -> bool:
    return len(word) >= _SHORTEST and word.lower() not in BOOLEANS and not word.isdigit()
