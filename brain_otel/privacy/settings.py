"""The settings of privacy: more names, and which rules are on."""

from brain_otel.runtime.named_tuple import NamedTuple

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
    """Numbers of cards, where something speaks for one, and of bank accounts."""
    url_credentials: bool = True
    """User and password, or the key, before the host of an address, as in a DSN; random parts of a path."""
    api_keys: bool = True
    """API keys in their vendors' documented formats."""
    assignments: bool = True
    """Values that a text, document or command line gives to a sensitive name: ``password=...``, ``--token ...``."""
    sql_literals: bool = True
    """Literals in SQL, and values in errors of databases."""
    redis_values: bool = True
    """Arguments after the key of a Redis command."""


class PrivacySettings(NamedTuple):
    """More names than the built-in ones, and which rules are on."""

    sensitive_names: tuple[str, ...] = ()
    """More names of secrets, as a whole name or as words of a longer one."""
    safe_names: tuple[str, ...] = ()
    """Names that are not sensitive although the built-in list says so; the rules still apply to their values."""
    rules: Rules = Rules()
