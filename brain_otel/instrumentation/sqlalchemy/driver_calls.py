"""Observes statements where SQLAlchemy calls the driver, in the place of listeners to its events: the fast path.

A single listener makes SQLAlchemy dispatch eight events of a connection and its statement, which takes longer than to
make the span. So the methods of a dialect that call the driver are replaced, each in the class that defines it. As
soon as anybody else listens to statements, listeners observe all engines, because their order matters.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.instrumentation.sqlalchemy import engine as contrib
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.metrics import NoOpUpDownCounter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import Tracer
from sqlalchemy.engine import Connection, Dialect, Engine

from brain_otel.runtime.guard import caught
from brain_otel.runtime.patch import Patch, Patches, drop_own_frame

_CALLS = {"do_execute": 1, "do_executemany": 1, "do_execute_no_params": 0}
"""Methods of a dialect that call the driver -> the place of the execution context after the statement."""

_EVENTS = ("before_cursor_execute", "after_cursor_execute")
"""Events of an engine whose listeners see its statements."""

_PARAMETERS = frozenset({"_has_events", "_allow_autobegin"})
"""Of a connection. One without its events and without ``BEGIN`` prepares the dialect; contrib does not see it."""


class _SilentTracer(EngineTracer):
    """Contrib's tracer of an engine, which listens to nothing."""

    @classmethod
    def _register_event_listener(cls, *args: Any, **kwargs: Any) -> None:
        pass


class DriverCalls:
    """Observes the statements of all engines.

    Args:
        create_tracer: Creates OpenTelemetry's tracer for the spans of an engine.
        after: A listener to SQLAlchemy's event ``after_cursor_execute``, called before the span ends.
        listen: Called once, with a connection, when listeners have to observe it and all others from then on.
        patches: Gets the patches.
    """

    def __init__(
        self,
        create_tracer: Callable[[], Tracer],
        after: Callable[..., None],
        listen: Callable[[Connection], None],
        patches: Patches,
    ) -> None:
        self._create_tracer, self._after, self._listen = create_tracer, after, listen
        self._patches = patches
        self._prepared: set[type] = set()
        self._replaced: set[tuple[type, str]] = set()
        self._lock = threading.Lock()
        self._tracers: WeakKeyDictionary[Dialect, tuple[Any, _SilentTracer]] = WeakKeyDictionary()

    def start(self) -> bool:
        """Observe the connections that are made from now on; False if SQLAlchemy or contrib is not as expected."""
        return _is_known() and self._patches.replace(Connection, "__init__", self._connecting)

    def stop(self) -> None:
        """Put the methods of SQLAlchemy back."""
        self._patches.undo()

    def _connecting(self, patch: Patch) -> Callable[..., None]:
        original = patch.original

        @functools.wraps(original)
        def connect(connection: Connection, /, *args: Any, **kwargs: Any) -> None:
            try:
                original(connection, *args, **kwargs)
            except BaseException as error:
                drop_own_frame(error)
                raise
            if patch.active:
                self._look_at(connection)

        return connect

    def _look_at(self, connection: Connection) -> None:
        """Leave everything to listeners unless the statements of ``connection`` are observed here."""
        try:
            if self._observes(connection.engine):
                return
        except Exception as error:
            caught("looking at a connection", error)
        self.stop()
        self._listen(connection)

    def _observes(self, engine: Engine) -> bool:
        kind = type(engine.dialect)
        if kind not in self._prepared and not self._prepare(kind):
            return False
        return not ((engine._has_events or engine.dialect._has_events) and _has_listeners(engine))

    def _prepare(self, kind: type) -> bool:
        """Whether the methods of dialects of class ``kind`` are replaced now."""
        with self._lock:
            if isinstance(metrics.get_meter_provider(), MeterProvider):  # contrib listens to count connections
                return False
            owners = {name: next(each for each in kind.__mro__ if name in vars(each)) for name in _CALLS}
            if any(isinstance(vars(owner)[name], (staticmethod, classmethod)) for name, owner in owners.items()):
                return False
            for name, owner in owners.items():
                if (owner, name) not in self._replaced:
                    self._replaced.add((owner, name))
                    self._patches.replace(owner, name, functools.partial(self._calling, name))
            self._prepared.add(kind)
            return True

    def _calling(self, name: str, patch: Patch) -> Callable[..., Any]:
        original, place, many = patch.original, _CALLS[name], name == "do_executemany"

        @functools.wraps(original)
        def call(dialect: Dialect, cursor: Any, statement: Any, *args: Any, **kwargs: Any) -> Any:
            context = args[place] if len(args) > place else kwargs.get("context")
            parameters = (args[0] if args else kwargs.get("parameters")) if many else None
            if not patch.active or not self._begin(context, cursor, statement, parameters, many):
                return original(dialect, cursor, statement, *args, **kwargs)
            try:
                result = original(dialect, cursor, statement, *args, **kwargs)
            except BaseException as error:
                self._end(context, cursor, error)
                drop_own_frame(error)
                raise
            self._end(context, cursor, None)
            return result

        return call

    def _begin(self, context: Any, cursor: Any, statement: Any, parameters: Any, many: bool) -> bool:
        """Start the span of a statement in ``context``, where contrib keeps it; False if there is none to start."""
        try:
            if context is None or getattr(context, "_otel_span", None) is not None:  # a tracer has listened
                return False
            connection = context.root_connection
            if not connection._allow_autobegin:
                return False
            self._tracer_of(connection)._before_cur_exec(connection, cursor, statement, parameters, context, many)
            return getattr(context, "_otel_span", None) is not None
        except Exception as error:
            caught("starting a statement's span", error)
            return False

    def _end(self, context: Any, cursor: Any, error: BaseException | None) -> None:
        """End the span as contrib's listeners do."""
        try:
            if error is None:
                self._after(None, cursor, None, None, context, False)
                contrib._after_cur_exec(None, cursor, None, None, context, False)  # type: ignore[no-untyped-call]
            else:
                failure = SimpleNamespace(execution_context=context, original_exception=error)
                contrib._handle_error(failure)  # type: ignore[no-untyped-call]
        except Exception as failure:
            caught("ending a statement's span", failure)
        finally:
            context._otel_span = None  # a context may execute several statements

    def _tracer_of(self, connection: Connection) -> Any:
        known, url = self._tracers.get(connection.dialect), connection.engine.url
        if known is None or known[0] is not url:
            tracer = _SilentTracer(self._create_tracer(), connection.engine, NoOpUpDownCounter(""))  # type: ignore[no-untyped-call]
            known = self._tracers[connection.dialect] = (url, tracer)
        return known[1]


def _is_known() -> bool:
    """Whether contrib and SQLAlchemy have the names that this module uses."""
    ends = (hasattr(contrib, name) for name in ("_after_cur_exec", "_handle_error"))
    methods = (hasattr(EngineTracer, name) for name in ("_before_cur_exec", "_register_event_listener"))
    marks = (hasattr(Engine, "_has_events"), hasattr(Dialect, "_has_events"))
    return all((*ends, *methods, *marks)) and _PARAMETERS.issubset(inspect.signature(Connection).parameters)


def _has_listeners(engine: Engine) -> bool:
    """Whether anybody listens to the statements of ``engine``, or replaces its driver's calls."""
    return any(getattr(engine.dispatch, name) for name in _EVENTS) or any(
        getattr(engine.dialect.dispatch, name) for name in _CALLS
    )
