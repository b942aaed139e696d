"""Calls to Redis that are calls to a cache, by the beginnings of their keys: ``instrumentation.cache_prefixes``.

Sentry's view of caches reads what the spans of these calls have: https://docs.sentry.io/product/insights/backend/caches/.
"""

from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import Span

from brain_otel.instrumentation.fast_span import set_new_attribute
from brain_otel.runtime.guard import guarded
from brain_otel.traces.operations import CACHE

_OPERATIONS = {
    **dict.fromkeys(("GET", "MGET", "GETEX"), "get"),
    **dict.fromkeys(("SET", "SETEX", "PSETEX", "SETNX", "MSET"), "put"),
    **dict.fromkeys(("DEL", "UNLINK", "GETDEL"), "remove"),
}
READS = frozenset(name for name, operation in _OPERATIONS.items() if operation == "get")
"""Commands whose answer is what was in the cache."""

_MANY_KEYS = {"MGET": 1, "DEL": 1, "UNLINK": 1, "MSET": 2}
"""Commands of several keys -> the distance from one key to the next."""

_VALUES = {"SET": 2, "SETNX": 2, "SETEX": 3, "PSETEX": 3}
"""Commands -> the place of the value among the arguments."""

_MAX_KEY = 128


class Caches:
    """Tells which commands are calls to a cache."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = tuple(prefixes)

    def describe(self, command: str, args: tuple[Any, ...]) -> dict[str, Any]:
        """The attributes of a call to a cache; empty for any other command."""
        operation = _OPERATIONS.get(command)
        if operation is None:
            return {}
        step = _MANY_KEYS.get(command)
        keys = [_text(key) for key in (args[1::step] if step else args[1:2])]
        if not any(key.startswith(self._prefixes) for key in keys):
            return {}
        found: dict[str, Any] = {CACHE + "operation": operation, CACHE + "key": [key[:_MAX_KEY] for key in keys]}
        place = _VALUES.get(command)
        if place is not None and len(args) > place:
            found[CACHE + "item_size"] = _size(args[place])
        elif command == "MSET":
            found[CACHE + "item_size"] = sum(map(_size, args[2::2]))
        return found


def record_answer(span: Span, answer: Any) -> None:
    """Record on the span of a call that reads a cache whether something was found, and its size in bytes."""
    with guarded("describing the answer of a cache"):
        values = [each for each in (answer if isinstance(answer, list) else [answer]) if each is not None]
        set_new_attribute(span, CACHE + "hit", bool(values))
        if values:
            set_new_attribute(span, CACHE + "item_size", sum(map(_size, values)))


def _text(key: Any) -> str:
    return bytes(key).decode("utf-8", "backslashreplace") if isinstance(key, (bytes, bytearray)) else str(key)


def _size(value: Any) -> int:
    """The bytes of a value of redis-py, which takes bytes, texts and numbers."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return len(value)
    return len(str(value).encode("utf-8", "replace")) if isinstance(value, (str, int, float)) else 0
