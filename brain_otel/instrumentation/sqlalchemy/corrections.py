"""Corrects what contrib makes of a statement and of an engine's pool, where the semantic conventions want otherwise.

Both the spans of contrib and those of the fast path are made of the functions that are replaced here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.instrumentation.sqlalchemy import engine as contrib
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.metrics import NoOpUpDownCounter
from opentelemetry.semconv.attributes import db_attributes, network_attributes
from sqlalchemy.engine import Engine

from brain_otel.instrumentation.database import batch_size, statement_operation
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patch, Patches, replacement
from brain_otel.traces.conventions import raw_attributes, statement
from brain_otel.traces.scope import create_meter

SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""SQLAlchemy's name of a database -> the semantic conventions' name, where they differ."""

_COUNTED = frozenset({"connect", "close", "checkin", "checkout"})
"""Events of a pool; contrib's tracer listens to them to count connections alone."""

_SIZE = "db.operation.batch.size"

_TRANSPORT = "net.transport"
"""Of the old conventions; contrib sets it in the stable ones too."""


def patch_names(patches: Patches) -> None:
    """Replace the functions of contrib that name operations, systems and transports."""
    patches.replace(EngineTracer, "_operation_name", _span_name)
    patches.replace(contrib, "_set_db_operation", _operation)
    patches.replace(contrib, "_set_db_system", _system)
    patches.replace(contrib, "_get_attributes_from_cursor_or_conn", _transport)
    patches.replace(EngineTracer, "_before_cur_exec", _batch)


@replacement
def _span_name(_original: Original, tracer: Any, database: Any, text: Any) -> str:
    """Contrib takes the first word as it is, be it a part of a comment or a literal."""
    return span_name(tracer.vendor, database, statement_operation(text))


def span_name(system: str, database: str | None, operation: str | None) -> str:
    """The name of a statement's span: https://opentelemetry.io/docs/specs/semconv/database/database-spans/#name."""
    return f"{operation or ''} {database or ''}".strip() or system


@replacement
def _operation(original: Original, result: Any, operation: Any, mode: Any) -> None:  # noqa: ARG001 - contrib's parameter
    """Contrib takes the span's name, which has the database in it."""
    name = statement_operation(statement(result))
    if name is not None:
        original(result, name, mode)


def _system(patch: Patch) -> Callable[..., None]:
    @functools.wraps(patch.original)
    def set_db_system(result: Any, system: Any, mode: Any) -> None:
        patch.original(result, system, mode)
        if system in SYSTEMS and db_attributes.DB_SYSTEM_NAME in result:
            result[db_attributes.DB_SYSTEM_NAME] = SYSTEMS[system]

    return set_db_system


def _transport(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def get_attributes(
        vendor: Any, conn: Any, cursor: Any, attributes: Any, database_mode: Any, http_mode: Any
    ) -> Any:
        found = patch.original(vendor, conn, cursor, attributes, database_mode, http_mode)
        if _TRANSPORT in found and database_mode.value != "default":
            is_tcp = found[_TRANSPORT] == "ip_tcp"
            found[network_attributes.NETWORK_TRANSPORT] = "tcp" if is_tcp else "unix"
            if database_mode.value == "database":
                del found[_TRANSPORT]
        return found

    return get_attributes


@replacement
def _batch(
    original: Original, tracer: Any, conn: Any, cursor: Any, text: Any, parameters: Any, context: Any, many: Any
) -> Any:
    """Contrib does not tell an ``executemany`` from a single statement."""
    result = original(tracer, conn, cursor, text, parameters, context, many)
    if many:
        with guarded("describing a batch of statements"):
            span, size = getattr(context, "_otel_span", None), batch_size(parameters, many)
            if size is not None and span is not None and span.is_recording():
                _describe_batch(span, text, size)
    return result


def _describe_batch(span: Any, text: Any, size: int) -> None:
    operation = statement_operation(text, size)
    span.set_attribute(_SIZE, size)
    for name in (db_attributes.DB_OPERATION_NAME, "db.operation"):
        if name in raw_attributes(span):
            span.set_attribute(name, operation)
    span.update_name(f"BATCH {span.name}")


def counts_for_nobody(event: str, listener: Any) -> bool:
    """Whether ``listener`` of contrib's tracer counts connections with a counter that keeps nothing."""
    tracer = getattr(listener, "__self__", None)
    return event in _COUNTED and type(getattr(tracer, "connections_usage", None)) is NoOpUpDownCounter


class ConnectionCounter:
    """Counts the connections of one engine by the stable names; contrib gets it in the place of its counter."""

    def __init__(self, engine: Engine) -> None:
        url = engine.url
        name = f"{url.drivername}://{url.host or ''}:{url.port or ''}/{url.database or ''}"
        self._pool = {"db.client.connection.pool.name": engine.pool.logging_name or name}
        self._counter = create_meter(__name__).create_up_down_counter(
            "db.client.connection.count",
            unit="{connection}",
            description="The number of connections that are currently in state described by the `state` attribute.",
        )
        # Contrib counts changes, so it misses what the pool holds already, among them the connection in use now.
        self.add(getattr(engine.pool, "checkedout", lambda: 1)(), {"state": "used"})
        self.add(getattr(engine.pool, "checkedin", lambda: 0)(), {"state": "idle"})

    def add(self, amount: int, attributes: Mapping[str, Any]) -> None:
        """Count ``amount`` connections; contrib calls this with the old names of the attributes."""
        if amount:
            self._counter.add(amount, {**self._pool, "db.client.connection.state": attributes["state"]})
