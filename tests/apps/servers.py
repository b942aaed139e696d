"""An app for every kind of server; SETUP says where it calls `setup()`: `module`, `lifespan` or nowhere."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import brain_otel

SETUP = os.environ.get("SETUP")

if SETUP == "module":
    brain_otel.setup()

VERSION = "before"


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    if SETUP == "lifespan":
        brain_otel.setup()
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/items/{item_id}")
async def item(item_id: int) -> str:
    return f"{VERSION} {item_id}"


@app.get("/boom/{item_id}")
async def boom(item_id: int) -> str:
    raise RuntimeError(f"boom {item_id}")
