"""Statements of databases without what they were given: SQL without literals, Redis commands without values."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_STATEMENT = 16_384
"""Characters of a statement that are kept."""

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
"""Databases in which double quotes are a literal's; in the others they are an identifier's."""

_SQL_BEGINS = "[SQL: "
_PARAMETERS_BEGIN = "[parameters: "
_BACKGROUND = "\n(Background on this error"
_ERROR_KEY = expression(r"(Key \([^)\n]{1,128}\)=\()[^\n]*")
_ERROR_ROW = expression(r"(Failing row contains \()[^\n]*")
_ERROR_ENTRY = expression(r"(Duplicate entry )'[^\n]*?'(?= for key)")
_ERROR_SYNTAX = expression(r"(invalid input syntax for [\w ]{1,60}: )\"[^\n]*\"")


@lru_cache(maxsize=1_024)
def sql_without_literals(statement: str, system: str = "") -> str:
    """``statement`` with ``?`` for every literal, and without the text of comments.

    Args:
        statement: In any dialect; bound parameters (``$1``, ``:name``, ``%(name)s``, ``?``) stay.
        system: The database's kind as ``db.system.name`` has it.
    """
    masks_double = system in _DOUBLE_QUOTED

    def masked(match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind == "comment":
            return ""
        if kind == "kept" or (kind == "double" and not masks_double):
            return match[0]
        return "?"

    return _SQL.sub(masked, statement[:MAX_STATEMENT])


def error_without_parameters(text: str) -> str:
    """What a database's error says without the values it says it of.

    SQLAlchemy puts the statement and its parameters into its messages, PostgreSQL and MySQL the row's values.
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
    """A message of SQLAlchemy's: ``... [SQL: ...]``, ``[parameters: ...]``, ``(Background on this error ...``."""
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
_NO_KEYS = frozenset(
    [
        "AUTH",
        "HELLO",
        "CONFIG",
        "EVAL",
        "EVALSHA",
        "EVAL_RO",
        "EVALSHA_RO",
        "FCALL",
        "FCALL_RO",
        "SCRIPT",
        "ACL",
        "ECHO",
        "PING",
        "CLIENT",
        "MIGRATE",
        "SENTINEL",
        "FUNCTION",
        "DEBUG",
        "MODULE",
        "CLUSTER",
        "SELECT",
        "SLAVEOF",
        "REPLICAOF",
        "COMMAND",
        "MONITOR",
    ]
)
"""Commands of whose arguments none is shown."""

_SUBCOMMANDS = frozenset(
    [
        "CONFIG",
        "SCRIPT",
        "ACL",
        "CLIENT",
        "FUNCTION",
        "CLUSTER",
        "MODULE",
        "SENTINEL",
        "DEBUG",
        "COMMAND",
        "OBJECT",
        "XINFO",
    ]
)
_ALL_KEYS = frozenset(
    [
        "DEL",
        "UNLINK",
        "EXISTS",
        "MGET",
        "TOUCH",
        "WATCH",
        "SINTER",
        "SUNION",
        "SDIFF",
        "PFCOUNT",
        "RENAME",
        "RENAMENX",
    ]
)
_KEYS_AND_VALUES = frozenset(["MSET", "MSETNX"])
_WORDS = expression(r"[A-Za-z][A-Za-z0-9_.|-]{0,40}")


def redis_without_values(arguments: Sequence[object], masked: Callable[[str], str]) -> str:
    """A Redis command as ``COMMAND key ? ?``.

    Args:
        arguments: The command and what it was given, as they were handed to the client; the first may hold several
            words, which the client sends as several.
        masked: Masks a key that is a secret itself.
    """
    if not arguments:
        return ""
    first = arguments[0]
    known = _parsed(first) if type(first) is str and len(first) <= _MAX_KEPT else _parsed.__wrapped__(_text(first))
    if known.command is None:
        return known.text
    words = (*known.words, *arguments[1:])
    parts = [known.command]
    if known.command in _SUBCOMMANDS and words and _WORDS.fullmatch(_text(words[0])):
        parts.append(_text(words[0]).upper())
        words = words[1:]
    for place, word in enumerate(words):
        is_key = place == 0 if known.keys == 0 else known.keys > 0 and place % known.keys == 0
        parts.append(masked(_text(word)[:_MAX_KEY]) if is_key else "?")
        if len(parts) > 40:
            parts.append("...")
            break
    text = " ".join(parts)
    return text if len(text) <= _MAX_COMMAND else f"{text[: _MAX_COMMAND - 3]}..."


def command_name(first: object) -> str:
    """The command in what a client was given first, which may hold its arguments as well."""
    text = _text(first)
    return (_parsed if len(text) <= _MAX_KEPT else _parsed.__wrapped__)(text).command or "redis"


class _First(NamedTuple):
    """What a client was given first: the command, and what may stand behind it."""

    command: str | None
    """None if it is no word."""
    words: tuple[str, ...]
    keys: int
    """What of its arguments are keys: each so-manieth; 0: the first alone; -1: none."""
    text: str
    """What to write of it if it is none."""


@lru_cache(maxsize=1_024)
def _parsed(first: str) -> _First:
    words = first.split()
    if not words:
        return _First(None, (), 0, "")
    command = words[0].upper()
    keys = -1 if command in _NO_KEYS else 1 if command in _ALL_KEYS else 2 if command in _KEYS_AND_VALUES else 0
    return _First(command if _WORDS.fullmatch(command) else None, tuple(words[1:]), keys, "?")


_MAX_KEPT = 64
"""Characters of a command that is remembered; one with its arguments may be long."""


def _text(word: object) -> str:
    if type(word) is str:
        return word
    if isinstance(word, (bytes, bytearray, memoryview)):
        return bytes(word).decode("utf-8", "backslashreplace")
    return str(word) if isinstance(word, (str, int, float)) else "?"


def error_without_input(text: str) -> str:
    """A message of pydantic's without the values that were refused, which are a request's more often than not."""
    first, *others = text.split("input_value=")
    parts = [first]
    for other in others:
        end = other.find(", input_type=")
        parts.append(f"input_value={FILTERED}{other[end:] if end >= 0 else ''}")
    return "".join(parts)
