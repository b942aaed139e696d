"""What the fast path of SQLAlchemy caches, and what it leaves out."""

from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from sqlalchemy import create_engine, text

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.database import _cached_operation
from brain_otel.instrumentation.sqlalchemy.instrumentor import SQLAlchemyInstrumentation
from brain_otel.instrumentation.sqlalchemy.statement_span import _Statements
from brain_otel.runtime.fast_paths import configure_fast_paths


@pytest.mark.parametrize(("length", "cached"), [(100, 1), (1_000_000, 0)])
def test_the_name_of_a_long_statement_is_not_cached(length: int, cached: int) -> None:
    """A thousand of them, each with its values, would stay in memory."""
    engine = create_engine("sqlite://")
    usage = metrics.get_meter("test").create_up_down_counter("usage")
    tracer = EngineTracer(trace.get_tracer("test"), engine, usage)  # type: ignore[no-untyped-call]
    statements = _Statements()
    before = _cached_operation.cache_info().currsize
    statement = "INSERT INTO things VALUES " + "(1)," * (length // 4)
    try:
        with engine.connect() as connection:
            name, attributes = statements._describe(tracer, connection, None, statement, None)
        assert name == attributes["db.operation.name"] == "INSERT"
        assert _cached_operation.cache_info().currsize == before + cached
    finally:
        EngineTracer.remove_all_event_listeners()  # type: ignore[no-untyped-call]
        engine.dispose()


def test_an_engine_without_a_host_is_described_once() -> None:
    """Contrib takes a file's name from the URL; it asks the connection of a PostgreSQL without a host."""
    described: list[str] = []

    class Noting(_Statements):
        def _connection(self, tracer: Any, conn: Any, cursor: Any) -> dict[str, Any]:
            described.append("cached" if tracer in self._connections else tracer.vendor)
            return super()._connection(tracer, conn, cursor)

    engine, statements = create_engine("sqlite:///:memory:"), Noting()
    tracer = EngineTracer(trace.get_tracer("test"), engine, metrics.NoOpUpDownCounter(""))  # type: ignore[no-untyped-call]
    try:
        with engine.connect() as connection:
            first, second = (statements._describe(tracer, connection, None, "SELECT 1", None) for _ in range(2))
            tracer.vendor = "postgresql"
            statements._connections.clear()
            for _ in range(2):
                statements._describe(tracer, connection, None, "SELECT 1", None)
        assert first == second
        assert "sqlite" in first[1].values()  # by the old or the stable name
        assert described == ["sqlite", "cached", "postgresql", "postgresql"]
    finally:
        EngineTracer.remove_all_event_listeners()  # type: ignore[no-untyped-call]
        engine.dispose()


@pytest.mark.parametrize(("enabled", "listening"), [(True, False), (False, True)])
def test_a_pool_is_watched_only_for_a_counter_that_keeps_its_numbers(enabled: bool, listening: bool) -> None:
    """Nobody reads the number of connections without a meter provider; contrib listens at each checkout."""
    instrumentation, engine = SQLAlchemyInstrumentation(), create_engine("sqlite://")
    configure_fast_paths(enabled)
    try:
        instrumentation.instrument(InstrumentationSettings())
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        assert bool(engine.pool.dispatch.checkout) is bool(engine.pool.dispatch.checkin) is listening
        assert bool(engine.dispatch.before_cursor_execute) is listening
    finally:
        configure_fast_paths(True)
        instrumentation.uninstrument()
        engine.dispose()
