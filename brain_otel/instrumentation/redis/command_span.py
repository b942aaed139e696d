"""The span of a Redis command: the fast path in the place of contrib's wrappers.

For each command contrib collects the same attributes of the connection, sets them one by one, and formats the command
even if the span is not recorded. Contrib still handles searches, on whose spans it sets more, pipelines, hooks and
the old semantic conventions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import opentelemetry.instrumentation.redis as _package
import opentelemetry.instrumentation.redis.util as contrib_util
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.instrumentation._semconv import _get_semconv_opt_in_modes, _StabilityMode
from opentelemetry.instrumentation._semconv import _OpenTelemetryStabilitySignalType as _SignalType
from opentelemetry.trace import SpanKind

from brain_otel.instrumentation.fast_span import start_fast_span
from brain_otel.instrumentation.span_scope import current, is_enabled, is_excluded_call
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.patch import Patch, Patches

_contrib: Any = _package
"""Its functions, looked up where contrib looks them up; it exports none of them."""

_SEARCHES = ("redis.create_index", "redis.search")
"""Names of spans on which contrib sets more attributes."""


def patch_factories(patches: Patches) -> None:
    """Replace contrib's factories of the functions that trace a command."""
    patches.replace(_contrib, "_traced_execute_factory", functools.partial(_factory, _execute))
    patches.replace(_contrib, "_async_traced_execute_factory", functools.partial(_factory, _execute_async))


def _factory(make: Callable[[_Spans, Any], Callable[..., Any]], patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def factory(tracer: Any, request_hook: Any = None, response_hook: Any = None) -> Callable[..., Any]:
        slow: Callable[..., Any] = patch.original(tracer, request_hook, response_hook)
        spans = None if request_hook or response_hook else _create_spans(tracer)
        return slow if spans is None else make(spans, slow)

    return factory


def _execute(spans: _Spans, slow: Any) -> Callable[..., Any]:
    def execute(func: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = otel_context.get_current()
        if not is_enabled(context) or is_excluded_call(context):
            return func(*args, **kwargs)
        span = spans.start(instance, args, context)
        if span is None:
            return slow(func, instance, args, kwargs)
        with span:
            return func(*args, **kwargs)

    return execute


def _execute_async(spans: _Spans, slow: Any) -> Callable[..., Any]:
    async def execute(func: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = otel_context.get_current()
        if not is_enabled(context) or is_excluded_call(context):
            return await func(*args, **kwargs)
        span = spans.start(instance, args, context)
        if span is None:
            return await slow(func, instance, args, kwargs)
        with span:
            return await func(*args, **kwargs)

    return execute


def _create_spans(tracer: Any) -> _Spans | None:
    """None unless the spans have the stable conventions alone."""
    with guarded("preparing the fast path of Redis"):
        modes = _get_semconv_opt_in_modes((_SignalType.DATABASE, _SignalType.HTTP))
        if modes[_SignalType.DATABASE] is _StabilityMode.DATABASE:
            return _Spans(tracer, (modes[_SignalType.DATABASE], modes[_SignalType.HTTP]))
    return None


class _Spans:
    """Creates the spans of one tracer."""

    def __init__(self, tracer: Any, modes: tuple[_StabilityMode, _StabilityMode]) -> None:
        self._tracer = tracer
        self._modes = modes
        self._connections: WeakKeyDictionary[Any, tuple[Any, dict[str, Any]]] = WeakKeyDictionary()

    def start(self, client: Any, args: tuple[Any, ...], context: Context) -> current | None:
        """Start the span of a command; None if contrib has to.

        https://opentelemetry.io/docs/specs/semconv/database/redis/
        """
        try:
            name = _contrib._build_span_name(client, args)
            if name in _SEARCHES:
                return None
            attributes = {"db.redis.args_length": len(args), **self._connection(client)}
            attributes["db.query.text"] = _contrib._format_command_args(args)
            return current(start_fast_span(self._tracer, name, SpanKind.CLIENT, attributes, context), context)
        except Exception as error:
            caught("starting the span of a Redis command", error)
            return None

    def _connection(self, client: Any) -> dict[str, Any]:
        """Contrib's attributes of a client's connections, cached for each pool; a cluster has none."""
        pool = getattr(client, "connection_pool", None)
        options = getattr(pool, "connection_kwargs", None)
        if options is None:
            return {}
        state = (options.get("host"), options.get("port"), options.get("db"), options.get("path"))
        known = self._connections.get(pool)
        if known is None or known[0] != state:
            found = contrib_util._extract_conn_attributes(options, *self._modes)  # type: ignore[no-untyped-call]
            known = self._connections[pool] = (state, found)
        return known[1]
