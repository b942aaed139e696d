"""Masks the values in Redis commands."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from brain_otel.runtime.lazy_regex import expression

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
