"""Calls a function through instrumentation, and keeps the instrumentation's failures from the caller.

Instrumentation wraps a function of the application or of a library. It may raise before it has called the function,
which is then called without it; or afterwards, when the function's own result or exception stands. So an error of the
instrumentation, such as one that a malformed header causes, never reaches the application.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any

from opentelemetry import context as otel_context

from brain_otel.runtime.guard import caught


class _Call:
    """One call of ``function``, and how it ended. The block of its ``with`` statement runs the instrumentation."""

    __slots__ = ("_context", "_place", "error", "function", "has_begun", "result", "waiting")

    def __init__(self, place: str, function: Callable[..., Any]) -> None:
        self._place = place
        self.function = function
        self.has_begun = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waiting: Any = None
        """The coroutine that the instrumentation has got and not awaited yet."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        self.has_begun = True
        try:
            self.result = self.function(*args, **kwargs)
        except BaseException as error:
            self.error = error
            raise
        if not isinstance(self.result, CoroutineType):
            return self.result
        self.waiting = self._awaited(self.result)
        return self.waiting

    async def _awaited(self, coroutine: Awaitable[Any]) -> Any:
        self.waiting = None
        try:
            self.result = await coroutine
        except BaseException as error:
            self.error = error
            raise
        return self.result

    async def run_async(self, *args: Any, **kwargs: Any) -> Any:
        self.has_begun = True
        try:
            self.result = await self.function(*args, **kwargs)
        except BaseException as error:
            self.error = error
            raise
        return self.result

    def __enter__(self) -> None:
        self._context = otel_context.get_current()

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> bool:
        """Log a failure of the instrumentation, and leave the context that it may have made current."""
        if not isinstance(error, Exception) or error is self.error:
            self.error = None  # its traceback holds the caller's frame
            return False
        if otel_context.get_current() is not self._context:
            otel_context.attach(self._context)
        if self.waiting is not None:
            self.waiting.close()  # nobody awaits it: the caller gets the function's own coroutine
        if not isinstance(error, StopAsyncIteration) or not isinstance(self.error, StopAsyncIteration):
            caught(self._place, error)  # contrib ends an iteration of asyncpg's cursor by an error of its own
        return True

    def outcome(self, *args: Any, **kwargs: Any) -> Any:
        """The function's own result, or exception; calls the function if the instrumentation has not."""
        if not self.has_begun:
            return self.function(*args, **kwargs)
        try:
            if self.error is not None:
                raise self.error
            return self.result
        finally:
            self.error = None


def call_through(
    place: str,
    instrumented: Callable[[Callable[..., Any]], Any],
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Call ``instrumented`` with a function that it calls in the place of ``function``.

    Both may return a coroutine, which the caller awaits.

    Args:
        place: What the instrumentation does, for the log line about its failure.
        instrumented: The instrumentation.
        function: The function of the application or of a library.
        args: The arguments of ``function``, for a call without the instrumentation.
        kwargs: The keyword arguments of ``function``.

    Returns:
        What ``instrumented`` returns; if it fails, what ``function`` returns.

    Raises:
        BaseException: What ``function`` raises, as the same object.
    """
    call = _Call(place, function)
    with call:
        result = instrumented(call.run)
        if isinstance(result, CoroutineType) and result is not call.waiting:
            return _ended(call, result, args, kwargs)
        return result
    return call.outcome(*args, **kwargs)


async def _ended(call: _Call, coroutine: Awaitable[Any], args: Any, kwargs: Any) -> Any:
    with call:
        return await coroutine
    result = call.outcome(*args, **kwargs)
    return await result if isinstance(result, CoroutineType) else result


async def await_through(
    place: str,
    instrumented: Callable[[Callable[..., Awaitable[Any]]], Awaitable[Any]],
    function: Callable[..., Awaitable[Any]],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Do what :func:`call_through` does, with coroutine functions."""
    call = _Call(place, function)
    with call:
        return await instrumented(call.run_async)
    return call.outcome() if call.has_begun else await function(*args, **kwargs)


class Relay:
    """A coroutine function that is instrumented once; the application then calls many functions through it."""

    def __init__(self, place: str, function: Callable[..., Awaitable[Any]]) -> None:
        self._place = place
        self._function = function
        self._running: dict[int, Callable[..., Awaitable[Any]]] = {}

    async def function(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; the instrumentation gets this in its place."""
        return await self._running.get(_key(args, kwargs), self._function)(*args, **kwargs)

    def through(self, instrumented: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """The function for the application: it calls ``instrumented``, which calls :meth:`function`."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            async def watched(run: Callable[..., Awaitable[Any]]) -> Any:
                self._running[_key(args, kwargs)] = run
                try:
                    return await instrumented(*args, **kwargs)
                finally:
                    self._running.pop(_key(args, kwargs), None)

            return await await_through(self._place, watched, self._function, *args, **kwargs)

        return call


def _key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Identifies a call by its ASGI message, so that concurrent calls stay apart."""
    return id(next(iter((*args, *kwargs.values())), None))


def shielded(place: str, wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """Shield the callers of ``wrapper``, which has wrapt's form: ``wrapper(function, instance, args, kwargs)``."""
    through = await_through if inspect.iscoroutinefunction(wrapper) else call_through

    @functools.wraps(wrapper)
    def call(function: Any, instance: Any, args: Any, kwargs: Any, **options: Any) -> Any:
        def instrumented(run: Callable[..., Any]) -> Any:
            return wrapper(run, instance, args, kwargs, **options)

        return through(place, instrumented, function, *args, **kwargs)

    return call
