"""The span of a statement: the fast path in the place of contrib's listener.

For each statement, recorded or not, contrib reads the engine's URL, splits the statement twice and makes the span
current for a moment. It counts the connections in use even if nobody reads the metric.
"""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.sqlalchemy import engine as contrib
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.sdk.metrics import UpDownCounter
from opentelemetry.trace import SpanKind

from brain_otel.instrumentation.database import batch_size, statement_operation
from brain_otel.instrumentation.fast_span import start_fast_span
from brain_otel.instrumentation.span_scope import is_enabled, is_excluded_call
from brain_otel.instrumentation.sqlalchemy.corrections import span_name
from brain_otel.runtime.context import settled_context
from brain_otel.runtime.guard import caught
from brain_otel.runtime.patch import Original, Patch, Patches, replacement

_ASKED = "postgresql"
"""The system whose connections contrib asks for what the URL does not say; of others it takes the URL's part."""

_COUNTERS = ("_add_idle_to_connection_usage", "_add_used_to_connection_usage")


def patch_tracer(patches: Patches, *, is_measured: bool) -> None:
    """Replace methods of contrib's tracer, for engines that are traced from now on.

    Args:
        patches: Gets the patches.
        is_measured: Whether statements are measured; contrib's span contains what is measured.

    Raises:
        RuntimeError: contrib would not end the spans.
    """
    if not _contrib_ends_spans():
        raise RuntimeError("contrib keeps a statement's span elsewhere than in context._otel_span")
    if is_measured:
        patches.replace(EngineTracer, "_before_cur_exec", _without_excluded)
        return
    statements = _Statements()
    patches.replace(EngineTracer, "_before_cur_exec", statements.before)
    for name in _COUNTERS:
        patches.replace(EngineTracer, name, _counted_for_readers)


def _contrib_ends_spans() -> bool:
    """Whether contrib's own listener ends the span that stands in ``context._otel_span``."""
    ends: list[bool] = []
    sample = SimpleNamespace(_otel_span=SimpleNamespace(end=lambda: ends.append(True)))
    contrib._after_cur_exec(None, None, None, None, sample, False)  # type: ignore[no-untyped-call]
    return bool(ends)


@replacement
def _without_excluded(
    original: Original, self: Any, conn: Any, cursor: Any, statement: Any, params: Any, context: Any, many: Any
) -> Any:
    if is_excluded_call(settled_context()):
        return statement, params
    return original(self, conn, cursor, statement, params, context, many)


def _counted_for_readers(patch: Patch) -> Callable[..., None]:
    @functools.wraps(patch.original)
    def count(self: Any, value: int) -> None:
        if _is_read(type(self.connections_usage)):  # type: ignore[arg-type]  # a class is hashable
            patch.original(self, value)

    return count


@functools.lru_cache(maxsize=16)
def _is_read(kind: type) -> bool:
    """Whether a counter of class ``kind`` belongs to a provider, which can only be the application's."""
    return issubclass(kind, UpDownCounter)


class _Statements:
    """Creates the spans of statements; caches what depends on the engine alone."""

    def __init__(self) -> None:
        self._connections: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()

    def before(self, patch: Patch) -> Callable[..., Any]:
        """The replacement of contrib's ``_before_cur_exec``."""

        @functools.wraps(patch.original)
        def before(tracer: Any, conn: Any, cursor: Any, statement: Any, params: Any, context: Any, many: Any) -> Any:
            here = settled_context()
            if is_excluded_call(here):
                return statement, params
            try:
                if (
                    patch.active
                    and not tracer.enable_commenter
                    and tracer._sem_conv_opt_in_mode_db is _StabilityMode.DATABASE
                ):
                    if is_enabled(here):
                        name, attributes = self._describe(tracer, conn, cursor, statement, batch_size(params, many))
                        span = start_fast_span(tracer.tracer, name, SpanKind.CLIENT, attributes, here)
                        context._otel_span = span
                    return statement, params
            except Exception as error:
                caught("starting a statement's span", error)
            return patch.original(tracer, conn, cursor, statement, params, context, many)

        return before

    def _describe(
        self, tracer: Any, conn: Any, cursor: Any, statement: Any, size: int | None
    ) -> tuple[str, dict[str, Any]]:
        """The span's name and attributes.

        https://opentelemetry.io/docs/specs/semconv/database/database-spans/
        """
        database = contrib._get_db_name_from_cursor_or_conn(tracer.vendor, conn, cursor)  # type: ignore[no-untyped-call]
        attributes = dict(self._connection(tracer, conn, cursor))
        operation = statement_operation(statement, size)
        if operation is not None:
            attributes["db.operation.name"] = operation
        if size is not None:
            attributes["db.operation.batch.size"] = size
        name = span_name(tracer.vendor, database, operation)
        if statement:
            attributes["db.query.text"] = statement
        return name, attributes

    def _connection(self, tracer: Any, conn: Any, cursor: Any) -> dict[str, Any]:
        """Contrib's attributes of a connection, cached if they follow from the engine's URL alone."""
        known = self._connections.get(tracer)
        if known is not None:
            return known
        modes = tracer._sem_conv_opt_in_mode_db, tracer._sem_conv_opt_in_mode_http
        attributes: dict[str, Any]
        attributes, has_host = contrib._get_attributes_from_url(conn.engine.url, *modes)  # type: ignore[no-untyped-call]
        if not has_host:
            described = contrib._get_attributes_from_cursor_or_conn
            attributes = described(tracer.vendor, conn, cursor, attributes, *modes)  # type: ignore[no-untyped-call]
        contrib._set_db_system(attributes, tracer.vendor, modes[0])  # type: ignore[attr-defined]
        if has_host or tracer.vendor != _ASKED:
            self._connections[tracer] = attributes
        return attributes
