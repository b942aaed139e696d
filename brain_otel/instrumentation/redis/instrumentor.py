"""Redis and Valkey: contrib's instrumentation, which patches the classes of the clients at any time.

It creates the spans of redis-py's sync and async clients, pipelines and cluster clients. The durations of the same
methods are measured here, if the configuration has a ``meter_provider``.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import opentelemetry.instrumentation.redis as contrib
import opentelemetry.instrumentation.redis.util as contrib_util
import redis.asyncio.client
import redis.asyncio.cluster
import redis.client
import redis.cluster
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.semconv.attributes import db_attributes, server_attributes

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.conflicts import warn_once
from brain_otel.instrumentation.database import operation_name
from brain_otel.instrumentation.first_use import WRAP, EntryPoints, wrapping
from brain_otel.instrumentation.metrics import Durations, create_durations
from brain_otel.instrumentation.redis.pipelines import batch_of
from brain_otel.instrumentation.redis.repeated_calls import INSTRUMENTOR, is_traced_already
from brain_otel.privacy.statements import command_name, redis_without_values
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.patch import Original, Patch, Patches, replacement, surrounding
from brain_otel.runtime.shield import shielded
from brain_otel.runtime.text import word_set

_SCOPE = "brain_otel.instrumentation.redis.instrumentor"

_CLIENTS = ((redis.client, redis.cluster), (redis.asyncio.client, redis.asyncio.cluster))

_FACTORIES = word_set("""
    _traced_execute_factory _traced_execute_pipeline_factory _async_traced_execute_factory
    _async_traced_execute_pipeline_factory
""")
"""Contrib's functions that create the wrappers of the methods that are measured here."""


class _Instrumentor(RedisInstrumentor):
    """An instance of our own: the application's ``uninstrument()`` removes what the application has instrumented."""

    _instance = None

    def _uninstrument(self, **kwargs: Any) -> None:
        """Do nothing if the patches put back what stood there."""
        if not hasattr(contrib, WRAP):
            super()._uninstrument(**kwargs)


class RedisInstrumentation:
    """Traces and measures every command.

    Args:
        entry_points: Gets the patches of the clients' methods; with it, nothing is measured.
    """

    def __init__(self, entry_points: EntryPoints | None = None) -> None:
        self._is_measured = entry_points is None
        self._entry_points = entry_points or Patches()
        self._measured = Patches()
        self._described = Patches()
        self._contrib: RedisInstrumentor | None = None

    def instrument(self, settings: InstrumentationSettings) -> None:
        """Begin; leave the spans to contrib's instrumentor if the application has used it before."""
        if self._is_measured:
            self._measure()
        if RedisInstrumentor().is_instrumented_by_opentelemetry:
            warn_once("Redis", INSTRUMENTOR)
            return
        self._patch_descriptions()
        with guarded("loading the fast path of Redis"):  # else contrib's wrappers trace, with fewer attributes
            from brain_otel.instrumentation.redis.command_span import patch_factories

            patch_factories(self._described, settings.cache_prefixes)
        self._contrib = _Instrumentor()
        with wrapping(contrib, self._entry_points):
            self._contrib.instrument(skip_dep_check=True)

    def _measure(self) -> None:
        durations = create_durations(_SCOPE)
        if durations is not None:  # before contrib, so that the span contains what is measured
            for client, cluster in _CLIENTS:
                for owner, name, describe in (
                    (client.Redis, "execute_command", _describe_command),
                    (client.Pipeline, "immediate_execute_command", _describe_command),
                    (cluster.RedisCluster, "execute_command", _describe_command),
                    (client.Pipeline, "execute", _describe_pipeline),
                    (cluster.ClusterPipeline, "execute", _describe_pipeline),
                ):
                    self._measured.replace(
                        owner, name, surrounding(functools.partial(_Measuring, durations, describe))
                    )

    def _patch_descriptions(self) -> None:
        """Replace contrib's functions that put values on a span, or may raise, where contrib looks them up."""
        replace = self._described.replace
        replace(contrib, "_format_command_args", _command)
        replace(contrib_util, "_format_command_args", _command)
        replace(contrib, "_build_span_meta_data_for_pipeline", _pipeline)
        has_search = replace(contrib, "_add_search_attributes", _search)
        replace(contrib, "_build_span_name", replacement(functools.partial(_span_name, has_search)))
        for factory in _FACTORIES:
            replace(contrib, factory, _shielded)

    def uninstrument(self) -> None:
        """Leave the clients as they were found."""
        self._entry_points.undo()
        if self._contrib is not None:
            self._contrib.uninstrument()
            self._contrib = None
        self._described.undo()
        self._measured.undo()


