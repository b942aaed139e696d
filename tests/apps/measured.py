"""Uses libraries in a process of its own and prints the metrics and spans as JSON.

The arguments are the libraries to use: `sqlite`, `aiosqlite`, `psycopg`, `asyncpg`, `redis`, `cluster`, `web`.
POSTGRES, REDIS, CLUSTER, TARGET and DEAD are addresses. FILE is a configuration file; default: the environment's own.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
import warnings
from typing import Any

import brain_otel
from brain_otel.destinations.memory import MEMORY

brain_otel.setup(config_file=os.environ.get("FILE"))


def use_connection(connection: Any) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    connection.execute(text("CREATE TEMPORARY TABLE things (id INTEGER)"))
    connection.execute(text("INSERT INTO things VALUES (:id)"), [{"id": 1}, {"id": 2}])
    connection.execute(text("  select id from things")).all()
    connection.execute(text("SELECT 1 /* secret */")).all()
    with contextlib.suppress(DBAPIError):
        connection.execute(text("SELECT * FROM no_such_table"))


def use_sync(url: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(url)
    with engine.connect() as connection:
        use_connection(connection)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("SELECT 2")
    engine.dispose()


async def use_async(url: str) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(use_connection)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 2"))
    await engine.dispose()


def use_redis(url: str) -> None:
    import redis

    client: Any = redis.Redis.from_url(url)
    client.set("secret-key", "secret-value")
    client.execute_command("GET secret-key")
    with client.pipeline() as pipeline:
        pipeline.set("a", 1).incr("a")
        pipeline.execute()
    with client.pipeline() as pipeline:
        pipeline.execute()
    with client.pipeline() as pipeline, contextlib.suppress(redis.WatchError):
        pipeline.watch("a")
        client.set("a", 2)
        pipeline.multi()
        pipeline.incr("a")
        pipeline.execute()
    with contextlib.suppress(redis.ResponseError):
        client.lpush("a", "x")
    client.close()


async def use_redis_async(url: str) -> None:
    import redis.asyncio

    client: Any = redis.asyncio.Redis.from_url(url)
    await client.set("secret-key", "secret-value")
    await client.execute_command("GET secret-key")
    async with client.pipeline() as pipeline:
        await pipeline.set("a", 1).incr("a").execute()
    async with client.pipeline() as pipeline:
        await pipeline.execute()
    async with client.pipeline() as pipeline:
        with contextlib.suppress(redis.WatchError):
            await pipeline.watch("a")
            await client.set("a", 2)
            pipeline.multi()
            pipeline.incr("a")
            await pipeline.execute()
    with contextlib.suppress(redis.ResponseError):
        await client.lpush("a", "x")
    task = asyncio.create_task(client.blpop(["nothing"], timeout=5))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    await client.aclose()


def use_cluster(url: str) -> None:
    import redis.cluster

    # redis-py leaves its first connection, which discovers the cluster, to the garbage collector.
    warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
    client: Any = redis.cluster.RedisCluster.from_url(url)
    client.set("a", "1")
    with client.pipeline() as pipeline:
        pipeline.set("a", 1)
        pipeline.incr("a")
        pipeline.execute()
    client.close()


async def use_cluster_async(url: str) -> None:
    import redis.asyncio.cluster

    client: Any = redis.asyncio.cluster.RedisCluster.from_url(url)
    await client.initialize()
    await client.set("a", "1")
    async with client.pipeline() as pipeline:
        pipeline.set("a", 1)
        pipeline.incr("a")
        await pipeline.execute()
    await client.aclose()


async def use_web(url: str, dead: str) -> None:
    """Make requests to an app in this process, one of which calls `url`; call `dead` with a synchronous client."""
    import httpx
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> str:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            return (await client.get(url + "/other")).text

    @app.get("/boom")
    def boom() -> None:
        with httpx.Client(trust_env=False, verify=False) as client, contextlib.suppress(httpx.ConnectError):
            client.get(dead)
        raise RuntimeError("boom")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/items/1", "/items/2", "/boom", "/nowhere/secret"):
            await client.get(path)


USES: dict[str, Any] = {
    "sqlite": lambda: use_sync("sqlite://"),
    "aiosqlite": lambda: asyncio.run(use_async("sqlite+aiosqlite://")),
    "psycopg": lambda: use_sync(os.environ["POSTGRES"].replace("://", "+psycopg://")),
    "asyncpg": lambda: asyncio.run(use_async(os.environ["POSTGRES"].replace("://", "+asyncpg://"))),
    "redis": lambda: use_redis(os.environ["REDIS"]),
    "redis async": lambda: asyncio.run(use_redis_async(os.environ["REDIS"])),
    "cluster": lambda: use_cluster(os.environ["CLUSTER"]),
    "cluster async": lambda: asyncio.run(use_cluster_async(os.environ["CLUSTER"])),
    "web": lambda: asyncio.run(use_web(os.environ["TARGET"], os.environ["DEAD"])),
}


def main() -> None:
    started = time.perf_counter()
    for name in sys.argv[1:]:
        USES[name]()
    seconds = time.perf_counter() - started
    brain_otel.flush()
    points = [
        {
            "name": metric.name,
            "unit": metric.unit,
            "scope": scope.scope.name,
            "attributes": dict(point.attributes or {}),
            "count": getattr(point, "count", None),
            "sum": getattr(point, "sum", None),
            "bounds": list(getattr(point, "explicit_bounds", ())),
            "exemplars": [f"{each.span_id or 0:016x}" for each in point.exemplars],
        }
        for resource in (MEMORY.metrics[-1].resource_metrics if MEMORY.metrics else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    spans = [
        {
            "name": span.name,
            "kind": span.kind.name.lower(),
            "span_id": f"{span.get_span_context().span_id:016x}",  # type: ignore[union-attr]  # it has ended
            "seconds": ((span.end_time or 0) - (span.start_time or 0)) / 1e9,
            "failed": span.status.status_code.name == "ERROR",
        }
        for span in MEMORY.spans
    ]
    print(json.dumps({"points": points, "spans": spans, "seconds": seconds}))


main()
