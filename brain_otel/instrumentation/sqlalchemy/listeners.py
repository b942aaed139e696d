"""Listeners on the class ``Engine``, and the durations of statements that some of them measure."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.semconv.attributes import db_attributes, server_attributes
from sqlalchemy import event
from sqlalchemy.engine import Engine, ExceptionContext

from brain_otel.instrumentation.database import batch_size, statement_operation
from brain_otel.instrumentation.metrics import Durations
from brain_otel.instrumentation.sqlalchemy.corrections import SYSTEMS
from brain_otel.runtime.guard import guarded

_STARTED = "_brain_otel_started"
"""Attribute of an execution context: when its statement started, and the size of its batch."""


class Listeners:
    """Listeners on the class ``Engine``, which every engine inherits."""

    def __init__(self, listeners: dict[str, Callable[..., Any]]) -> None:
        self._listeners = listeners
        self._added = False

    def add(self) -> None:
        """Start listening."""
        for name, listener in self._listeners.items():
            event.listen(Engine, name, listener)
        self._added = True

    def remove(self) -> bool:
        """Stop listening; whether anything listened."""
        added, self._added = self._added, False
        if added:
            for name, listener in self._listeners.items():
                if event.contains(Engine, name, listener):  # the application may have removed it
                    event.remove(Engine, name, listener)
        return added


class StatementDurations:
    """Measures every statement; an ``executemany`` counts as one."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._known: WeakKeyDictionary[Engine, dict[str, Any]] = WeakKeyDictionary()
        self.listeners = Listeners(
            {"before_cursor_execute": self._before, "after_cursor_execute": self._after, "handle_error": self._failed}
        )

    def _before(self, connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: Any) -> None:  # noqa: ARG002
        with guarded("starting to measure a statement"):
            context.__dict__[_STARTED] = self._durations.start(), batch_size(parameters, many)

    def _after(self, connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: Any) -> None:  # noqa: ARG002
        self._record(connection.engine, statement, context, None)

    def _failed(self, failure: ExceptionContext) -> None:
        if failure.execution_context is not None and failure.engine is not None:
            self._record(failure.engine, failure.statement, failure.execution_context, failure.original_exception)

    def _record(self, engine: Engine, statement: Any, context: Any, error: BaseException | None) -> None:
        with guarded("measuring a statement"):
            started, size = context.__dict__.pop(_STARTED, (None, None))
            if started is not None:
                attributes = dict(self._attributes(engine))
                operation = statement_operation(statement, size)
                if operation is not None:
                    attributes[db_attributes.DB_OPERATION_NAME] = operation
                self._durations.record(started, attributes, error)

    def _attributes(self, engine: Engine) -> dict[str, Any]:
        known = self._known.get(engine)
        if known is None:
            url = engine.url
            found = {
                db_attributes.DB_SYSTEM_NAME: SYSTEMS.get(engine.dialect.name, engine.dialect.name),
                db_attributes.DB_NAMESPACE: url.database,
                server_attributes.SERVER_ADDRESS: url.host,
                server_attributes.SERVER_PORT: url.port,
            }
            known = self._known[engine] = {name: value for name, value in found.items() if value is not None}
        return known
