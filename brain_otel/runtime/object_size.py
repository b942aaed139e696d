"""Tells whether the interpreter or its standard library would write a very large text of an object.

A path, a member of an enumeration or a match has a text as long as what it holds, and nothing of them can be cut
before it is written. Classes of the application's and of other libraries decide themselves what they show.
"""

import gc
import sys
import types
from typing import Any

MAX_BYTES = 1_048_576
"""Bytes of what an object holds; the interpreter writes as much in some 2 ms."""

HARMLESS = frozenset({"datetime", "decimal", "enum", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"})
"""Modules whose objects may be written out on any thread."""

_MAX_OBJECTS = 100
_NAMED = (
    *(type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType),
    *(types.FrameType, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType),
)
"""Classes whose text has a name, and nothing of what they hold."""


def has_large_text(value: Any, method: Any) -> bool:
    """Whether ``method``, which writes the text of ``value``, is the interpreter's and may write a very long one."""
    if method is object.__repr__ or issubclass(type(value), (*_NAMED, BaseException)) or not _is_builtin(method):
        return False
    return is_large(value)


def is_large(value: Any) -> bool:
    """Whether ``value`` and the first objects that it holds take more than :data:`MAX_BYTES`."""
    found, size, position = [value], 0, 0
    while position < len(found) and size <= MAX_BYTES:
        each = found[position]
        position += 1
        if not isinstance(type(each).__sizeof__, types.FunctionType):  # the application's own
            size += sys.getsizeof(each)
        if len(found) < _MAX_OBJECTS:
            held = gc.get_referents(each) if size <= MAX_BYTES else ()
            found += [item for item in held[:_MAX_OBJECTS] if not issubclass(type(item), _NAMED)]
    return size > MAX_BYTES


def _is_builtin(method: Any) -> bool:
    owner = getattr(method, "__objclass__", method)  # of a slot's wrapper: the class
    return str(owner.__module__).partition(".")[0] in sys.stdlib_module_names
