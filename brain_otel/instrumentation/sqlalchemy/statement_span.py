"""The span of a statement: contrib's listener, less what nobody asks for.

Contrib's looks at the engine's URL, splits the statement twice and makes the span current and not current again for
each statement, recorded or not; and it counts the connections in use for metrics that nobody may read.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opentelemetry import context as otel_context
from opentelemetry import metrics
from opentelemetry.instrumentation._semconv import _set_db_system, _StabilityMode
from opentelemetry.instrumentation.sqlalchemy import engine as contrib
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.sdk.metrics import MeterProvider, UpDownCounter
from opentelemetry.trace import SpanKind

from brain_otel.instrumentation.fast_span import start_plain_span
from brain_otel.instrumentation.span_scope import is_enabled, is_excluded_call
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.runtime.patch import Patch

_MAX_KEPT = 4_096
"""Characters of a statement that is kept along with its name; one with values in it may be of megabytes."""

_COUNTERS = ("_add_idle_to_connection_usage", "_add_used_to_connection_usage")


def shorten() -> list[Patch]:
    """Replace contrib's methods for engines that are traced from now on; a test tells when they change."""
    if isinstance(metrics.get_meter_provider(), MeterProvider):  # what is measured is to lie within the span
        return [replace(EngineTracer, "_before_cur_exec", _excluded)]
    patches = [replace(EngineTracer, name, _uncounted) for name in _COUNTERS]
    return [replace(EngineTracer, "_before_cur_exec", _before), *patches]


def _excluded(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def before(self: Any, conn: Any, cursor: Any, statement: Any, params: Any, context: Any, many: Any) -> Any:
        if is_excluded_call(otel_context.get_current()):
            return statement, params
        return patch.original(self, conn, cursor, statement, params, context, many)

    return before


def _uncounted(patch: Patch) -> Callable[..., None]:
    @functools.wraps(patch.original)
    def count(self: Any, value: int) -> None:
        usage = self.connections_usage
        if _counts(type(usage)):  # type: ignore[arg-type]  # a class is hashable
            patch.original(self, value)

    return count


def _before(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def before(self: Any, conn: Any, cursor: Any, statement: Any, params: Any, context: Any, many: Any) -> Any:
        here = otel_context.get_current()
        if is_excluded_call(here):
            return statement, params
        if not patch.active or self.enable_commenter or self._sem_conv_opt_in_mode_db is not _StabilityMode.DATABASE:
            return patch.original(self, conn, cursor, statement, params, context, many)
        with guarded("starting a statement's span"):
            if is_enabled(here):
                name, attributes = _described(self, conn, cursor, statement)
                context._otel_span = start_plain_span(self.tracer, name, SpanKind.CLIENT, attributes, here)
        return statement, params

    return before


@functools.lru_cache(maxsize=16)
def _counts(kind: type) -> bool:
    """Whether it is the counter of a provider of the application's own."""
    return issubclass(kind, UpDownCounter)


def _described(tracer: Any, conn: Any, cursor: Any, statement: Any) -> tuple[str, dict[str, Any]]:
    """The span's name and attributes.

    https://opentelemetry.io/docs/specs/semconv/database/database-spans/
    """
    database = contrib._get_db_name_from_cursor_or_conn(tracer.vendor, conn, cursor)  # type: ignore[no-untyped-call]
    name = _name(tracer, database, statement) if isinstance(statement, str) else str(tracer.vendor)
    attributes = {**_connection(tracer, conn, cursor), "db.operation.name": name}
    if statement:
        attributes["db.query.text"] = statement
    return name, attributes


def _name(tracer: Any, database: str | None, statement: str) -> str:
    return (_known_name if len(statement) <= _MAX_KEPT else _new_name)(tracer, database, statement)


def _new_name(tracer: Any, database: str | None, statement: str) -> str:
    return str(tracer._operation_name(database, statement))


_known_name = functools.lru_cache(maxsize=1_024)(_new_name)


_by_address: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""What is known of an engine's connections by its URL alone, by its tracer."""


def _connection(tracer: Any, conn: Any, cursor: Any) -> dict[str, Any]:
    known = _by_address.get(tracer)
    if known is not None:
        return known
    modes = tracer._sem_conv_opt_in_mode_db, tracer._sem_conv_opt_in_mode_http
    found, has_host = contrib._get_attributes_from_url(conn.engine.url, *modes)  # type: ignore[no-untyped-call]
    if not has_host:
        found = contrib._get_attributes_from_cursor_or_conn(tracer.vendor, conn, cursor, found, *modes)  # type: ignore[no-untyped-call]
    _set_db_system(found, tracer.vendor, modes[0])
    if has_host:
        _by_address[tracer] = found
    attributes: dict[str, Any] = found
    return attributes
