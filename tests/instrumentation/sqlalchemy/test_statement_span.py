"""What is kept of statements."""

import pytest
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from sqlalchemy import create_engine

from brain_otel.instrumentation.sqlalchemy.statement_span import _known_name, _name


@pytest.mark.parametrize(("length", "kept"), [(100, 1), (1_000_000, 0)])
def test_a_long_statement_is_named_and_not_kept(length: int, kept: int) -> None:
    """A thousand of them, each with its values, would stay in memory."""
    engine = create_engine("sqlite://")
    usage = metrics.get_meter("test").create_up_down_counter("usage")
    tracer = EngineTracer(trace.get_tracer("test"), engine, usage)  # type: ignore[no-untyped-call]
    try:
        before = _known_name.cache_info().currsize
        assert _name(tracer, "shop", "INSERT INTO things VALUES " + "(1)," * (length // 4)) == "INSERT shop"
        assert _known_name.cache_info().currsize == before + kept
    finally:
        EngineTracer.remove_all_event_listeners()  # type: ignore[no-untyped-call]
        engine.dispose()
