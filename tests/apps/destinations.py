"""A service that emits every kind of telemetry, for tests of destinations."""

import os
from typing import Any

from fastapi import FastAPI
from opentelemetry import trace
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

import brain_otel

brain_otel.setup()

app = FastAPI()
engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def ids() -> dict[str, Any]:
    context = trace.get_current_span().get_span_context()
    return {"pid": os.getpid(), "trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


@app.get("/items/{item_id}")
def item(item_id: int) -> dict[str, Any]:
    brain_otel.add_breadcrumb("looking", category="store", data={"shelf": 7, "password": "hunter2"})
    with engine.connect() as connection:
        connection.execute(text("SELECT :number"), {"number": item_id}).all()
    return {**ids(), "event_id": brain_otel.capture_message("found", level="warning", api_key="abc", item=item_id)}


@app.get("/boom/{item_id}")
async def boom(item_id: int) -> None:
    raise RuntimeError(f"boom {item_id}")


@app.get("/fast")
async def fast() -> dict[str, Any]:
    return ids()


@app.get("/burst/{number}")
async def burst(number: int) -> int:
    """Create spans faster than a destination accepts them."""
    tracer = trace.get_tracer("burst")
    for index in range(number):
        tracer.start_span(f"burst {index}").end()
    return number
