"""SQLAlchemy 2.0 and 2.1: contrib's tracing, attached to every engine, no matter when it was created.

Contrib wraps ``create_engine``, so it misses engines created before and engines from a ``create_engine`` that was
imported by name before. It also rejects SQLAlchemy 2.1 by a version bound, although it works there. So statements of
all engines, sync and async, are observed where SQLAlchemy calls the driver (``driver_calls``). Otherwise an event
listener on the ``Engine`` *class* attaches contrib's ``EngineTracer`` at an engine's first connection: without fast
paths, with a ``meter_provider``, whose durations listeners on the class measure, and beside listeners of others.

A ``connect`` span for each checkout is off by default.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

import wrapt
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.sqlalchemy import engine as contrib
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.instrumentation.sqlalchemy.version import __version__
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.metrics import NoOpUpDownCounter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import Tracer
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, ExceptionContext
from sqlalchemy.engine.base import OptionEngine

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.events.report import status_of
from brain_otel.instrumentation.conflicts import warn_once
from brain_otel.instrumentation.database import record_failure
from brain_otel.instrumentation.fast_span import set_new_attribute
from brain_otel.instrumentation.first_use import EntryPoints
from brain_otel.instrumentation.metrics import create_durations
from brain_otel.instrumentation.sqlalchemy.corrections import (
    ConnectionCounter,
    counts_for_nobody,
    patch_names,
)
from brain_otel.instrumentation.sqlalchemy.listeners import Listeners, StatementDurations
from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.patch import Original, Patch, Patches, replacement
from brain_otel.runtime.shield import shielded
from brain_otel.traces.scope import SCHEMA_URL

if TYPE_CHECKING:
    from brain_otel.instrumentation.sqlalchemy.driver_calls import DriverCalls

_SCOPE = "opentelemetry.instrumentation.sqlalchemy"

_MEASURED_SCOPE = "brain_otel.instrumentation.sqlalchemy.instrumentor"

_INSTRUMENTOR = "SQLAlchemyInstrumentor"

AFFECTED_ROWS = "brain_otel.db.affected_rows"
"""The registry has no name for the number of rows that a statement has changed."""


class _Tracer(EngineTracer):
    """Contrib's tracer with listeners of our own, which the application's ``uninstrument()`` does not remove."""

    _remove_event_listener_params: ClassVar[list[Any]] = []  # type: ignore[misc]  # contrib has no types


class SQLAlchemyInstrumentation:
    """Traces and measures every statement of every engine.

    Args:
        entry_points: Gets the patch of a connection's constructor; with it, nothing is measured.
    """

    def __init__(self, entry_points: EntryPoints | None = None) -> None:
        self._is_measured = entry_points is None
        self._entry_points = entry_points or Patches()
        self._patches = Patches()
        self._listeners = Listeners({"engine_connect": self._attach, "after_cursor_execute": self._count_rows})
        self._measured: StatementDurations | None = None
        self._calls: DriverCalls | None = None
        self._traced: WeakSet[Engine] = WeakSet()
        self._has_connect_spans = False

    def instrument(self, settings: InstrumentationSettings) -> None:
        """Begin; leave the spans of an engine to the application if it has instrumented the engine."""
        durations = create_durations(_MEASURED_SCOPE) if self._is_measured else None
        if durations is not None:
            self._measured = StatementDurations(durations)
            self._measured.listeners.add()
        if SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
            warn_once("SQLAlchemy", _INSTRUMENTOR)
        self._patches.replace(contrib, "_handle_error", _handle_error)
        patch_names(self._patches)
        self._patches.replace(EngineTracer, "_register_event_listener", _register_guarded)
        with guarded("loading the fast path of SQLAlchemy"):
            if fast_paths_enabled():
                from brain_otel.instrumentation.sqlalchemy.statement_span import patch_tracer

                patch_tracer(self._patches, is_measured=durations is not None)
                if durations is None:
                    self._observe_driver_calls()
        self._returned_rows = settings.sqlalchemy_returned_rows
        if self._calls is None:
            self._listeners.add()
        if settings.sqlalchemy_connect_spans and not SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
            self._trace_connects()

    def uninstrument(self) -> None:
        """Leave every engine as it was found."""
        if self._measured is not None:
            self._measured.listeners.remove()
            self._measured = None
        if self._calls is not None:
            self._calls.stop()
            self._calls = None
        if self._listeners.remove():
            with guarded("removing contrib's listeners"):
                _forget_removed_listeners()
            _Tracer.remove_all_event_listeners()  # type: ignore[no-untyped-call]  # contrib has no types
            self._traced.clear()
        self._patches.undo()
        if self._has_connect_spans:
            unwrap(Engine, "connect")
            self._has_connect_spans = False

    def _observe_driver_calls(self) -> None:
        from brain_otel.instrumentation.sqlalchemy.driver_calls import DriverCalls

        calls = DriverCalls(_create_tracer, self._count_rows, self._listen, self._entry_points)
        self._calls = calls if calls.start() else None

    def _listen(self, connection: Connection) -> None:
        """Use listeners from now on, in the place of the driver's calls."""
        with guarded("listening to SQLAlchemy"):
            self._listeners.add()
            self._attach(connection)

    def _trace_connects(self) -> None:
        with guarded("tracing connections"):
            # Contrib's public entry point would wrap create_engine too and trace statements twice.
            from opentelemetry.instrumentation.sqlalchemy.engine import _wrap_connect

            wrapper = _wrap_connect(_create_tracer())  # type: ignore[no-untyped-call]  # contrib has no types
            wrapt.wrap_function_wrapper(Engine, "connect", shielded("tracing a connection", wrapper))
            self._has_connect_spans = True

    def _count_rows(self, _conn: Any, cursor: Any, _text: Any, _params: Any, context: Any, _many: Any) -> None:
        """Set the row count on the span that contrib keeps in ``context``, if the driver knows it.

        Listeners on the class run before listeners on the engine, so the span has not ended yet.
        """
        try:
            span = getattr(context, "_otel_span", None)
            if span is None or not span.is_recording():
                return
            has_rows = getattr(cursor, "description", None) is not None
            count = getattr(cursor, "rowcount", -1) if self._returned_rows or not has_rows else -1
            if isinstance(count, int) and count >= 0:
                set_new_attribute(span, "db.response.returned_rows" if has_rows else AFFECTED_ROWS, count)
        except Exception as error:
            caught("setting a row count", error)

    def _attach(self, connection: Connection) -> None:
        try:
            engine = _base_engine(connection.engine)
            if engine in self._traced:
                return
            self._traced.add(engine)
            counter = ConnectionCounter(engine) if isinstance(metrics.get_meter_provider(), MeterProvider) else None
            _Tracer(_create_tracer(), engine, counter or NoOpUpDownCounter(""))  # type: ignore[no-untyped-call]  # contrib has no types
        except Exception as error:
            caught("attaching to an engine", error)


