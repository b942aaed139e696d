"""A service for the W3C's trace-context cases: it calls back the addresses that it is given.

A request has a JSON list of ``{"url": ..., "arguments": [...]}``; each ``arguments`` is posted to its ``url``.
"""

from typing import Any

import httpx
from fastapi import FastAPI, Request

import brain_otel

brain_otel.setup()

app = FastAPI()


@app.post("/test")
async def call_back(request: Request) -> list[int]:
    """Call each address, one after the other."""
    calls: list[dict[str, Any]] = await request.json()
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return [(await client.post(each["url"], json=each["arguments"])).status_code for each in calls]
