"""Shields the application from the instrumentors of others, which read arguments and answers unguarded.

A language model's answer with a number in the place of a list makes contrib's code raise, and the application would
get that error in the place of the answer. Most instrumentors wrap functions by ``wrapt``; the rest are known here.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from types import ModuleType
from typing import Any

import wrapt

from brain_otel.instrumentation.others.grpc_calls import shield_grpc
from brain_otel.instrumentation.others.model_streams import (
    shield_invocations,
    shield_openai,
    shield_raw_responses,
    shield_streams,
)
from brain_otel.instrumentation.others.statements import statement_first
from brain_otel.runtime.context import holding
from brain_otel.runtime.context_decorator import within
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement
from brain_otel.runtime.shield import call_through

_CONTRIB = ("opentelemetry.", "wrapt")


@contextmanager
def shielded_wrappers(name: str) -> Iterator[None]:
    """Each wrapper that an instrumentor puts around a function within the block is shielded."""
    original = wrapt.wrap_function_wrapper

    def wrap(target: Any, attribute: str, wrapper: Callable[..., Any]) -> Any:
        shielded = _shielded(f"observing {name}", _with_statement(wrapper) if name == "asyncpg" else wrapper)
        return original(target, attribute, _with_own_messages(shielded) if name in _AWS else shielded)

    modules = [each for key, each in sys.modules.copy().items() if key.startswith(_CONTRIB)]
    names = [(module, key) for module in modules for key, each in list(vars(module).items()) if each is original]
    for module, key in names:
        setattr(module, key, wrap)
    try:
        yield
    finally:
        for module, key in names:
            setattr(module, key, original)


def _shielded(place: str, wrapper: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(wrapper)
    def call(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        given = dict(kwargs)  # which the instrumentation may change before it fails

        def instrumented(run: Callable[..., Any]) -> Any:
            @functools.wraps(function, updated=())  # contrib binds arguments to its signature
            def original(*args: Any, **kwargs: Any) -> Any:
                return run(*args, **kwargs)

            return wrapper(original, instance, args, kwargs)

        return call_through(place, instrumented, function, *args, **given)

    return call


def _with_statement(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(wrapper)
    def call(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapper(function, instance, *statement_first(args, kwargs))

    return call


_AWS = ("aiobotocore", "botocore")
"""Instrumentors of calls whose arguments are an operation and its parameters."""

_MESSAGES = ("Entries", "MessageAttributes", "PublishBatchRequestEntries")
"""Parameters of SNS and SQS to which contrib adds trace headers, in the application's own containers."""


def _with_own_messages(shielded: Callable[..., Any]) -> Callable[..., Any]:
    """Give contrib a copy of the messages of a call; one that AWS's client rejects is left to that."""

    @functools.wraps(shielded)
    def call(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if len(args) != 2 or type(args[1]) is not dict:
            return shielded(function, instance, args, kwargs)
        messages = {key: args[1][key] for key in _MESSAGES if key in args[1]}
        if not all(type(each) in (dict, list) for each in messages.values()):
            return function(*args, **kwargs)
        own = {key: _copied(each) for key, each in messages.items()}
        return shielded(function, instance, (args[0], {**args[1], **own}), kwargs)

    return call


def _copied(value: Any, depth: int = 3) -> Any:
    """Lists of messages, messages, and their attributes, copied; what they hold stays as it is."""
    if depth and type(value) is dict:
        return {key: _copied(each, depth - 1) for key, each in value.items()}
    return [_copied(each, depth - 1) for each in value] if depth and type(value) is list else value


class Shields:
    """Replaces the functions through which some instrumentors call the application's or a library's."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._patched: set[str] = set()

    def add(self) -> None:
        """Shield what has been imported since."""
        for name, shield in _SHIELDS.items():
            module = sys.modules.get(name)
            if module is not None and name not in self._patched:
                self._patched.add(name)
                with guarded(f"shielding {name}"):
                    shield(module, self._patches)

    def undo(self) -> None:
        """Leave the instrumentors as they were found."""
        self._patches.undo()
        self._patched.clear()


def _shield_drivers(module: ModuleType, patches: Patches) -> None:
    patches.replace(module.CursorTracer, "traced_execution", _execution)
    patches.replace(module.CursorTracer, "traced_execution_async", _execution)


@replacement
def _execution(
    original: Original, /, tracer: Any, cursor: Any, method: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    def instrumented(run: Callable[..., Any]) -> Any:
        first, others = statement_first(args, kwargs)
        return original(tracer, cursor, run, *first, **others)

    return call_through("observing a statement", instrumented, method, *args, **kwargs)


def _shield_aiohttp(module: ModuleType, patches: Patches) -> None:
    patches.replace(module, "create_trace_config", _trace_config)


@replacement
def _trace_config(original: Original, /, *args: Any, **kwargs: Any) -> Any:
    """Aiohttp awaits the functions of a trace configuration within the application's request."""
    config = original(*args, **kwargs)
    for signal in (config.on_request_start, config.on_request_end, config.on_request_exception):
        signal[:] = [within(partial(guarded, "observing a request of aiohttp"), each) for each in signal]
    return config


_SHIELDS = {
    "opentelemetry.instrumentation.dbapi": _shield_drivers,
    "opentelemetry.util.genai.stream": shield_streams,
    "opentelemetry.util.genai.invocation": shield_invocations,
    "opentelemetry.instrumentation.genai.anthropic._raw_response": shield_raw_responses,
    "opentelemetry.instrumentation.genai.openai.patch": shield_openai,
    "opentelemetry.instrumentation.aiohttp_client": _shield_aiohttp,
    "opentelemetry.instrumentation.grpc": shield_grpc,
}
"""Module -> the function that shields it."""


def shielded_method(name: str) -> AbstractContextManager[None]:
    """Shield the method that this instrumentor replaces by assignment, if it is one that does."""
    requests = sys.modules.get("requests") if name == "requests" else None
    return nullcontext() if requests is None else _ShieldedMethod(requests.Session, "send", "observing requests")


class _ShieldedMethod(AbstractContextManager[None]):
    """Shields a method that an instrumentor replaces by assignment, as that of ``requests``.

    Our function goes below the instrumentor's, where it tells what the method did, and above it, where it decides.
    """

    def __init__(self, owner: Any, name: str, place: str) -> None:
        self._owner, self._name, self._place = owner, name, place
        self._run: ContextVar[Callable[..., Any] | None] = ContextVar("brain_otel.shielded", default=None)
        self.method = getattr(owner, name)

    def __enter__(self) -> None:
        """Put our function in the place of the method."""

        @functools.wraps(self.method)
        def inner(*args: Any, **kwargs: Any) -> Any:
            run = self._run.get()
            if run is None:
                return self.method(*args, **kwargs)
            with holding(self._run, None):  # a redirect, or a hook, calls the method again
                return run(*args, **kwargs)

        self._inner = inner
        setattr(self._owner, self._name, inner)

    def __exit__(self, *_: object) -> None:
        """Put it around the instrumentor's, which takes both away: it finds the method below them."""
        instrumented = getattr(self._owner, self._name)
        if instrumented is self._inner:
            setattr(self._owner, self._name, self.method)
            return

        @functools.wraps(instrumented)
        def outer(*args: Any, **kwargs: Any) -> Any:
            def through(run: Callable[..., Any]) -> Any:
                with holding(self._run, run):
                    return instrumented(*args, **kwargs)

            return call_through(self._place, through, self.method, *args, **kwargs)

        outer.__wrapped__ = self.method
        setattr(self._owner, self._name, outer)