def _shielded(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def factory(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        trace = shielded("tracing a Redis command", patch.original(*args, **kwargs))

        def traced(func: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            if is_traced_already(instance, args, otel_context.get_current()):
                return func(*args, **kwargs)
            return trace(func, instance, args, kwargs)

        return traced

    return factory


class _Measuring(AbstractContextManager[object]):
    """Measures a block if ``describe`` has attributes. A ``WatchError`` is an answer: a watched key has changed."""

    def __init__(
        self,
        durations: Durations,
        describe: Callable[[Any, tuple[Any, ...]], dict[str, Any] | None],
        client: Any,
        /,
        *args: Any,
        **_: Any,
    ) -> None:
        self._durations, self._started = durations, None
        self._attributes: dict[str, Any] = {}
        with guarded("describing a Redis command"):
            attributes = describe(client, args)
            if attributes is not None:
                self._started, self._attributes = durations.start(), attributes

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        failure = None if isinstance(error, redis.WatchError) else error
        self._durations.record(self._started, self._attributes, failure)


def _describe_command(client: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    name = args[0] if args else None
    if isinstance(name, bytes):
        name = name.decode("ascii", "replace")
    return _attributes(client, operation_name(name))


def _describe_pipeline(pipeline: Any, _: tuple[Any, ...]) -> dict[str, Any] | None:
    """None for an empty pipeline, which sends nothing."""
    batch = batch_of(pipeline)
    return _attributes(pipeline, batch.operation or None) if batch is not None else None


def _attributes(client: Any, operation: str | None) -> dict[str, Any]:
    attributes = {db_attributes.DB_SYSTEM_NAME: "redis"}
    if operation is not None:
        attributes[db_attributes.DB_OPERATION_NAME] = operation
    options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", None)
    if options:  # a cluster has a pool for each node instead
        known = {
            db_attributes.DB_NAMESPACE: str(options.get("db") or 0),
            server_attributes.SERVER_ADDRESS: options.get("path") or options.get("host"),
            server_attributes.SERVER_PORT: options.get("port"),
        }
        attributes.update({name: value for name, value in known.items() if value is not None})
    return attributes


@replacement
def _command(_original: Original, args: Any) -> str:
    """Contrib hides the key along with the values; the key is masked later, where the span leaves."""
    try:
        return redis_without_values(args, str)
    except Exception as error:
        caught("formatting a Redis command", error)
        return ""


def _span_name(has_search: bool, original: Original, instance: Any, args: Any) -> str:
    """Contrib uses the first argument, which may be a whole command with its values.

    Contrib recognizes a search by the name ``redis.search``, and then records the query. Where :func:`_search` could
    not be patched in, another name is returned, so that it does not.
    """
    try:
        name = str(original(instance, (command_name(args[0]), *args[1:]) if args else args))
        return name if has_search or name != "redis.search" else "FT.SEARCH"
    except Exception as error:
        caught("naming a Redis command", error)
        return "redis"


@replacement
def _pipeline(original: Original, instance: Any) -> Any:
    stack, resource, name = original(instance)
    with guarded("naming a Redis pipeline"):
        name = " ".join(line.partition(" ")[0] for line in resource.split("\n") if line) or name
    return stack, resource, name


@replacement
def _search(_original: Original, span: Any, response: Any, args: Any) -> None:
    """Contrib records the query and the documents, and raises if the response is a mapping, as in RESP3.

    This records the index and the number of documents.
    """
    with guarded("describing a Redis search"):
        if len(args) > 1:
            span.set_attribute("redis.search.index", str(args[1]))
        if isinstance(response, (list, tuple)) and response and isinstance(response[0], int):
            span.set_attribute("redis.search.total", response[0])
