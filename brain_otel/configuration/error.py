"""How a wrong value is refused: its place, the value and what is allowed, in one line that gives no secret away.

A value is masked by what it looks like as well as by the name it goes under, since a secret in the wrong place is
one of the mistakes that are to be told.
"""

from __future__ import annotations

import re

from brain_otel.privacy import is_sensitive
from brain_otel.runtime.lazy_regex import expression

MASK = "(masked)"

_MAX_TEXT = 80
_MAX_REASON = 300
_SECRET_NAME = expression(
    r"dsn|secret|token|password|passwd|authorization|credential|api[_-]?key|headers", re.IGNORECASE
)
_FOLDERS = ("PWD", "OLDPWD")
"""Variables in which a shell keeps where it is and was: their names look like a password's."""

# Compiled when something is refused.
_REVEALING = r"""
    (?<=//) [^/\s@]+ (?=@)                                # what stands before the host of an address
    | \b (?:bearer|basic) \s+ [^\s'",;]+                  # an Authorization header
    | \b eyJ [\w-]+ (?:\.[\w-]+)*                         # a JSON web token
    | \b (?:sk|pk|sntry[su]|gh[pousr]|glpat|xox[abprs]) [_-] [^\s'",;]{8,}
    | [0-9a-f]{8} (?:-[0-9a-f]{4}){3} - [0-9a-f]{12}      # a UUID
    | (?<![A-Za-z0-9]) (?= [A-Za-z]*[0-9]) (?= [0-9]*[A-Za-z]) [A-Za-z0-9]{20,}
    | (?: password | passwd | pwd | passphrase | secret | token | api[_-]?key | auth(?:orization)? | sig(?:nature)? )
      \s* [=:] \s* [^\s'",;&]+
    """


class ConfigurationError(Exception):
    """A setting is wrong. The message names the place, the value (masked if secret) and what is allowed."""

    __module__ = "brain_otel"  # where users find it, as tracebacks tell


def is_secret_name(name: str) -> bool:
    """Whether a value under this key path or variable is never shown."""
    return name not in _FOLDERS and (_SECRET_NAME.search(name) is not None or is_sensitive(name))


def holds_credentials(text: str) -> bool:
    """Whether ``text`` is an address with a user, a password or a key before its host, as a DSN is."""
    return re.search(r"://[^/\s]*@", text) is not None


def masked(text: str) -> str:
    """``text`` on one line, without what looks like a secret."""
    return re.sub(_REVEALING, MASK, " ".join(text.split()), flags=re.IGNORECASE | re.VERBOSE)


def shown(value: object) -> str:
    """``value`` for a message; of a block only its keys, for there may be a secret anywhere in it."""
    if value is None or value == "":
        return "empty"
    if isinstance(value, dict):
        text = "a mapping with " + ", ".join(map(str, value)) if value else "an empty mapping"
    elif isinstance(value, list):
        text = f"a list of {len(value)}"
    else:
        text = repr(value)
    text = masked(text)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."


def configuration_error(place: str, value: object, allowed: str) -> ConfigurationError:
    """The error for ``value`` at ``place``."""
    return ConfigurationError(f"{masked(place)} is {shown(value)}; allowed: {allowed}")


def reason(error: BaseException) -> str:
    """What ``error`` says, of bounded length."""
    text = masked(str(error)) or type(error).__name__
    return text if len(text) <= _MAX_REASON else text[: _MAX_REASON - 3] + "..."
