"""The spans of Redis commands and pipelines, in the place of contrib's wrappers.

For each command contrib collects the same attributes of the connection, sets them one by one, and formats the command
even if the span is not recorded. It names neither the operation nor the database, and takes an empty pipeline for a
call. Contrib still creates the spans of clients that the application has given hooks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import opentelemetry.instrumentation.redis as _package
import opentelemetry.instrumentation.redis.util as contrib_util
from opentelemetry.context import Context
from opentelemetry.instrumentation._semconv import _get_semconv_opt_in_modes, _StabilityMode
from opentelemetry.instrumentation._semconv import _OpenTelemetryStabilitySignalType as _SignalType
from opentelemetry.trace import SpanKind
from redis import WatchError

from brain_otel.instrumentation.database import record_failure
from brain_otel.instrumentation.fast_span import start_fast_span
from brain_otel.instrumentation.redis.caches import READS, Caches, record_answer
from brain_otel.instrumentation.redis.pipelines import batch_of
from brain_otel.instrumentation.redis.repeated_calls import is_traced_already
from brain_otel.instrumentation.span_scope import current, is_enabled, is_excluded_call, is_inside_call
from brain_otel.privacy.statements import command_name, redis_without_values
from brain_otel.runtime.context import settled_context
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.patch import Patch, Patches

_contrib: Any = _package
"""Its functions, looked up where contrib looks them up; it exports none of them."""

_OLD_NAMES = {"db.operation.name": "db.operation", "db.query.text": "db.statement"}

_NOT_A_COMMAND = "redis"

_CLIENT = SpanKind.CLIENT

_SIMPLE = frozenset({str, int})

Start = Callable[[Any, tuple[Any, ...], Context], "_Started | None"]
"""Starts the span of a call: the client, its arguments, the context. None: there is nothing to trace."""


def patch_factories(patches: Patches, cache_prefixes: Sequence[str] = ()) -> None:
    """Replace contrib's factories of the functions that trace a command or a pipeline."""
    caches = Caches(cache_prefixes) if cache_prefixes else None
    for name, make, start in (
        ("_traced_execute_factory", _execute, "command"),
        ("_async_traced_execute_factory", _execute_async, "command"),
        ("_traced_execute_pipeline_factory", _execute, "pipeline"),
        ("_async_traced_execute_pipeline_factory", _execute_async, "pipeline"),
    ):
        patches.replace(_contrib, name, functools.partial(_factory, make, start, caches))


def _factory(
    make: Callable[[Start], Callable[..., Any]], start: str, caches: Caches | None, patch: Patch
) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def factory(tracer: Any, request_hook: Any = None, response_hook: Any = None) -> Callable[..., Any]:
        if not request_hook and not response_hook:
            with guarded("preparing the spans of Redis"):
                return make(getattr(_Spans(tracer, caches), start))
        slow: Callable[..., Any] = patch.original(tracer, request_hook, response_hook)
        return slow

    return factory


def _is_traced_here(client: Any, args: tuple[Any, ...], context: Context) -> bool:
    if is_excluded_call(context) or not is_enabled(context):
        return False
    return not (is_inside_call(context) and is_traced_already(client, args, context))


