"""Tests that no very long text of the standard library's is written: nothing of it can be cut before."""

import re
import time
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from operator import itemgetter
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import pytest

from brain_otel.runtime.object_size import has_large_text, is_large
from tests.runtime.test_object_view import LOOKS

TEXT = "x" * 20_000_000


class Size(Enum):
    LARGE = TEXT
    SMALL = "x"


class OwnText:
    """The application's class decides itself what it shows."""

    def __init__(self) -> None:
        self.body = TEXT

    def __repr__(self) -> str:
        return "own"


LARGE: dict[str, Callable[[], Any]] = {
    "path of one name": lambda: PurePosixPath(TEXT),
    "path of many names": lambda: PurePosixPath("a/" * 600_000),
    "Windows path": lambda: PureWindowsPath(TEXT),
    "member of an enumeration": lambda: Size.LARGE,
    "match": lambda: re.match(".*", TEXT),
    "getter of an item": lambda: itemgetter(TEXT),
    "getter of a path": lambda: itemgetter(PurePath(TEXT)),
    "number": lambda: Decimal("1" * 3_000_000),
}


def seconds(function: Callable[[Any], object], value: Any) -> float:
    started = time.thread_time()
    function(value)
    return time.thread_time() - started


@pytest.mark.parametrize("name", LARGE)
def test_a_very_long_text_is_not_written(name: str) -> None:
    """A look takes a small part of the time of one `repr()`, in each view."""
    make = LARGE[name]
    whole = min(seconds(repr, make()) for _ in range(3))
    for look in LOOKS.values():
        value = make()
        assert any(seconds(look, value) < whole / 4 for _ in range(5))


def test_a_usual_text_is_written() -> None:
    """What holds much and shows little keeps its text."""
    small = [PurePath("a"), Size.SMALL, re.match("a", "a"), Decimal(1), itemgetter("a"), print, time, re.compile("a")]
    assert [each for each in [*small, OwnText(), OwnText, seconds] if has_large_text(each, type(each).__repr__)] == []
    assert is_large(OwnText())
    assert not is_large(small[:3])
