"""Statements that a local trace repeats: an ``N+1``, as the console and Sentry's data show it."""

from collections import Counter
from collections.abc import Iterable

from brain_otel.runtime.lazy_regex import expression

REPEATED = 3
"""Equal statements in a local trace that make it an ``N+1``."""

_LITERAL = expression(r"'[^']*'|\b\d+\b")


def plain_statement(operation: str, description: str) -> str | None:
    """The SQL statement of a span without its literals; None for another operation."""
    return _LITERAL.sub("?", description) if operation == "db" else None


def repeated(statements: Iterable[str | None]) -> dict[str, int]:
    """The statements that come often enough, each with its number."""
    return {each: n for each, n in Counter(statements).items() if each is not None and n >= REPEATED}
