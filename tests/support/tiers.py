"""Divides the cases of a parametrized test into the quick and the thorough tier."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy

Case = TypeVar("Case")

thorough = pytest.mark.thorough


def quick_first(cases: Iterable[Case], count: int = 1) -> list[Any]:
    """Return the cases for `parametrize`: the first `count` stay quick, the others become thorough."""
    return [case if number < count else _thorough(case) for number, case in enumerate(cases)]


def quick_one_in(step: int, cases: Iterable[Case]) -> list[Any]:
    """Return the cases for `parametrize`: each `step`-th stays quick, the others become thorough."""
    return [case if number % step == 0 else _thorough(case) for number, case in enumerate(cases)]


def quick_one_of_each(kind: Callable[[Case], Hashable], cases: Iterable[Case]) -> list[Any]:
    """Return the cases for `parametrize`: the first of each kind stays quick, the others become thorough."""
    seen: set[Hashable] = set()
    divided: list[Any] = []
    for case in cases:
        divided.append(_thorough(case) if kind(case) in seen else case)
        seen.add(kind(case))
    return divided


def searched(quick: int, more: int, **strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Run a test with so many examples of these strategies, and with more in the thorough tier."""

    def decorate(test: Callable[..., None]) -> Any:
        @pytest.mark.parametrize("examples", quick_first([quick, more]))
        def search(examples: int) -> None:
            settings(max_examples=examples)(given(**strategies)(test))()

        search.__name__, search.__doc__ = test.__name__, test.__doc__
        return search

    return decorate


def _thorough(case: Any) -> Any:
    return pytest.param(*case, marks=thorough) if type(case) is tuple else pytest.param(case, marks=thorough)
