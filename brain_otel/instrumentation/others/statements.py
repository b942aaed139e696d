"""Finds the statement of a call where contrib does not look, or would ask the application's objects for it."""

from typing import Any

_NAMES = ("query", "command", "operation", "sql")
"""The first parameter of drivers' methods that execute a statement."""

_MODULES = frozenset({"psycopg.sql", "psycopg2.sql"})


def statement_first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with its statement in the first place, where contrib reads it, if it has a name."""
    name = next((each for each in _NAMES if each in kwargs), None) if not args else None
    if name is None:
        return args, kwargs
    return (kwargs[name],), {key: value for key, value in kwargs.items() if key != name}


def composed_text(part: Any, cursor: Any) -> str:
    """The text of a statement that psycopg composes, with ``?`` for literals and for parts of the application's.

    Contrib asks each part three times, and the answer may take time, or be another one each time.
    """
    kind = type(part)
    if kind.__module__ in _MODULES:
        if kind.__name__ == "Composed":
            return "".join(composed_text(each, cursor) for each in part)
        if kind.__name__ in ("SQL", "Identifier", "Placeholder"):
            return str(part.as_string(None if kind.__module__ == "psycopg.sql" else cursor))
    return "?"
