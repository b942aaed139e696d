"""A context manager that is a decorator too, for sync and async code."""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, ParamSpec, Self, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
Entered = TypeVar("Entered")


class ContextDecorator(ABC, Generic[Entered]):
    """Runs ``with`` and ``async with`` blocks, and each call of a function that it decorates, in a context.

    The standard library's ``contextlib.ContextDecorator`` takes sync functions alone.
    """

    @abstractmethod
    def __enter__(self) -> Entered:
        """Enter the context."""

    @abstractmethod
    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        """Leave the context; an error passes through."""

    @abstractmethod
    def _fresh(self) -> Self:
        """Return the same context manager for one call: calls may overlap."""

    async def __aenter__(self) -> Entered:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, where: object) -> None:
        self.__exit__(kind, error, where)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate ``function``, sync or async. Of a generator, only the creation is in the context."""
        return within(self._fresh, function)


def within(block: Callable[[], AbstractContextManager[object]], function: Callable[P, R]) -> Callable[P, R]:
    """``function``, sync or async, each of whose calls runs in a context manager that ``block`` makes."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def in_context_of_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            with block():
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", in_context_of_coroutine)

    @functools.wraps(function)
    def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        with block():
            return function(*args, **kwargs)

    return in_context
