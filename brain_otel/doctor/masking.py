"""Keeps secrets out of the output: by the name of a value, and wherever the same text appears again."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from brain_otel.configuration.document import leaves
from brain_otel.configuration.error import MASK, is_secret_name
from brain_otel.configuration.values import BOOLEANS, Key
from brain_otel.privacy import FILTERED, is_sensitive, masked_url, policy

_MIN_LENGTH = 6
"""Characters of the shortest secret that is searched for in other text; shorter ones would mask common words."""

_USER_WITH_SCHEME = re.compile(r"(?<=://)[^\s'\"]*@")
_USER = re.compile(r"[^\s/@,:'\"]+:(?!//)[^\s@,'\"]+@(?=[\w\[])")
_PAIR = re.compile(r"(?<![^,;\s])([\w.\-]+)=(?!\.\.\.)([^,;\s]+)")


def masked_value(key: Key, value: Any, variables: Iterable[str], attribute: Any = None) -> str:
    """The value at ``key`` as it may be printed; ``attribute`` is the ``name`` beside it, if there is one."""
    if value in (None, ""):
        return ""
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    names = [".".join(map(str, key)), str(key[-1]), *variables, *([attribute] if isinstance(attribute, str) else [])]
    if any(map(is_secret_name, names)):
        return MASK
    return masked_text(str(value).lower() if isinstance(value, bool) else str(value))


def masked_text(text: str) -> str:
    """``text`` without user names and passwords in addresses, and without secret values of ``name=value`` pairs."""
    if "://" in text and not any(character.isspace() for character in text):
        text = masked_url(text)
    text = policy().text(text)
    text = _USER_WITH_SCHEME.sub(f"{FILTERED}@", text)
    text = _USER.sub(f"{FILTERED}@", text)
    return _PAIR.sub(lambda pair: f"{pair[1]}={MASK}" if is_sensitive(pair[1]) else pair[0], text)


class Mask:
    """Replaces in any text the secrets of the environment and the configuration file."""

    def __init__(self, environ: Mapping[str, str], data: Any = None) -> None:
        texts = ((".".join(map(str, key)), value) for key, value in leaves(data) if isinstance(value, str))
        values = [*environ.items(), *texts]
        words = {word for name, value in values for word in _secrets(name, value)}
        self._secrets = sorted(filter(_is_searchable, words), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """``text`` without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return masked_text(text)


def _secrets(name: str, value: str) -> Iterator[str]:
    """The parts of a value that are secret because of its name, or because it is an address with credentials."""
    if not is_secret_name(name):
        if "://" in value and "@" in value:
            yield from _credentials(value)
        return
    yield value
    if "://" in value:
        yield from _credentials(value)
        return
    for pair in value.split(","):
        header, equals, text = pair.partition("=")
        if equals and header.strip():
            yield text.strip()
            yield unquote(text.strip())


def _credentials(address: str) -> Iterator[str]:
    """The password of ``address``; without one, the user name, where a DSN has its key."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    if word := parts.password or parts.username:
        yield word
        yield unquote(word)


def _is_searchable(word: str) -> bool:
    return len(word) >= _MIN_LENGTH and word.lower() not in BOOLEANS and not word.isdigit()
