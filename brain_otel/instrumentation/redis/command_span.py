"""The span of a Redis command: contrib's, less what nobody asks for.

Contrib gathers the same facts of the connection for each command, writes them on the span one by one, and writes the
command out for spans that are not recorded, too. Commands on whose spans contrib writes more (searches), pipelines,
and whatever is not usual (hooks, the old conventions) are contrib's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import opentelemetry.instrumentation.redis as _package
import opentelemetry.instrumentation.redis.util as contrib_util
from opentelemetry import context as otel_context
from opentelemetry.instrumentation._semconv import _get_semconv_opt_in_modes, _StabilityMode
from opentelemetry.instrumentation._semconv import _OpenTelemetryStabilitySignalType as _SignalType
from opentelemetry.trace import SpanKind

from brain_otel.instrumentation.fast_span import start_plain_span
from brain_otel.instrumentation.span_scope import current, is_enabled, is_excluded_call
from brain_otel.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from brain_otel.runtime.patch import Patch

_contrib: Any = _package
"""Its functions are looked up as contrib itself does; it exports none of them."""

_SEARCHES = ("redis.create_index", "redis.search")
"""Names of spans on which contrib writes more."""


def plain_factory(patch: Patch) -> Callable[..., Any]:
    """In the place of contrib's factory of what traces a command."""

    @functools.wraps(patch.original)
    def factory(tracer: Any, request_hook: Any = None, response_hook: Any = None) -> Callable[..., Any]:
        contribs: Callable[..., Any] = patch.original(tracer, request_hook, response_hook)
        spans = _Spans(tracer)

        def execute(func: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            context = otel_context.get_current()
            if not is_enabled(context) or is_excluded_call(context):
                return func(*args, **kwargs)
            span = spans.start(instance, args, context)
            if span is None:
                return contribs(func, instance, args, kwargs)
            with span:
                return func(*args, **kwargs)

        return execute if not (request_hook or response_hook) and spans.are_stable else contribs

    return factory


def plain_async_factory(patch: Patch) -> Callable[..., Any]:
    """The same for commands that are awaited."""

    @functools.wraps(patch.original)
    def factory(tracer: Any, request_hook: Any = None, response_hook: Any = None) -> Callable[..., Any]:
        contribs: Callable[..., Any] = patch.original(tracer, request_hook, response_hook)
        spans = _Spans(tracer)

        async def execute(func: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            context = otel_context.get_current()
            if not is_enabled(context) or is_excluded_call(context):
                return await func(*args, **kwargs)
            span = spans.start(instance, args, context)
            if span is None:
                return await contribs(func, instance, args, kwargs)
            with span:
                return await func(*args, **kwargs)

        return execute if not (request_hook or response_hook) and spans.are_stable else contribs

    return factory


class _Spans:
    """Makes the spans of one tracer."""

    def __init__(self, tracer: Any) -> None:
        modes = _get_semconv_opt_in_modes((_SignalType.DATABASE, _SignalType.HTTP))
        self._tracer = tracer
        self._modes = (modes[_SignalType.DATABASE], modes[_SignalType.HTTP])
        self._connections: WeakKeyDictionary[Any, tuple[Any, dict[str, Any]]] = WeakKeyDictionary()

    @property
    def are_stable(self) -> bool:
        """Whether they are in the stable conventions alone."""
        return self._modes[0] is _StabilityMode.DATABASE

    def start(self, client: Any, args: tuple[Any, ...], context: Context) -> current | None:
        """Start the span of a command, to be entered; None where contrib is to make it.

        https://opentelemetry.io/docs/specs/semconv/database/redis/
        """
        with guarded("starting a Redis command's span"):
            name = _contrib._build_span_name(client, args)
            if name in _SEARCHES:
                return None
            attributes = {"db.redis.args_length": len(args), **self._connection(client)}
            attributes["db.query.text"] = _contrib._format_command_args(args)
            return current(start_plain_span(self._tracer, name, SpanKind.CLIENT, attributes, context), context)
        return None

    def _connection(self, client: Any) -> dict[str, Any]:
        """What contrib says of the connections of a client, gathered once for each pool; a cluster's has none."""
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