def _create_tracer() -> Tracer:
    return trace.get_tracer(_SCOPE, __version__, schema_url=SCHEMA_URL)


def _forget_removed_listeners() -> None:
    """Contrib removes its listeners, and raises at the first one that somebody else has removed."""
    listeners = _Tracer._remove_event_listener_params
    listeners[:] = [
        each for each in listeners if (engine := each[0]()) is not None and event.contains(engine, *each[1:])
    ]


def _base_engine(engine: Engine) -> Engine:
    """The engine from which ``execution_options()`` created ``engine``; its listeners see the events of both."""
    while isinstance(engine, OptionEngine):
        engine = next(each for each in vars(engine).values() if isinstance(each, Engine))
    return engine


def _register_guarded(patch: Patch) -> Any:
    """SQLAlchemy raises what a listener raises, so a statement would fail if contrib's does.

    An engine that the application has instrumented may have two tracers. One of them makes the span: if it can, the
    application's, which may have options.
    """

    def register(cls: Any, target: Any, identifier: str, function: Callable[..., Any], /, **kwargs: Any) -> None:
        if cls is _Tracer and fast_paths_enabled() and counts_for_nobody(identifier, function):
            return
        if cls is not _Tracer:
            warn_once("SQLAlchemy", _INSTRUMENTOR)
            kwargs["insert"] = True

        @functools.wraps(function)
        def listener(*given: Any) -> Any:
            try:
                return given[2:4] if _is_done_by_another(identifier, given) else function(*given)
            except Exception as error:
                caught(f"observing a statement ({identifier})", error)
                return given[2:4]  # the statement and its parameters, for the one listener that may change them

        patch.original.__func__(cls, target, identifier, listener, **kwargs)  # type: ignore[attr-defined]

    return classmethod(register)


def _is_done_by_another(identifier: str, given: tuple[Any, ...]) -> bool:
    """Whether another tracer has begun the statement's span, or has ended it."""
    if identifier not in ("before_cursor_execute", "after_cursor_execute", "handle_error"):
        return False
    context = given[0].execution_context if identifier == "handle_error" else given[4]
    span = getattr(context, "_otel_span", None)
    return span is not None and span.is_recording() == (identifier == "before_cursor_execute")


@replacement
def _handle_error(original: Original, context: ExceptionContext) -> None:
    """Contrib's listener sets neither class nor code, and calls ``str()`` on the exception, which may raise."""
    span = getattr(context.execution_context, "_otel_span", None)
    if span is not None:
        record_failure(span, context.original_exception)
    try:
        original(context)
    except Exception:
        with guarded("recording an exception on a statement's span"):
            if span is not None:
                span.set_status(status_of(context.original_exception))
                span.end()
