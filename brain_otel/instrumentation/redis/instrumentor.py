"""Redis and Valkey: contrib's instrumentation, which patches the clients' classes, so import order does not matter.

It covers redis-py's sync and async clients, pipelines and cluster clients, with spans. The durations of the same
methods are measured here, where the file has a ``meter_provider``.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import opentelemetry.instrumentation.redis as contrib
import opentelemetry.instrumentation.redis.util as contrib_util
import redis.asyncio.client
import redis.asyncio.cluster
import redis.client
import redis.cluster
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.semconv.attributes import db_attributes, server_attributes

from brain_otel.instrumentation.metrics import Durations, create_durations, operation_name
from brain_otel.instrumentation.redis.command_span import plain_async_factory, plain_factory
from brain_otel.privacy.statements import command_name, redis_without_values
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.patch import Patch, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.configuration.settings import InstrumentationSettings

_SCOPE = "brain_otel.instrumentation.redis.instrumentor"

_COMMANDS = (
    (redis.client.Redis, "execute_command"),
    (redis.client.Pipeline, "immediate_execute_command"),
    (redis.cluster.RedisCluster, "execute_command"),
    (redis.asyncio.client.Redis, "execute_command"),
    (redis.asyncio.client.Pipeline, "immediate_execute_command"),
    (redis.asyncio.cluster.RedisCluster, "execute_command"),
)
_PIPELINES = (
    (redis.client.Pipeline, "execute"),
    (redis.cluster.ClusterPipeline, "execute"),
    (redis.asyncio.client.Pipeline, "execute"),
    (redis.asyncio.cluster.ClusterPipeline, "execute"),
)
"""The methods that contrib traces."""

_ours: list[RedisInstrumentor] = []
"""The instrumentor, if it was not the application that used it first."""

_measuring: list[Patch] = []

_describing: list[Patch] = []


def instrument(settings: InstrumentationSettings) -> None:  # noqa: ARG001
    """Trace and measure every command."""
    durations = create_durations(_SCOPE)
    if durations is not None:  # before contrib, so that what is measured is within the span
        for methods, describe in ((_COMMANDS, _describe_command), (_PIPELINES, _describe_pipeline)):
            make = functools.partial(_measured, durations, describe)
            _measuring.extend(replace(owner, name, make) for owner, name in methods)
    instrumentor = RedisInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        _describing.extend(replace(owner, name, make) for owner, name, make in _DESCRIPTIONS)
        instrumentor.instrument(skip_dep_check=True)
        _ours.append(instrumentor)


def uninstrument() -> None:
    """Trace and measure commands no more."""
    while _ours:
        _ours.pop().uninstrument()
    while _describing:
        _describing.pop().undo()
    while _measuring:
        _measuring.pop().undo()


def _measured(
    durations: Durations, describe: Callable[[Any, tuple[Any, ...]], dict[str, Any] | None], patch: Patch
) -> Callable[..., Any]:
    original = patch.original

    def begin(instance: Any, args: tuple[Any, ...]) -> tuple[float | None, dict[str, Any]]:
        with guarded("describing a Redis command"):
            attributes = describe(instance, args) if patch.active else None
            if attributes is not None:
                return durations.start(), attributes
        return None, {}

    @functools.wraps(original)
    def measured(self: Any, *args: Any, **kwargs: Any) -> Any:
        started, attributes = begin(self, args)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            durations.record(started, attributes, _failure(error))
            raise
        durations.record(started, attributes)
        return result

    @functools.wraps(original)
    async def measured_coroutine(self: Any, *args: Any, **kwargs: Any) -> Any:
        started, attributes = begin(self, args)
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as error:
            durations.record(started, attributes, _failure(error))
            raise
        durations.record(started, attributes)
        return result

    return measured_coroutine if inspect.iscoroutinefunction(inspect.unwrap(original)) else measured


def _failure(error: BaseException) -> BaseException | None:
    """``error``, unless it only says that a watched key has changed, which is an answer."""
    return None if isinstance(error, redis.WatchError) else error


def _describe_command(client: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    name = args[0] if args else None
    if isinstance(name, bytes):
        name = name.decode("ascii", "replace")
    return _attributes(client, operation_name(name))


def _describe_pipeline(pipeline: Any, _: tuple[Any, ...]) -> dict[str, Any] | None:
    return _attributes(pipeline, "PIPELINE") if len(pipeline) else None  # nothing to send


def _attributes(client: Any, operation: str | None) -> dict[str, Any]:
    attributes = {db_attributes.DB_SYSTEM_NAME: "redis"}
    if operation is not None:
        attributes[db_attributes.DB_OPERATION_NAME] = operation
    options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", None)
    if options:  # a cluster has a pool a node
        known = {
            db_attributes.DB_NAMESPACE: str(options.get("db") or 0),
            server_attributes.SERVER_ADDRESS: options.get("path") or options.get("host"),
            server_attributes.SERVER_PORT: options.get("port"),
        }
        attributes.update({name: value for name, value in known.items() if value is not None})
    return attributes


def _command(patch: Patch) -> Callable[..., str]:
    """Contrib hides the key along with the values; what a key gives away is masked where the span leaves."""

    @functools.wraps(patch.original)
    def format_command_args(args: Any) -> str:
        try:
            return redis_without_values(args, str)
        except Exception as error:
            caught("writing out a Redis command", error)
            return ""

    return format_command_args


def _span_name(patch: Patch) -> Callable[..., str]:
    """Contrib's name is the first argument, in which a client may be given the whole command."""

    @functools.wraps(patch.original)
    def build_span_name(instance: Any, args: Any) -> str:
        try:
            return str(patch.original(instance, (command_name(args[0]), *args[1:]) if args else args))
        except Exception as error:
            caught("naming a Redis command", error)
            return "redis"

    return build_span_name


def _pipeline(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def build_span_meta_data_for_pipeline(instance: Any) -> Any:
        stack, resource, name = patch.original(instance)
        with guarded("naming a Redis pipeline"):
            name = " ".join(line.partition(" ")[0] for line in resource.split("\n") if line) or name
        return stack, resource, name

    return build_span_meta_data_for_pipeline


def _search(patch: Patch) -> Callable[..., None]:
    """Contrib puts the query and the documents found on the span; how many they were is enough."""

    @functools.wraps(patch.original)
    def add_search_attributes(span: Any, response: Any, args: Any) -> None:
        with guarded("describing a Redis search"):
            if len(args) > 1:
                span.set_attribute("redis.search.index", str(args[1]))
            if isinstance(response, (list, tuple)) and response and isinstance(response[0], int):
                span.set_attribute("redis.search.total", response[0])

    return add_search_attributes


_DESCRIPTIONS = (
    (contrib, "_traced_execute_factory", plain_factory),
    (contrib, "_async_traced_execute_factory", plain_async_factory),
    (contrib, "_format_command_args", _command),
    (contrib_util, "_format_command_args", _command),
    (contrib, "_build_span_name", _span_name),
    (contrib, "_build_span_meta_data_for_pipeline", _pipeline),
    (contrib, "_add_search_attributes", _search),
)
"""Contrib's own functions, where it looks them up; a test tells when they change."""
