"""A service that calls the next service and returns the headers it received.

``NEXT_URL`` is the next service; the last service has none. With ``FAIL`` each call ends in an error.
"""

import os

import httpx
from fastapi import FastAPI, Request
from opentelemetry import baggage

import brain_otel

brain_otel.setup()

NEXT_URL = os.environ.get("NEXT_URL")

app = FastAPI()


@app.get("/chain/{step}")
async def chain(step: int, request: Request) -> list[dict[str, str]]:
    """Call the next service, report an error, and return the headers that this and later services received."""
    headers = {**request.headers, "seen-tenant": str(baggage.get_baggage("tenant"))}
    later: list[dict[str, str]] = []
    if NEXT_URL is not None:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            later = (await client.get(f"{NEXT_URL}/chain/{step + 1}")).json()
    brain_otel.capture_exception(ValueError(f"step {step}"))
    return [headers, *later]
