"""One app for each service of a fleet: `front` calls `back`; as a program, a job that calls `front`."""

import asyncio
import logging
import os

import httpx
from fastapi import FastAPI, HTTPException

import brain_otel

brain_otel.setup()
app = FastAPI()
logger = logging.getLogger("shop")


class StockError(Exception):
    """There is nothing left."""


@app.get("/orders/{number}")
async def order(number: int) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{os.environ['BACK']}/stock/{number}")).status_code


@app.get("/stock/{number}")
async def stock(number: int) -> int:
    logger.warning("stock of %d", number)
    return number


@app.get("/slow/{number}")
async def slow(number: int) -> int:
    await asyncio.sleep(0.2)
    return number


@app.get("/boom/{number}")
async def boom(number: int) -> None:
    raise StockError("unhandled")


@app.get("/captured/{number}")
async def captured(number: int) -> None:
    brain_otel.capture_exception(ValueError("captured"))


@app.get("/unavailable/{number}")
async def unavailable(number: int) -> None:
    raise HTTPException(503, "unavailable")


def main() -> None:
    with brain_otel.start_transaction("nightly"):
        httpx.get(f"{os.environ['FRONT']}/orders/7", trust_env=False)
        brain_otel.capture_exception(KeyError("job"))


if __name__ == "__main__":
    main()
