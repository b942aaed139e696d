"""Reads values of a configuration file by the fields of a settings class.

A reader is a function. It takes a value from the file and returns the value for the settings, or raises
:class:`BadValueError`. A field names its reader in its annotation: ``Annotated[float, number(0, 1)]``. The types
``bool``, ``Literal[...]`` and settings classes need no annotation, and a ``Derived`` field is not in the file.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

Key = tuple[str | int, ...]
"""The names and positions that lead to a value of the file."""

Variables = Callable[[Key], tuple[str, ...]]
"""Returns the variables in the value at a place of the file."""

Reader = Callable[[Any], Any]

T = TypeVar("T")

Derived = Annotated[T, None]
"""The type of a field that the code works out: the file cannot give it."""

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""The words for a boolean, as variables give them."""

MAX_NUMBER = 1_000_000_000
"""Upper bound of numbers that have no other."""


class BadValueError(Exception):
    """A reader rejects a value.

    Args:
        value: The bad value.
        allowed: What may be given instead, in words.
        path: The keys that lead to the bad value from the value that the reader was given.
    """

    def __init__(self, value: Any, allowed: str, *path: str | int) -> None:
        super().__init__(allowed)
        self.value = value
        self.allowed = allowed
        self.path = path


def read_fields(kind: Any, given: Any, readers: Mapping[str, Reader] | None = None) -> dict[str, Any]:
    """Read the fields of the settings class ``kind`` from the mapping ``given``; keys without a value are left out.

    ``readers`` are for fields whose class cannot import one.

    Raises:
        BadValueError: it is no mapping, has an unknown key, or a reader rejects a value.
    """
    known = {name: reader for name in kind._fields if (reader := _reader_of(kind.__annotations__[name]))}
    known |= readers or {}
    if not isinstance(given, dict):
        raise BadValueError(given, "a mapping with " + ", ".join(known))
    for name, value in given.items():
        if name not in known:
            raise BadValueError(value, "the keys " + ", ".join(known), str(name))
    return {name: read_item(name, value, known[name]) for name, value in given.items() if value is not None}


def read_item(key: str | int, value: Any, reader: Reader) -> Any:
    """Read the ``value`` at ``key``, and put the key in front of the path of an error."""
    try:
        return reader(value)
    except BadValueError as error:
        raise BadValueError(error.value, error.allowed, key, *error.path) from None


def read_or(reader: Reader, value: Any, make_error: Callable[[Any, str], Exception]) -> Any:
    """Read ``value``; if the reader rejects it, raise what ``make_error`` makes of it and of what is allowed."""
    try:
        return reader(value)
    except BadValueError as error:
        raise make_error(error.value, error.allowed) from None


def boolean(value: Any) -> bool:
    """Read a boolean, or one of the words for it."""
    word = str(value).strip().lower()
    if word not in BOOLEANS:
        raise BadValueError(value, ", ".join(BOOLEANS))
    return BOOLEANS[word]


def choice(words: Sequence[str]) -> Reader:
    """Read one of ``words``. YAML reads an unquoted ``off`` as false."""

    def read(value: Any) -> str:
        for word in words:
            if value == word or (value is False and word == "off"):
                return word
        raise BadValueError(value, ", ".join(filter(None, words)))

    return read


def number(
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    whole: bool = False,
    unit: str = "",
) -> Reader:
    """Read a number from ``low``, or above ``above``, up to ``high``, from a number or its text."""
    allowed = ("a whole number" if whole else "a number") + (f" of {unit}" if unit else "")
    allowed += f" from {_plain(low)} to {_plain(high)}" if low is not None and high is not None else ""
    allowed += f" above {_plain(above)}" if above is not None else ""
    allowed += f", up to {_plain(high)}" if above is not None and high is not None else ""
    lowest, highest = -math.inf if low is None else low, MAX_NUMBER if high is None else high

    def read(value: Any) -> float:
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not lowest <= found <= highest or (above is not None and found <= above) or (whole and found % 1):
            raise BadValueError(value, allowed)
        return int(found) if whole else found

    return read


def text(passes: Callable[[str], Any], allowed: str) -> Reader:
    """Read text that ``passes`` a test."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not passes(value):
            raise BadValueError(value, allowed)
        return value

    return read


def list_of(reader: Reader, allowed: str) -> Reader:
    """Read a list, each of whose items ``reader`` reads."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise BadValueError(value, allowed)
        return tuple(read_item(index, item, reader) for index, item in enumerate(value))

    return read


def mapping_of(reader: Reader, allowed: str) -> Reader:
    """Read a mapping of any keys, each of whose values ``reader`` reads."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise BadValueError(value, allowed)
        return {str(key): read_item(str(key), item, reader) for key, item in value.items()}

    return read


def _reader_of(hint: Any) -> Reader | None:
    """The reader of a field of the type ``hint``; None if the field is derived."""
    if isinstance(hint, UnionType):  # a settings class, or None
        hint = get_args(hint)[0]
    if get_origin(hint) is Annotated:
        reader: Reader | None = hint.__metadata__[0]
        return reader
    if get_origin(hint) is Literal:
        return choice(get_args(hint))
    return boolean if hint is bool else lambda given: hint(**read_fields(hint, given))


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)
