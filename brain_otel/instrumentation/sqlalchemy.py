"""SQLAlchemy 2.0 and 2.1: contrib's tracing of an engine, attached to every engine, whenever it was made.

Contrib wraps ``create_engine`` and so misses engines made before, and those from a ``create_engine`` that was
imported by name before; it also refuses SQLAlchemy 2.1 by a version bound, though it works there. An event on
the ``Engine`` *class* reaches all of them, sync and async: at an engine's first connection contrib's
``EngineTracer`` is attached to it. Its ``connect`` spans, one per checkout, come only where asked for.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import wrapt
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer, _wrap_connect
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.semconv.metrics import MetricInstruments
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.base import OptionEngine

from brain_otel.guard import guarded

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from brain_otel.settings import InstrumentationSettings

logger = logging.getLogger(__name__)

_SCOPE = "opentelemetry.instrumentation.sqlalchemy"

_traced: WeakSet[Engine] = WeakSet()


def instrument(settings: InstrumentationSettings) -> None:
    """Trace every statement of every engine."""
    if SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
        logger.warning(
            "SQLAlchemy is instrumented already; remove SQLAlchemyInstrumentor().instrument() to let brain_otel do it"
        )
        return
    event.listen(Engine, "engine_connect", _attach)
    event.listen(Engine, "after_cursor_execute", _note_rows)
    if settings.sqlalchemy_connect_spans:
        # Contrib's own wrapper; its public entry point would wrap create_engine too and trace statements twice.
        wrapper = _wrap_connect(trace.get_tracer(_SCOPE))  # type: ignore[no-untyped-call]  # contrib has no types
        wrapt.wrap_function_wrapper(Engine, "connect", wrapper)


def uninstrument() -> None:
    """Trace statements no more."""
    if not event.contains(Engine, "engine_connect", _attach):
        return
    event.remove(Engine, "engine_connect", _attach)
    event.remove(Engine, "after_cursor_execute", _note_rows)
    EngineTracer.remove_all_event_listeners()  # type: ignore[no-untyped-call]
    unwrap(Engine, "connect")
    _traced.clear()


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
            span.set_attribute("db.response.returned_rows" if rows else "db.response.affected_rows", count)
