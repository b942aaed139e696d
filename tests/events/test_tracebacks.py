"""Tests of tracebacks, which are as Python writes them."""

import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from brain_otel.events import tracebacks
from brain_otel.events.tracebacks import format_exception


def plain() -> int:
    raise ValueError("no")


def with_notes() -> None:
    error = ValueError("no")
    error.add_note("first\nsecond")
    raise error


def caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise KeyError("a") from error


def in_handler() -> None:
    try:
        plain()
    except ValueError:
        raise KeyError("a")  # noqa: B904 - the context is what is tested


def from_nothing() -> None:
    try:
        plain()
    except ValueError:
        raise KeyError("a") from None


def grouped() -> None:
    raise ExceptionGroup("all", [ValueError("a"), KeyError("b")])


def misspelt() -> None:
    namely = 1
    nmely  # type: ignore[name-defined]  # noqa: B018, F821
    del namely


def without_attribute() -> None:
    "a".splt()  # type: ignore[attr-defined]


def import_of_nothing() -> None:
    from traceback import format_exceptoin  # type: ignore[attr-defined]  # noqa: F401


def not_python() -> None:
    compile("a b", "<text>", "exec")


def recursive(depth: int = 9) -> None:
    recursive(depth - 1) if depth else plain()


def mutual(depth: int = 9) -> None:
    def other() -> None:
        mutual(depth - 1)

    other() if depth else plain()


def two_on_a_line() -> None:
    pair: list[Callable[[], Any]] = [lambda: [plain()], lambda: (plain(), 1)]
    pair[1]()


def of_a_text() -> None:
    exec("def f():\n    raise ValueError('no')\nf()", {"__name__": "text"})


def of_several_lines() -> None:
    int(
        "no"
    )  # fmt: skip


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def broken() -> None:
    raise BrokenError


def interrupted() -> None:
    raise KeyboardInterrupt


CASES: tuple[Callable[[], Any], ...] = (
    *(plain, with_notes, caused, in_handler, from_nothing, grouped, misspelt, without_attribute, import_of_nothing),
    *(not_python, recursive, mutual, two_on_a_line, of_a_text, of_several_lines, broken, interrupted),
)


def caught(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError(function)


@pytest.mark.parametrize("function", CASES)
def test_a_traceback_is_as_python_writes_it(function: Callable[[], Any]) -> None:
    """The first time and when the places are known, with chains, groups, suggestions and repeated frames."""
    for _ in range(3):
        error = caught(function)
        assert format_exception(error) == "".join(traceback.format_exception(error))


def test_lambdas_on_one_line_keep_their_own_marks() -> None:
    """They have the same file, line and name, and may have the same position in their code."""
    raisers: list[Callable[[], Any]] = [lambda: (plain(), 1)[1], lambda: [0, plain()][0]]
    for raiser in raisers * 2:
        error = caught(raiser)
        assert format_exception(error) == "".join(traceback.format_exception(error))


def test_an_exception_without_a_traceback_and_a_limit_are_as_python_writes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert format_exception(ValueError("no")) == "".join(traceback.format_exception(ValueError("no")))
    error = caught(mutual)
    monkeypatch.setattr(sys, "tracebacklimit", 2, raising=False)
    assert format_exception(error) == "".join(traceback.format_exception(error))
    assert format_exception(error).count("  File") == 2


def test_known_places_are_not_read_again_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that is made anew each time, as of a template, does not fill the memory."""
    monkeypatch.setattr(tracebacks, "_places", places := tracebacks._Places())
    format_exception(caught(plain))
    with monkeypatch.context() as patched:
        patched.setattr(traceback, "format_tb", None)
        places.text(caught(plain).__traceback__.tb_next)  # type: ignore[union-attr, arg-type]
    monkeypatch.setattr(tracebacks, "MAX_PLACES", 5)
    for _ in range(20):
        error = caught(of_a_text)
        assert format_exception(error) == "".join(traceback.format_exception(error))
        assert len(places._known) <= 5
    monkeypatch.setattr(tracebacks, "MAX_LENGTH", 10)
    known = len(places._known)
    format_exception(caught(of_a_text))
    assert len(places._known) <= known
