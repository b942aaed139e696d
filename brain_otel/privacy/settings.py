"""What can be set about privacy: names, and which rules hold."""

from typing import NamedTuple

FILTERED = "[Filtered]"
"""What stands for a secret, as in Sentry; it never echoes what it stands for."""


class Rules(NamedTuple):
    """Which values are masked for what they look like, whatever name they go under."""

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
    """API keys that show by their prefix."""
    assignments: bool = True
    """What a text gives to a sensitive name: ``password=...``, ``"token": "..."``."""
    sql_literals: bool = True
    """Literals in SQL, and the parameters of a statement that failed."""
    redis_values: bool = True
    """What follows the key in a Redis command."""


class PrivacySettings(NamedTuple):
    """The policy: names beside the built-in ones, and which rules hold."""

    sensitive_names: tuple[str, ...] = ()
    """Names whose values are masked too, also as words of a longer name."""
    safe_names: tuple[str, ...] = ()
    """Names whose values are not masked for their name; the rules hold for them all the same."""
    rules: Rules = Rules()
