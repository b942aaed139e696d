"""A service whose requests produce spans, log records and metrics."""

import logging

from fastapi import FastAPI
from opentelemetry import trace

import brain_otel

brain_otel.setup()

app = FastAPI()
logger = logging.getLogger("shop")
tracer = trace.get_tracer("shop")


@app.get("/orders/{number}")
async def order(number: int) -> dict[str, str]:
    with tracer.start_as_current_span("price") as span:
        span.set_attribute("shop.number", number)
        span.set_attribute("shop.tags", ["a", "b"])
        logger.warning("order %d", number, extra={"weight": 1.5})
    return {"trace_id": trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)}


@app.get("/boom")
async def boom() -> None:
    raise RuntimeError("boom")
