"""The cache of statements' names."""

import pytest
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from sqlalchemy import create_engine

from brain_otel.instrumentation.database import _cached_operation
from brain_otel.instrumentation.sqlalchemy.statement_span import _Statements


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
