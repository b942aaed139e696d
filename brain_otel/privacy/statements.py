"""Masks the values in statements of Redis and of stores whose queries are JSON."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from brain_otel.privacy.sql import MAX_STATEMENT
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.text import word_set

_MAX_COMMAND = 1_000
_MAX_KEY = 128
_MAX_PARTS = 40
_MAX_CACHED = 64
"""Characters of the longest command name that is cached; it may have arguments in it."""

_NO_KEYS = word_set("""
    AUTH HELLO CONFIG EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO SCRIPT ACL ECHO PING CLIENT MIGRATE SENTINEL
    FUNCTION DEBUG MODULE CLUSTER SELECT SLAVEOF REPLICAOF COMMAND MONITOR
""")
"""Commands whose arguments are all masked."""

_SUBCOMMANDS = word_set("CONFIG SCRIPT ACL CLIENT FUNCTION CLUSTER MODULE SENTINEL DEBUG COMMAND OBJECT XINFO")
_ALL_KEYS = word_set("DEL UNLINK EXISTS MGET TOUCH WATCH SINTER SUNION SDIFF PFCOUNT RENAME RENAMENX")
_KEYS_AND_VALUES = frozenset(["MSET", "MSETNX"])
_COMMAND = expression(r"[A-Za-z][A-Za-z0-9_.|-]{0,40}")
_KNOWN = (
    word_set("""
    APPEND BITCOUNT BLMOVE BLPOP BRPOP BZPOPMIN DECR DECRBY DUMP EXEC EXPIRE EXPIREAT GEOADD GEOSEARCH GET GETBIT
    GETDEL GETEX GETRANGE GETSET HDEL HEXISTS HGET HGETALL HINCRBY HKEYS HLEN HMGET HMSET HSCAN HSET HSETNX HVALS
    INCR INCRBY INCRBYFLOAT INFO KEYS LINDEX LINSERT LLEN LMOVE LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM
    MULTI PERSIST PEXPIRE PFADD PFMERGE PSETEX PTTL PUBLISH RPOP RPUSH RPUSHX SADD SCAN SCARD SET SETBIT SETEX
    SETNX SETRANGE SISMEMBER SMEMBERS SMOVE SPOP SRANDMEMBER SREM SSCAN STRLEN SUBSCRIBE TTL TYPE XACK XADD XDEL
    XLEN XRANGE XREAD XREADGROUP ZADD ZCARD ZCOUNT ZINCRBY ZPOPMAX ZPOPMIN ZRANGE ZRANGEBYSCORE ZRANK ZREM
    ZREVRANGE ZSCAN ZSCORE MGET MSET
""")
    | _NO_KEYS
    | _ALL_KEYS
)
"""Commands that begin another line of a pipeline; the rest of a text of several lines belongs to a value."""

_PIPELINE_ERROR = expression(r"Command # \d{1,9} \(")
_PIPELINE_ERROR_END = ") of pipeline caused error"
_UNKNOWN_COMMAND = expression(r"(with args beginning with: ).*", re.DOTALL)
_JSON = expression(
    r"(?P<key>[\"'](?:find|findAndModify|insert|update|delete|aggregate|count|distinct|getMore|collection|\$db|_?index"
    r"|TableName)[\"']\s{0,8}:\s{0,8}[\"'][\w.-]{1,128}+[\"']|[\"']\?[\"']|(?:\"(?:[^\"\\]++|\\.)*+\"|'(?:[^'\\]++|\\.)*+')(?=\s{0,8}:))"
    r"|\"(?:[^\"\\]++|\\.)*+(?:\"|\Z)|'(?:[^'\\]++|\\.)*+(?:'|\Z)|/(?:[^/\\\s]++|\\.)++/|(?<![\w.$])-?\d[\w.+-]*+",
    re.DOTALL,
)


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
    if first.takes_one_key and 1 < len(arguments) < _MAX_PARTS:
        return f"{first.command} {mask_key(_text(arguments[1])[:_MAX_KEY])}{' ?' * (len(arguments) - 2)}"
    words = (*first.words, *arguments[1:])
    parts = [first.command]
    if first.command in _SUBCOMMANDS and words and _COMMAND.fullmatch(_text(words[0])):
        parts.append(_text(words[0]).upper())
        words = words[1:]
    for place, word in enumerate(words):
        is_key = place == 0 if first.key_step == 0 else first.key_step > 0 and place % first.key_step == 0
        parts.append(mask_key(_text(word)[:_MAX_KEY]) if is_key else "?")
        if len(parts) > _MAX_PARTS:
            parts.append("...")
            break
    text = " ".join(parts)
    return text if len(text) <= _MAX_COMMAND else f"{text[: _MAX_COMMAND - 3]}..."


def redis_lines_without_values(text: str, mask_key: Callable[[str], str]) -> str:
    """Commands as a text has them, one a line; a line that begins with no known command is a part of a value."""
    first, *others = text.split("\n")
    lines = [redis_without_values(first.split(), mask_key)]
    for line in others:
        words = line.split()
        if words and words[0] in _KNOWN:
            lines.append(redis_without_values(words, mask_key))
        elif words and lines[-1][-2:] != " ?":
            lines[-1] += " ?"
    return "\n".join(lines)


def redis_error_without_values(text: str) -> str:
    """An error of redis-py's or of the server's without the values of the command that it shows."""
    parts: list[str] = []
    done = 0
    while (begin := _PIPELINE_ERROR.search(text, done)) is not None:
        end = text.find(_PIPELINE_ERROR_END, begin.end())
        end = end if end >= 0 else len(text)
        parts += [text[done : begin.end()], redis_without_values(text[begin.end() : end].split(), str)]
        done = end
    text = "".join([*parts, text[done:]])
    return _UNKNOWN_COMMAND.sub(r"\1?", text) if "args beginning with" in text else text


def json_without_values(query: str) -> str:
    """A query in JSON, or in the form of a shell of MongoDB or Neo4j, with ``?`` in place of texts and numbers."""
    return _JSON.sub(lambda found: found[0] if found["key"] else "?", query[:MAX_STATEMENT])


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
    takes_one_key: bool = False
    """Whether the second argument is a key and all others are values, whatever they are."""


@lru_cache(maxsize=1_024)
def _parse(first: str) -> _FirstArgument:
    words = first.split()
    if not words:
        return _FirstArgument(None, (), 0, "")
    command = words[0].upper()
    step = -1 if command in _NO_KEYS else 1 if command in _ALL_KEYS else 2 if command in _KEYS_AND_VALUES else 0
    takes_one_key = step == 0 and len(words) == 1 and command not in _SUBCOMMANDS
    return _FirstArgument(
        command if _COMMAND.fullmatch(command) else None, tuple(words[1:]), step, "?", takes_one_key
    )


def _text(word: object) -> str:
    if type(word) is str:
        return word
    if isinstance(word, (bytes, bytearray, memoryview)):
        return bytes(word).decode("utf-8", "backslashreplace")
    return str(word) if isinstance(word, (str, int, float)) else "?"
