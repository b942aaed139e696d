"""Makes slow, failed and fast calls, each in a transaction named after the function that makes it."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import brain_otel

brain_otel.setup()

import httpx  # noqa: E402
import redis  # noqa: E402
import requests  # noqa: E402
import sqlalchemy  # noqa: E402
from sqlalchemy import event  # noqa: E402
from sqlalchemy.ext.asyncio import create_async_engine  # noqa: E402

CLOSED = "http://127.0.0.1:1/"
ENGINE = sqlalchemy.create_engine("sqlite://")
ASYNC_ENGINE = create_async_engine("sqlite+aiosqlite://")


@event.listens_for(ENGINE, "connect")
@event.listens_for(ASYNC_ENGINE.sync_engine, "connect")
def _add_sleep(connection: Any, _record: object) -> None:
    connection.create_function("sleep", 1, time.sleep)


class Orders:
    """The application's classes are part of a function's name."""

    def slow_statement(self) -> None:
        with ENGINE.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT sleep(0.07)"))  # here

    async def slow_statement_async(self) -> None:
        async with ASYNC_ENGINE.connect() as connection:
            await self._execute(connection, "SELECT sleep(0.07)")

    async def _execute(self, connection: Any, statement: str) -> None:
        await connection.execute(sqlalchemy.text(statement))  # here


def fast_statement() -> None:
    with ENGINE.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))


def failed_statement() -> None:
    with ENGINE.connect() as connection, suppress(sqlalchemy.exc.OperationalError):
        connection.execute(sqlalchemy.text("SELECT * FROM nowhere"))  # here


async def failed_statement_async() -> None:
    async with ASYNC_ENGINE.connect() as connection:
        with suppress(sqlalchemy.exc.OperationalError):
            await connection.execute(sqlalchemy.text("SELECT * FROM nowhere"))  # here


def failed_driver() -> None:
    with suppress(sqlite3.OperationalError):
        sqlite3.connect(":memory:").cursor().execute("SELECT * FROM nowhere")  # here


def failed_command() -> None:
    with suppress(redis.ConnectionError):
        redis.Redis(port=1).get("a")  # here


async def failed_command_async() -> None:
    client = redis.asyncio.Redis(port=1)
    with suppress(redis.ConnectionError):
        await client.get("a")  # here


def failed_httpx() -> None:
    with suppress(httpx.ConnectError):
        httpx.get(CLOSED)  # here


async def failed_httpx_async() -> None:
    async with httpx.AsyncClient() as client:
        with suppress(httpx.ConnectError):
            await asyncio.wait_for(client.get(CLOSED), 5)  # here


def failed_requests() -> None:
    with suppress(requests.ConnectionError):
        requests.get(CLOSED, timeout=5)  # here


async def failed_in_task() -> None:
    """A task of a library's coroutine: the loop runs it, so its place is where it was started."""
    async with httpx.AsyncClient() as client:
        await asyncio.gather(client.get(CLOSED), return_exceptions=True)  # here


async def without_a_place() -> None:
    """A thread in which a library alone runs."""
    with suppress(requests.ConnectionError):
        await asyncio.to_thread(requests.get, CLOSED, timeout=5)


def repeats() -> None:
    with ENGINE.connect() as connection:
        for number in range(3):
            connection.execute(sqlalchemy.text(f"SELECT {number}"))
        connection.execute(sqlalchemy.text("SELECT 1 AS other"))


async def main() -> None:
    orders = Orders()
    calls: list[Callable[[], Any]] = [orders.slow_statement, orders.slow_statement_async, fast_statement]
    calls += [failed_statement, failed_statement_async, failed_driver, failed_command, failed_command_async]
    calls += [failed_httpx, failed_httpx_async, failed_requests, failed_in_task, without_a_place, repeats]
    for call in calls:
        with brain_otel.start_transaction(call.__name__):
            made = call()
            if made is not None:
                await made
    await ASYNC_ENGINE.dispose()


asyncio.run(main())
brain_otel.shutdown()