def _execute(start: Start) -> Callable[..., Any]:
    def execute(func: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = settled_context()
        if not _is_traced_here(instance, args, context):
            return func(*args, **kwargs)
        started = start(instance, args, context)
        if started is None:
            return func(*args, **kwargs)
        with started as span:
            result = func(*args, **kwargs)
            if started.reads_cache:
                record_answer(span, result)
            return result

    return execute


def _execute_async(start: Start) -> Callable[..., Any]:
    async def execute(func: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = settled_context()
        if not _is_traced_here(instance, args, context):
            return await func(*args, **kwargs)
        started = start(instance, args, context)
        if started is None:
            return await func(*args, **kwargs)
        with started as span:
            result = await func(*args, **kwargs)
            if started.reads_cache:
                record_answer(span, result)
            return result

    return execute


class _Started(current):
    """The span of a command or pipeline."""

    __slots__ = ("reads_cache",)

    reads_cache: bool

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, WatchError):  # a watched key that has changed is an answer
            error = None
        if isinstance(error, Exception):
            record_failure(self._span, error)
        super().__exit__(kind, error, where)


class _Spans:
    """Creates the spans of one tracer: https://opentelemetry.io/docs/specs/semconv/database/redis/."""

    def __init__(self, tracer: Any, caches: Caches | None = None) -> None:
        self._tracer, self._caches = tracer, caches
        modes = _get_semconv_opt_in_modes((_SignalType.DATABASE, _SignalType.HTTP))
        self._modes = modes[_SignalType.DATABASE], modes[_SignalType.HTTP]
        self._is_stable = modes[_SignalType.DATABASE] is _StabilityMode.DATABASE
        self._connections: WeakKeyDictionary[Any, tuple[Any, str, dict[str, Any], bool]] = WeakKeyDictionary()

    def command(self, client: Any, args: tuple[Any, ...], context: Context) -> _Started | None:
        """Start the span of a command; None if that fails."""
        try:
            operation = command_name(args[0]) if args else ""
            cached = self._caches.describe(operation, args) if self._caches is not None else None
            return self._start(client, operation, redis_without_values(args, str), context, cached=cached)
        except Exception as error:
            caught("starting the span of a Redis command", error)
            return None

    def pipeline(self, client: Any, _: tuple[Any, ...], context: Context) -> _Started | None:
        """Start the span of a pipeline; None if it is empty, so that nothing is sent, or if that fails."""
        try:
            batch = batch_of(client)
            if batch is None:
                return None
            return self._start(client, batch.operation, batch.text, context, batch.size if batch.size > 1 else None)
        except Exception as error:
            caught("starting the span of a Redis pipeline", error)
            return None

    def _start(
        self,
        client: Any,
        operation: str,
        text: str,
        context: Context,
        size: int | None = None,
        cached: Mapping[str, Any] | None = None,
    ) -> _Started:
        target, attributes, are_simple = self._connection(client)
        attributes = dict(attributes)
        if operation and operation != _NOT_A_COMMAND:
            attributes["db.operation.name"] = operation
        attributes["db.query.text"] = text
        if size is not None:
            attributes["db.operation.batch.size"] = size
        if not self._is_stable:
            attributes = _renamed(attributes, self._modes[0])
        if cached:
            attributes |= cached
        name = f"{operation} {target}".strip() or _NOT_A_COMMAND
        span = start_fast_span(self._tracer, name, _CLIENT, attributes, context, are_simple=are_simple and not cached)
        started = _Started(span, context)
        started.reads_cache = bool(cached) and operation in READS
        return started

    def _connection(self, client: Any) -> tuple[str, dict[str, Any], bool]:
        """The address of a client's connections, their attributes, and whether these are texts and numbers.

        It is cached for each pool; a cluster has none.
        """
        pool = getattr(client, "connection_pool", None)
        options = getattr(pool, "connection_kwargs", None)
        if options is None:
            return "", _SYSTEM if self._is_stable else _renamed(_SYSTEM, self._modes[0]), True
        state = (options.get("host"), options.get("port"), options.get("db"), options.get("path"))
        known = self._connections.get(pool)
        if known is None or known[0] != state:
            found = self._describe(options)
            if self._modes[0] is not _StabilityMode.DEFAULT:
                found["db.namespace"] = str(options.get("db") or 0)
            target = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
            are_simple = _SIMPLE.issuperset(map(type, found.values()))
            known = self._connections[pool] = (state, str(target), found, are_simple)
        return known[1:]

    def _describe(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that contrib gives a connection; in the old conventions contrib describes it."""
        if self._modes != (_StabilityMode.DATABASE, _StabilityMode.HTTP):
            extract: Any = getattr(contrib_util, "_extract_conn_attributes", None)
            old: dict[str, Any] = extract(options, *self._modes) if extract is not None else dict(_SYSTEM)
            return old
        if "path" in options:
            place = {"server.address": options["path"], "network.transport": "unix"}
        else:
            port = str(options.get("port", 6379))
            place = {"server.address": options.get("host", "localhost"), "network.transport": "tcp"}
            place["server.port"] = int(port) if port.isdecimal() else None
        return _SYSTEM | {name: value for name, value in place.items() if value}


_SYSTEM = {"db.system.name": "redis"}


def _renamed(attributes: dict[str, Any], mode: _StabilityMode) -> dict[str, Any]:
    """``attributes`` with the names of the old conventions, and without the stable ones unless ``mode`` has both."""
    old = {
        _OLD_NAMES.get(name, "db.system" if name == "db.system.name" else name): value
        for name, value in attributes.items()
    }
    return {**attributes, **old} if mode is _StabilityMode.DATABASE_DUP else old
