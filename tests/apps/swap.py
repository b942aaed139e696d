"""One service for every environment: no line of it depends on the destinations.

With SETUP it calls `setup()` itself; otherwise the launcher does. `GET /told` returns the traces and event ids;
`GET /memory` returns the content of the memory destination.
"""

import base64
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import redis.asyncio
from fastapi import FastAPI, Request
from opentelemetry import trace
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

import brain_otel

if os.environ.get("SETUP"):
    logging.basicConfig(level=logging.INFO)
    brain_otel.setup()

told: dict[str, dict[str, str | None]] = {}
"""The trace id and the event id of each path."""

engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
cache = redis.asyncio.from_url(os.environ["REDIS_URL"], decode_responses=True)


class OutOfStockError(Exception):
    """The failure of this app."""


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY, sku TEXT)"))
    yield
    await cache.aclose()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


def remember(request: Request, event_id: str | None = None) -> None:
    trace_id = trace.get_current_span().get_span_context().trace_id
    told[request.url.path] = {"trace_id": f"{trace_id:032x}", "event_id": event_id}


def introduce(order: int) -> None:
    """Describe the request with every helper."""
    brain_otel.set_user_context(user_id=f"u-{order}", email=f"u{order}@example.org", plan="premium")
    brain_otel.set_tag("tier", "gold")
    brain_otel.set_context("parcel", {"kilograms": order / 2})
    brain_otel.add_breadcrumb(f"looking for order {order}", category="orders", data={"shelf": 3})


async def save(order: int, sku: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO orders (sku) VALUES (:sku)"), {"sku": f"{sku}-{order}"})
    await cache.set(f"swap:{order}", sku)


@app.get("/orders/{order}")
async def get_order(order: int, request: Request) -> dict[str, Any]:
    remember(request)
    introduce(order)
    await save(order, "bolt")
    async with httpx.AsyncClient(base_url=str(request.base_url), trust_env=False, verify=False) as client:
        stock = (await client.get("/stock/bolt")).json()
    with brain_otel.start_span("order.pack", "pack the order", boxes=2):
        pass
    return {"order": order, "stock": stock}


@app.get("/stock/{sku}")
async def get_stock(sku: str) -> int:
    return len(sku)


@app.get("/handled/{order}")
async def handled(order: int, request: Request) -> dict[str, str]:
    introduce(order)
    await save(order, "nut")
    try:
        raise OutOfStockError(f"no nut for {order}")
    except OutOfStockError as error:
        remember(request, brain_otel.capture_exception(error, shelf="left"))
        return {"answer": "later"}


@app.get("/unhandled/{order}")
async def unhandled(order: int, request: Request) -> None:
    remember(request)
    introduce(order)
    await save(order, "screw")
    raise OutOfStockError(f"no screw for {order}")


@app.get("/told")
async def get_told() -> dict[str, Any]:
    return told


@app.get("/memory")
async def get_memory() -> dict[str, list[str]]:
    """Return the content of the memory destination as export requests."""
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    from brain_otel.destinations.memory import MEMORY

    brain_otel.flush()
    requests: dict[str, list[Any]] = {
        "traces": [encode_spans(list(MEMORY.spans))],
        "logs": [encode_logs(list(MEMORY.log_records))],
        "metrics": [encode_metrics(each) for each in MEMORY.metrics],
    }
    return {
        signal: [base64.b64encode(each.SerializeToString()).decode() for each in encoded]
        for signal, encoded in requests.items()
    }
