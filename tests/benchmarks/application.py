"""The measured service: a request makes one SQL statement, two Redis commands and one HTTP call."""

import os

import httpx
import redis.asyncio
from fastapi import FastAPI
from opentelemetry import trace
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool


def create_app(routes: int = 1) -> FastAPI:
    """Create the app, with ``routes`` routes before the one that the benchmark requests."""
    app = FastAPI()
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE missions (id INTEGER PRIMARY KEY, name TEXT)"))
        connection.execute(text("INSERT INTO missions VALUES (7, 'survey')"))
    cache = redis.asyncio.Redis(port=int(os.environ["VALKEY_PORT"]))
    client = httpx.AsyncClient(trust_env=False)
    tracer = trace.get_tracer("shop")
    upstream = os.environ["UPSTREAM_URL"] + "/v1/completions"

    async def unused(mission_id: int) -> int:
        return mission_id

    for number in range(routes - 1):
        app.get(f"/unused/{number}/{{mission_id}}")(unused)

    @app.get("/healthz")
    async def health() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/fails/{mission_id}")
    async def fails(mission_id: int) -> None:
        raise ValueError(f"mission {mission_id}")

    @app.get("/spans/{count}")
    async def spans(count: int) -> None:
        for _ in range(count):
            with tracer.start_as_current_span("step"):
                pass

    @app.get("/missions/{mission_id}")
    async def mission(mission_id: int) -> dict[str, str]:
        await cache.get(f"mission:{mission_id}")
        with engine.connect() as connection:
            row = connection.execute(text("SELECT name FROM missions WHERE id = :id"), {"id": mission_id}).one()
        await cache.set(f"mission:{mission_id}", row.name, ex=60)
        response = await client.get(upstream)
        return {"name": row.name, "plan": response.text}

    return app


async def ask(app: FastAPI, path: str) -> None:
    """Make one request in this process; raise what the app raises, as in a server."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"shop.test"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")],
        "server": ("shop.test", 80),
        "client": ("127.0.0.1", 50_000),
    }
    await app(scope, _receive, _send)


async def _receive() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: object) -> None:
    pass
