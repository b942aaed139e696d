"""Masks values in database statements and errors: literals in SQL, values in Redis commands, rows in errors."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_STATEMENT = 16_384
"""Characters of a statement; the rest is cut off."""

_SQL = expression(
    r"""
      (?P<comment> --[^\n]*+ | /\* .*? (?:\*/|\Z) )
    | (?P<dollar> \$\$ .*? (?: \$\$ | \Z ) | \$ (?P<tag>[A-Za-z_]\w{0,62}) \$ .*? (?: \$ (?P=tag) \$ | \Z ) )
    | (?P<string> (?<!\w)(?:[eEnNbBxX]|[uU]&|_utf8)? ' (?: [^'\\]++ | '' | \\(?:.|\Z) )*+ (?: ' | \Z ) )
    | (?P<double> " (?: [^"\\]++ | "" | \\(?:.|\Z) )*+ (?: " | \Z ) )
    | (?P<kept> [A-Za-z_]\w* | \$\d+ | :\w+ | %\(\w+\)s | `[^`]*` | \[\w+\] | @\w+ )
    | (?P<number> 0x[0-9a-fA-F]+ | (?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)? )
    """,
    re.VERBOSE | re.DOTALL,
)
_DOUBLE_QUOTED = ("mysql", "mariadb")
"""Databases in which double quotes enclose a literal; in the others they enclose an identifier."""

_SQL_BEGINS = "[SQL: "
_PARAMETERS_BEGIN = "[parameters: "
_BACKGROUND = "\n(Background on this error"
_ERROR_KEY = expression(r"(Key \([^)\n]{1,128}\)=\()[^\n]*")
_ERROR_ROW = expression(r"(Failing row contains \()[^\n]*")
_ERROR_ENTRY = expression(r"(Duplicate entry )'[^\n]*?'(?= for key)")
_ERROR_SYNTAX = expression(r"(invalid input syntax for [\w ]{1,60}: )\"[^\n]*\"")


@lru_cache(maxsize=1_024)
def sql_without_literals(statement: str, system: str = "") -> str:
    """``statement`` with ``?`` in place of each literal, and without comments.

    Args:
        statement: SQL in any dialect; bound parameters (``$1``, ``:name``, ``%(name)s``, ``?``) stay.
        system: The kind of the database, as in ``db.system.name``.
    """
    double_is_literal = system in _DOUBLE_QUOTED

    def mask(match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind == "comment":
            return ""
        if kind == "kept" or (kind == "double" and not double_is_literal):
            return match[0]
        return "?"

    return _SQL.sub(mask, statement[:MAX_STATEMENT])


def database_error_without_values(text: str) -> str:
    """A message without the values that databases put into their errors; other messages are returned unchanged.

    SQLAlchemy adds the statement and its parameters, PostgreSQL and MySQL values of the row.
    """
    if "[SQL: " in text:
        text = _without_sql(text)
    if "Key (" in text:
        text = _ERROR_KEY.sub(r"\1?)", text)
    if "Failing row" in text:
        text = _ERROR_ROW.sub(r"\1?)", text)
    if "Duplicate entry" in text:
        text = _ERROR_ENTRY.sub(r"\1'?'", text)
    return _ERROR_SYNTAX.sub(r"\1?", text) if "invalid input syntax" in text else text


def _without_sql(text: str) -> str:
    """Mask an error of SQLAlchemy's: ``... [SQL: ...]``, ``[parameters: ...]``, ``(Background on this error ...``."""
    parts: list[str] = []
    position = 0
    while (start := text.find(_SQL_BEGINS, position)) >= 0:
        end = text.find(_BACKGROUND, start)
        end = len(text) if end < 0 else end
        parameters = text.find(_PARAMETERS_BEGIN, start, end)
        sql = text[start + len(_SQL_BEGINS) : parameters if parameters >= 0 else end].rstrip().removesuffix("]")
        parts += [text[position:start], _SQL_BEGINS, sql_without_literals(sql), "]"]
        if parameters >= 0:
            parts.append(f"\n{_PARAMETERS_BEGIN}{FILTERED}]")
        position = end
    return "".join([*parts, text[position:]])


_MAX_COMMAND = 1_000
_MAX_KEY = 128
_MAX_CACHED = 64
"""Characters of the longest command name that is cached; it may have arguments in it."""

_NO_KEYS = frozenset(
    {"AUTH", "HELLO", "CONFIG", "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO", "SCRIPT", "ACL"}
    | {"ECHO", "PING", "CLIENT", "MIGRATE", "SENTINEL", "FUNCTION", "DEBUG", "MODULE", "CLUSTER", "SELECT"}
    | {"SLAVEOF", "REPLICAOF", "COMMAND", "MONITOR"}
)
"""Commands whose arguments are all masked."""

_SUBCOMMANDS = frozenset(
    {"CONFIG", "SCRIPT", "ACL", "CLIENT", "FUNCTION", "CLUSTER", "MODULE", "SENTINEL", "DEBUG", "COMMAND", "OBJECT"}
    | {"XINFO"}
)
_ALL_KEYS = frozenset(
    {"DEL", "UNLINK", "EXISTS", "MGET", "TOUCH", "WATCH", "SINTER", "SUNION", "SDIFF", "PFCOUNT", "RENAME"}
    | {"RENAMENX"}
)
_KEYS_AND_VALUES = frozenset(["MSET", "MSETNX"])
_COMMAND = expression(r"[A-Za-z][A-Za-z0-9_.|-]{0,40}")


def redis_without_values(arguments: Sequence[object], mask_key: Callable[[str], str]) -> str:
    """A Redis command as ``COMMAND key ? ?``.

    Args:
        arguments: The command and its arguments as the client got them. The first may hold several words, which the
            client sends as several arguments.
        mask_key: Masks the secrets in a key.
    """
    if not arguments:
        return ""
    given = arguments[0]
    first = _parse(given) if type(given) is str and len(given) <= _MAX_CACHED else _parse.__wrapped__(_text(given))
    if first.command is None:
        return first.placeholder
    words = (*first.words, *arguments[1:])
    parts = [first.command]
    if first.command in _SUBCOMMANDS and words and _COMMAND.fullmatch(_text(words[0])):
        parts.append(_text(words[0]).upper())
        words = words[1:]
    for place, word in enumerate(words):
        is_key = place == 0 if first.key_step == 0 else first.key_step > 0 and place % first.key_step == 0
        parts.append(mask_key(_text(word)[:_MAX_KEY]) if is_key else "?")
        if len(parts) > 40:
            parts.append("...")
            break
    text = " ".join(parts)
    return text if len(text) <= _MAX_COMMAND else f"{text[: _MAX_COMMAND - 3]}..."


def command_name(first: object) -> str:
    """The command in the first argument of a client's call, which may have more arguments in it."""
    text = _text(first)
    return (_parse if len(text) <= _MAX_CACHED else _parse.__wrapped__)(text).command or "redis"


class _FirstArgument(NamedTuple):
    """The first argument of a client's call."""

    command: str | None
    """None if it is not a command."""
    words: tuple[str, ...]
    """More arguments in the same text."""
    key_step: int
    """Every n-th argument is a key; 0: only the first; -1: none."""
    placeholder: str
    """Shown if it is not a command."""


@lru_cache(maxsize=1_024)
def _parse(first: str) -> _FirstArgument:
    words = first.split()
    if not words:
        return _FirstArgument(None, (), 0, "")
    command = words[0].upper()
    step = -1 if command in _NO_KEYS else 1 if command in _ALL_KEYS else 2 if command in _KEYS_AND_VALUES else 0
    return _FirstArgument(command if _COMMAND.fullmatch(command) else None, tuple(words[1:]), step, "?")


def _text(word: object) -> str:
    if type(word) is str:
        return word
    if isinstance(word, (bytes, bytearray, memoryview)):
        return bytes(word).decode("utf-8", "backslashreplace")
    return str(word) if isinstance(word, (str, int, float)) else "?"


def validation_error_without_input(text: str) -> str:
    """A message of pydantic's without the rejected values, which mostly come from a request."""
    first, *others = text.split("input_value=")
    parts = [first]
    for other in others:
        end = other.find(", input_type=")
        parts.append(f"input_value={FILTERED}{other[end:] if end >= 0 else ''}")
    return "".join(parts)
