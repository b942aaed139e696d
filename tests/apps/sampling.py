"""A service that calls the next service, with routes that fail and that are slow.

``NEXT_URL`` is the next service; the last service has none.
"""

import asyncio
import os

import httpx
from fastapi import FastAPI, Request

import brain_otel

brain_otel.setup()

NEXT_URL = os.environ.get("NEXT_URL")

app = FastAPI()
client = httpx.AsyncClient(trust_env=False, verify=False)


@app.get("/chain/{step}")
async def chain(step: int, request: Request) -> list[dict[str, str]]:
    """Call the next service, and return the headers that this and later services received."""
    if NEXT_URL is None:
        return [dict(request.headers)]
    return [dict(request.headers), *(await client.get(f"{NEXT_URL}/chain/{step + 1}")).json()]


@app.get("/fails/{mission_id}")
async def fails(mission_id: int) -> None:
    """Fail."""
    raise ValueError(f"mission {mission_id}")


@app.get("/slow/{mission_id}")
async def slow(mission_id: int) -> int:
    """Answer late."""
    await asyncio.sleep(0.3)
    return mission_id


@app.post("/missions/{mission_id}")
@app.get("/missions/{mission_id}")
async def missions(mission_id: int) -> int:
    """Answer at once."""
    return mission_id
