"""The error for a wrong value: its place, the value and what is allowed, in one line without secrets.

A value is masked by its name and by its look, since a secret in the wrong place is a common mistake.
"""

import re

from brain_otel.privacy import FILTERED, is_sensitive, policy
from brain_otel.runtime.lazy_regex import expression

MASK = "(masked)"

_MAX_TEXT = 80
_MAX_REASON = 300
_SECRET_NAME = expression(
    r"dsn|secret|token|password|passwd|authorization|credential|api[_-]?key|headers"
    r"|trust_incoming\.[0-9]++\.(?!header\.name$)",  # a trusted caller's header
    re.IGNORECASE,
)
_FOLDERS = ("PWD", "OLDPWD")
"""A shell's variables for folders: their names look like a password's."""

_PATHS = ("client_key", "client_key_file")
"""Ends of the names of OTLP's key files, which look like a secret's."""

# Only compiled when there is an error.
_REVEALING = r"""
    (?<=//) [^/\s@]+ (?=@)                                # user and password in an address
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

    __module__ = "brain_otel"  # where users import it from, for tracebacks


def is_secret_name(name: str) -> bool:
    """Whether messages never show the value of this key path or variable."""
    is_path = name in _FOLDERS or name.lower().endswith(_PATHS)
    return not is_path and (_SECRET_NAME.search(name) is not None or is_sensitive(name))


def holds_credentials(text: str) -> bool:
    """Whether ``text`` is an address with a user, a password or a key before its host, as a DSN is."""
    return "://" in text and re.search(r"://[^/\s]*@", text) is not None


def masked(text: str) -> str:
    """``text`` on one line, without what looks like a secret."""
    lines = " ".join(policy().text(text).split())  # the policy knows some secrets by the lines of a text
    return re.sub(_REVEALING, MASK, lines, flags=re.IGNORECASE | re.VERBOSE).replace(FILTERED, MASK)


def shown(value: object) -> str:
    """``value`` for a message; only the keys of a mapping, since any value in it may be secret."""
    if value is None or value == "":
        return "empty"
    if isinstance(value, dict):
        text = "a mapping with " + ", ".join(map(str, value)) if value else "an empty mapping"
    elif isinstance(value, list):
        text = f"a list of {len(value)}"
    else:
        text = repr(value)
    return _shortened(masked(text), _MAX_TEXT)


def configuration_error(place: str, value: object, allowed: str, *, secret: bool = False) -> ConfigurationError:
    """The error for ``value`` at ``place``; a ``secret`` value is not shown."""
    text = MASK if secret and value not in (None, "") else shown(value)
    return ConfigurationError(f"{masked(place)} is {text}; allowed: {allowed}")


def reason(error: BaseException) -> str:
    """The text of ``error``, masked and of bounded length."""
    return _shortened(masked(str(error)) or type(error).__name__, _MAX_REASON)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
