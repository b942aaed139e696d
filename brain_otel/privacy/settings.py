"""The settings of privacy: more names, and which rules are on."""

from typing import NamedTuple

FILTERED = "[Filtered]"
"""Replaces a secret, as in Sentry; it shows nothing of the secret, not even its length."""


class Rules(NamedTuple):
    """Which rules are on. They mask values by their look, whatever their names."""

    authorization: bool = True
    """``Bearer`` and ``Basic`` credentials."""
    jwt: bool = True
    """JSON web tokens."""
    private_keys: bool = True
    """Private keys in PEM."""
    cards: bool = True
    """Card numbers of the large brands that pass Luhn's check."""
    url_credentials: bool = True
    """The user and password, or the key, before the host of an address, as in a DSN."""
    api_keys: bool = True
    """API keys with a known prefix."""
    assignments: bool = True
    """Values that a text gives to a sensitive name: ``password=...``, ``"token": "..."``."""
    sql_literals: bool = True
    """Literals in SQL, and the parameters of a failed statement."""
    redis_values: bool = True
    """Arguments after the key of a Redis command."""


class PrivacySettings(NamedTuple):
    """More names than the built-in ones, and which rules are on."""

    sensitive_names: tuple[str, ...] = ()
    """More names of secrets, as a whole name or as words of a longer one."""
    safe_names: tuple[str, ...] = ()
    """Names that are not sensitive although the built-in list says so; the rules still apply to their values."""
    rules: Rules = Rules()
