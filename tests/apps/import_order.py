"""Uses every instrumented library once; ORDER says when the process calls `setup()`.

Serves one request over ASGI, in which each library makes one call. The text of a call identifies its span.
`REDIS_URL` and `HTTP_URL` are the addresses of the servers.
"""

import asyncio
import os

import brain_otel

ORDER = os.environ["ORDER"]

if ORDER == "first":
    brain_otel.setup()

# ORDER decides whether these imports follow setup() or precede it.
import httpx  # noqa: E402
import redis  # noqa: E402
import redis.asyncio  # noqa: E402
from fastapi import FastAPI  # noqa: E402
from sqlalchemy import create_engine, text  # noqa: E402
from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402

if ORDER == "after imports":
    brain_otel.setup()

app = FastAPI()
engine = create_engine("sqlite://")
async_engine = create_async_engine("sqlite+aiosqlite://")
redis_client = redis.Redis.from_url(os.environ["REDIS_URL"])
async_redis_client = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"])
http_client = httpx.Client(trust_env=False, verify=False)
async_http_client = httpx.AsyncClient(trust_env=False, verify=False)


@app.get("/everything/{item_id}")
async def everything(item_id: str) -> str:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 AS sync"))
    async with async_engine.connect() as async_connection:
        await async_connection.execute(text("SELECT 1 AS async"))
    redis_client.append("import_order", item_id)
    await async_redis_client.strlen("import_order")
    http_client.get(os.environ["HTTP_URL"] + "/sync")
    await async_http_client.get(os.environ["HTTP_URL"] + "/async")
    return item_id


if ORDER == "after objects":
    brain_otel.setup()


async def main() -> None:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as client:
        (await client.get("/everything/7")).raise_for_status()
    await async_http_client.aclose()
    await async_redis_client.aclose()
    await async_engine.dispose()
    http_client.close()
    redis_client.close()
    engine.dispose()


asyncio.run(main())
