"""SQLAlchemy 2.0 and 2.1: contrib's tracing of an engine, attached to every engine, whenever it was made.

Contrib wraps ``create_engine`` and so misses engines made before, and those from a ``create_engine`` that was
imported by name before; it also refuses SQLAlchemy 2.1 by a version bound, though it works there. An event on
the ``Engine`` *class* reaches all of them, sync and async: at an engine's first connection contrib's
``EngineTracer`` is attached to it. Its ``connect`` spans, one per checkout, come only where asked for.

Statements are measured by events on the class as well, where the file has a ``meter_provider``.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import wrapt
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.sqlalchemy import engine as contrib
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer, _wrap_connect
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.semconv.attributes import db_attributes, server_attributes
from opentelemetry.semconv.metrics import MetricInstruments
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.base import OptionEngine

from brain_otel.instrumentation.exception_recording import status_of
from brain_otel.instrumentation.fast_span import set_new_attribute
from brain_otel.instrumentation.metrics import Durations, create_durations, operation_name
from brain_otel.instrumentation.sqlalchemy.statement_span import shorten
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patch, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection, ExceptionContext

    from brain_otel.configuration.settings import InstrumentationSettings

logger = logging.getLogger(__name__)

_SCOPE = "opentelemetry.instrumentation.sqlalchemy"

_MEASURED_SCOPE = "brain_otel.instrumentation.sqlalchemy.instrumentor"

_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""The conventions' names of databases that SQLAlchemy calls otherwise."""

_STARTED = "_brain_otel_started"
"""Where an execution context keeps the moment at which its statement began."""

_traced: WeakSet[Engine] = WeakSet()

_measuring: list[_Statements] = []

_patches: list[Patch] = []


def instrument(settings: InstrumentationSettings) -> None:
    """Trace and measure every statement of every engine."""
    durations = create_durations(_MEASURED_SCOPE)
    if durations is not None:
        _measuring.append(_Statements(durations))
        _measuring[-1].listen()
    if SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
        logger.warning(
            "SQLAlchemy is instrumented already; remove SQLAlchemyInstrumentor().instrument() to let brain_otel do it"
        )
        return
    _patches.append(replace(contrib, "_handle_error", _handle_error))
    _patches.extend(shorten())
    event.listen(Engine, "engine_connect", _attach)
    event.listen(Engine, "after_cursor_execute", _note_rows)
    if settings.sqlalchemy_connect_spans:
        # Contrib's own wrapper; its public entry point would wrap create_engine too and trace statements twice.
        wrapper = _wrap_connect(trace.get_tracer(_SCOPE))  # type: ignore[no-untyped-call]  # contrib has no types
        wrapt.wrap_function_wrapper(Engine, "connect", wrapper)


def uninstrument() -> None:
    """Trace and measure statements no more."""
    while _measuring:
        _measuring.pop().remove()
    if not event.contains(Engine, "engine_connect", _attach):
        return
    event.remove(Engine, "engine_connect", _attach)
    event.remove(Engine, "after_cursor_execute", _note_rows)
    EngineTracer.remove_all_event_listeners()  # type: ignore[no-untyped-call]
    while _patches:
        _patches.pop().undo()
    unwrap(Engine, "connect")
    _traced.clear()


def _handle_error(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def handle_error(context: ExceptionContext) -> None:
        """Contrib's listener, which writes the application's exception out, and fails where that does."""
        try:
            patch.original(context)
        except Exception:
            with guarded("recording an exception on a statement's span"):
                span = getattr(context.execution_context, "_otel_span", None)
                if span is not None:
                    span.set_status(status_of(context.original_exception))
                    span.end()

    return handle_error


class _Statements:
    """Measures every statement, many of one ``executemany`` as one."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._known: WeakKeyDictionary[Engine, dict[str, Any]] = WeakKeyDictionary()
        self._listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "handle_error": self._failed,
        }

    def listen(self) -> None:
        """Begin."""
        for name, listener in self._listeners.items():
            event.listen(Engine, name, listener)

    def remove(self) -> None:
        """End."""
        for name, listener in self._listeners.items():
            event.remove(Engine, name, listener)

    def _before(self, connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: Any) -> None:  # noqa: ARG002
        with guarded("starting to measure a statement"):
            context.__dict__[_STARTED] = self._durations.start()

    def _after(self, connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: Any) -> None:  # noqa: ARG002
        self._record(connection.engine, statement, context, None)

    def _failed(self, failure: ExceptionContext) -> None:
        if failure.execution_context is not None and failure.engine is not None:
            self._record(failure.engine, failure.statement, failure.execution_context, failure.original_exception)

    def _record(self, engine: Engine, statement: Any, context: Any, error: BaseException | None) -> None:
        with guarded("measuring a statement"):
            started = context.__dict__.pop(_STARTED, None)
            if started is not None:
                attributes = dict(self._attributes(engine))
                operation = operation_name(statement)
                if operation is not None:
                    attributes[db_attributes.DB_OPERATION_NAME] = operation
                self._durations.record(started, attributes, error)

    def _attributes(self, engine: Engine) -> dict[str, Any]:
        known = self._known.get(engine)
        if known is None:
            url = engine.url
            found = {
                db_attributes.DB_SYSTEM_NAME: _SYSTEMS.get(engine.dialect.name, engine.dialect.name),
                db_attributes.DB_NAMESPACE: url.database,
                server_attributes.SERVER_ADDRESS: url.host,
                server_attributes.SERVER_PORT: url.port,
            }
            known = self._known[engine] = {name: value for name, value in found.items() if value is not None}
        return known


def _attach(connection: Connection) -> None:
    with guarded("attaching to an engine"):
        engine = connection.engine
        while isinstance(engine, OptionEngine):  # execution_options() of an engine hears its events as well
            engine = engine._proxied
        if engine in _traced:
            return
        _traced.add(engine)
        usage = metrics.get_meter(_SCOPE).create_up_down_counter(
            name=MetricInstruments.DB_CLIENT_CONNECTIONS_USAGE,
            unit="connections",
            description="The number of connections that are currently in state described by the state attribute.",
        )
        EngineTracer(trace.get_tracer(_SCOPE), engine, usage)  # type: ignore[no-untyped-call]


def _note_rows(
    connection: Connection,  # noqa: ARG001
    cursor: Any,
    statement: str,  # noqa: ARG001
    parameters: Any,  # noqa: ARG001
    context: Any,
    executemany: bool,  # noqa: ARG001
) -> None:
    """Note the row count, where the driver knows it, on the span that contrib keeps on ``context``.

    ``_otel_span`` is contrib's own name; a test tells when it changes. Listeners of the class run before those
    of the engine, so the span has not ended yet.
    """
    with guarded("noting a row count"):
        span = getattr(context, "_otel_span", None)
        if span is None or not span.is_recording():
            return
        count = getattr(cursor, "rowcount", -1)
        if isinstance(count, int) and count >= 0:
            rows = getattr(cursor, "description", None) is not None
            set_new_attribute(span, "db.response.returned_rows" if rows else "db.response.affected_rows", count)
