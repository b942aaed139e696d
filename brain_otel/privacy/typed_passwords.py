"""Tells passwords that a person typed, and random values, from the words of a sentence behind a name.

``passwort hunter2`` and ``password: correct horse battery1`` hold one; ``password field2`` and
``password: changed 3 days ago`` do not.
"""

import re

from brain_otel.privacy.addresses import is_random
from brain_otel.privacy.remarks import is_placeholder, says_something
from brain_otel.runtime.lazy_regex import expression

_PASSWORDS = expression(
    r"(?:pass(?:word|phrase|code|wd)|pwd|passwort|kennwort|contrase[ñn]a|senha|wachtwoord|passe|ordine)$",
    re.IGNORECASE,
)
"""Names of what a person types, which may be words."""

_NUMBERED = (
    r"(?i:[a-z]{0,16}[_-]?(?:field|input|column|rule|policy|step|version|level|test|node|file|line|attempt|user"
    r"|client|server|host|entry|page|form|label|stage|phase|type|slot|check|error|group|vault|part|section|table"
    r"|item|worker|api|view|hash|argon|bcrypt|scrypt|charset|latin|windows|regel|feld|zeile|schritt|stufe|seite|oauth"
    r"|https?|utf|sha|md|aes|ipv|ldap|pkcs|pbkdf|protected|module|plugin|option|param|config|cluster|replica)[_-]?\d++\W*+$)"
)
_TYPED = expression(
    r"(?=[^\d\s]*+\d)(?=\S{6})(?=\S{0,61}?[^\W\d_]{3})"
    rf"(?!\d++[a-z]++$|[A-Z]{{2,8}}-\d|\S{{0,61}}\d\.\d|{_NUMBERED})"
    r"[^\s=:/<>()\[\]{}\\\"',;]++$"
)
"""A word with a digit, as in a password; ``field2``, ``30days``, ``SEC-42`` and ``v4.2.1`` speak of other things."""

_RANDOM = 16
"""Characters of a random value that stands behind a name without a sign."""

_WORD = expression(r"[^\s\"'<>,;|)\]}\\]++")
_WORDS = expression(r"[^\W\d_]{2,24}+(?:[ ][\w!?#$%&*+.@^~-]{1,64}+){1,7}+(?=[ \t]*+(?:[\n,;|)\]}\"'<\\]|$))")
"""Two to eight words up to the end of a line or a sign that separates."""


def is_random_at(text: str, start: int) -> bool:
    """Whether a long random word stands at ``start``."""
    found = _WORD.match(text, start)
    return found is not None and len(found[0]) >= _RANDOM and is_random(found[0])


def is_told(text: str, start: int, name: str) -> bool:
    """Whether the word at ``start`` is the value of the ``name`` before it by its look: random, or a password."""
    found = _WORD.match(text, start)
    word = found[0] if found is not None else ""
    is_password = _PASSWORDS.search(name) is not None and is_typed(word)
    return (is_password and not is_placeholder(word, name)) or is_random_at(text, start)


def is_typed(word: str) -> bool:
    """Whether a word looks like a password that a person typed; a word about passwords and a number does not."""
    return _TYPED.match(word) is not None and not says_something([word.rstrip("0123456789")])


def find_words(text: str, start: int, name: str) -> tuple[int, int] | None:
    """The place of a password of several words, one with a digit; a sentence has words such as ``must``, or more."""
    found = _WORDS.match(text, start) if _PASSWORDS.search(name) is not None else None
    if found is None:
        return None
    words = found[0].split()
    return found.span() if any(map(_TYPED.match, words)) and not says_something(words) else None
