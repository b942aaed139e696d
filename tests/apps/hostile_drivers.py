"""Sends odd statements by psycopg and asyncpg, before and after `brain_otel.setup()` and after `shutdown()`.

Prints the names of all statements, those that ended otherwise, and the failures of instrumentations, as JSON.
"""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import psycopg
from psycopg import sql

import brain_otel

URL = os.environ["POSTGRES_URL"]

MISTAKE = LookupError("of the application")


class Loud(str):
    """A text that is one only for who takes it as it is."""

    def fail(self, *_: Any) -> Any:
        raise MISTAKE

    __bool__ = __len__ = __iter__ = __str__ = __repr__ = __getitem__ = strip = startswith = lower = fail
    split = fail  # type: ignore[assignment]  # it takes anything


class Broken:
    """Answers no question."""

    def fail(self, *_: Any) -> Any:
        raise MISTAKE

    __bool__ = __len__ = __iter__ = __str__ = __repr__ = __getitem__ = __hash__ = __eq__ = fail


class BrokenList(list[Any]):
    """A list that cannot be read."""

    def fail(self, *_: Any) -> Any:
        raise MISTAKE

    __len__ = __iter__ = __getitem__ = __repr__ = __bool__ = fail


class BrokenPart(sql.Composable):
    """A part of a statement without text."""

    def as_string(self, context: Any = None) -> str:  # noqa: ARG002 - psycopg passes it
        raise MISTAKE

    def as_bytes(self, context: Any = None) -> bytes:  # noqa: ARG002
        return b"SELECT 'part'"


class OnlyOnce(sql.Composable):
    """A part of a statement that is asked for its bytes alone."""

    def __init__(self) -> None:
        super().__init__("once")
        self.asked = 0

    def as_bytes(self, context: Any = None) -> bytes:  # noqa: ARG002
        self.asked += 1
        return f"SELECT {self.asked}".encode()


HUGE = "SELECT length('" + "x" * 3_000_000 + "')"

STATEMENTS: dict[str, Callable[[], Any]] = {
    "text": lambda: "SELECT 1",
    "bytes": lambda: b"SELECT 1",
    "empty": lambda: "",
    "blank": lambda: " \n",
    "a comment": lambda: "/* nothing */",
    "an open comment": lambda: "/* nothing",
    "comments": lambda: "-- a\n/* b */ SELECT 1",
    "words": lambda: "SELEC 1",
    "two": lambda: "SELECT 1; SELECT 2",
    "none": lambda: None,
    "a number": lambda: 5,
    "an object": Broken,
    "loud": lambda: Loud("SELECT 1"),
    "a surrogate": lambda: "SELECT '\ud800'",
    "a null": lambda: "SELECT '\0'",
    "huge": lambda: HUGE,
    "composed": lambda: sql.SQL("SELECT {}").format(sql.Literal("x")),
    "composed of nothing": lambda: sql.Composed([]),
    "a broken part": lambda: BrokenPart("x"),
    "only once": OnlyOnce,
    "an unknown table": lambda: "SELECT * FROM nowhere",
    "an error's number": lambda: "SELECT 1/0",
}

PARAMETERS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "a tuple": lambda: ("a",),
    "a list": lambda: ["a"],
    "a dict": lambda: {"a": 1},
    "too many": lambda: ("a", "b"),
    "nothing": lambda: (),
    "a text": lambda: "a",
    "a number": lambda: 5,
    "a generator": lambda: (each for each in "a"),
    "an object": Broken,
    "a broken list": lambda: BrokenList(["a"]),
    "of an object": lambda: (Broken(),),
    "of a loud text": lambda: (Loud("a"),),
    "of a surrogate": lambda: ("\ud800",),
    "of a decimal": lambda: (Decimal("1.5"),),
    "of a huge text": lambda: ("x" * 1_000_000,),
}


async def ended(call: Callable[[], Awaitable[Any]]) -> str:
    try:
        found = repr(await asyncio.wait_for(call(), 5))
        return found if len(found) < 500 else str(len(found))
    except Exception as error:
        if error is MISTAKE:
            return "its own error"
        return f"{type(error).__name__}: {str(error)[:150]} {type(error.__context__).__name__}"


async def sync(work: Callable[[Any], Any]) -> Any:
    with psycopg.connect(URL, autocommit=True) as connection:
        return work(connection)


async def of_async(work: Callable[[Any], Awaitable[Any]]) -> Any:
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as connection:
        return await work(connection)


async def of_asyncpg(work: Callable[[Any], Awaitable[Any]]) -> Any:
    connection = await asyncpg.connect(URL)
    try:
        return await work(connection)
    finally:
        connection.terminate()


class Connections:
    """One connection of each kind for all statements, which leave it as it is."""

    async def open(self) -> None:
        self.now = psycopg.connect(URL, autocommit=True)
        self.later = await psycopg.AsyncConnection.connect(URL, autocommit=True)
        self.pool = await asyncpg.create_pool(URL, min_size=1, max_size=1)

    async def sync(self, work: Callable[[Any], Any]) -> Any:
        return work(self.now)

    async def of_async(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await work(self.later)

    async def of_asyncpg(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        async with self.pool.acquire() as connection:
            return await work(connection)

    async def close(self) -> None:
        self.now.close()
        await self.later.close()
        self.pool.terminate()


def rows(cursor: Any) -> Any:
    return (cursor.fetchall() if cursor.description else None, cursor.rowcount, cursor.statusmessage)


def copy(connection: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE item (id int)")
        with cursor.copy("COPY item FROM STDIN") as target:
            target.write_row((1,))
        with cursor.copy("COPY item TO STDOUT") as source:
            return [bytes(each) for each in source]


def pipeline(connection: Any) -> Any:
    with connection.pipeline() as pipe, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        first = cursor.fetchone()
        connection.execute("SELECT 1/0")
        pipe.sync()
        return first


def broken_rows(connection: Any) -> Any:
    def factory(_: Any) -> Any:
        raise MISTAKE

    return connection.cursor(row_factory=factory).execute("SELECT 1").fetchall()


def many(connection: Any, parameters: Any, **options: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.executemany("SELECT %s::text", parameters, **options)
        return rows(cursor)


def named(connection: Any) -> Any:
    with connection.transaction(), connection.cursor("pages") as cursor:
        cursor.execute("SELECT generate_series(1, 5)")
        return cursor.fetchmany(2), type(cursor).__name__


SYNC: dict[str, Callable[[Any], Any]] = {
    "copy": copy,
    "pipeline": pipeline,
    "broken rows": broken_rows,
    "named": named,
    "stream": lambda connection: list(connection.cursor().stream("SELECT generate_series(1, 3)")),
    "prepared": lambda connection: rows(connection.execute("SELECT %s::int", (1,), prepare=True)),
    "by name": lambda connection: rows(connection.cursor().execute(query="SELECT %s::int", params=(1,))),
    "unknown option": lambda connection: connection.execute("SELECT 1", nothing=True),
    "no arguments": lambda connection: connection.cursor().execute(),
    "returning": lambda connection: many(connection, [("a",), ("b",)], returning=True),
    "many of nothing": lambda connection: many(connection, []),
    "many of a generator": lambda connection: many(connection, (("a",) for _ in range(2))),
    "many of an object": lambda connection: many(connection, Broken()),
    "many broken": lambda connection: many(connection, [BrokenList(["a"])]),
    "timeout": lambda connection: (
        connection.execute("SET statement_timeout = 20"),
        connection.execute("SELECT pg_sleep(2)"),
    ),
    "closed": lambda connection: (connection.close(), connection.execute("SELECT 1")),
    "in a failed transaction": lambda connection: [
        connection.execute("BEGIN"),
        connection.execute("SELECT 1/0"),
    ],
    "of its class": lambda connection: [type(connection).__name__, isinstance(connection.cursor(), psycopg.Cursor)],
}


async def cancelled(connection: Any) -> Any:
    task = asyncio.create_task(connection.execute("SELECT pg_sleep(2)"))
    await asyncio.sleep(0.05)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError as error:
        return repr(error)


async def paged(connection: Any) -> Any:
    async with connection.transaction():
        found = [each[0] async for each in connection.cursor("SELECT generate_series(1, 3)", prefetch=1)]
        cursor = await connection.cursor("SELECT generate_series(1, 3)")
        return found, await cursor.fetch(2), await cursor.forward(1), await cursor.fetchrow()


async def prepared(connection: Any) -> Any:
    statement = await connection.prepare("SELECT $1::text")
    found = [await statement.fetch("a"), await statement.fetchval("b"), await statement.fetchrow("c")]
    return found, await statement.executemany([("a",)]), await statement.fetchval(Broken())


async def copied(connection: Any) -> Any:
    await connection.execute("CREATE TEMP TABLE item (id int)")
    done = await connection.copy_records_to_table("item", records=[(1,), (2,)])
    return done, await connection.fetch("SELECT * FROM item")


async def pooled(_: Any) -> Any:
    async with asyncpg.create_pool(URL, min_size=1, max_size=2) as pool:
        found = await asyncio.gather(*(pool.fetchval("SELECT $1::int", each) for each in range(3)))
        return found, await pool.execute("SELECT 1/0")


ASYNCPG: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "cancelled": cancelled,
    "paged": paged,
    "prepared": prepared,
    "copied": copied,
    "pooled": pooled,
    "by name": lambda connection: connection.fetchval(query="SELECT 1"),
    "no arguments": lambda connection: connection.fetch(),
    "unknown option": lambda connection: connection.fetch("SELECT 1", nothing=True),
    "timeout": lambda connection: connection.execute("SELECT pg_sleep(2)", timeout=0.05),
    "of a number": lambda connection: connection.executemany("SELECT $1::text", 5),
    "of an object": lambda connection: connection.executemany("SELECT $1::text", Broken()),
    "of a generator": lambda connection: connection.executemany("SELECT $1::text", (("a",) for _ in range(2))),
    "of broken rows": lambda connection: connection.executemany("SELECT $1::text", [BrokenList(["a"])]),
    "in a failed transaction": lambda connection: connection.execute("BEGIN; SELECT 1/0; SELECT 1"),
}


def all_statements(shared: Connections) -> dict[str, Callable[[], Awaitable[Any]]]:
    found: dict[str, Callable[[], Awaitable[Any]]] = {}
    found |= {f"asyncpg {name}": partial(of_asyncpg, work) for name, work in ASYNCPG.items()}

    async def execute(statement: Any, parameters: Any, connection: Any) -> Any:
        cursor = await connection.execute(statement(), parameters())
        return (await cursor.fetchall() if cursor.description else None, cursor.rowcount, cursor.statusmessage)

    def execute_now(statement: Any, parameters: Any, connection: Any) -> Any:
        return rows(connection.execute(statement(), parameters()))

    def call(kind: str, statement: Any, *parameters: Any) -> Callable[[Any], Awaitable[Any]]:
        return lambda connection: getattr(connection, kind)(statement(), *(each() for each in parameters))

    for name, statement in STATEMENTS.items():
        found[f"sync {name}"] = partial(shared.sync, partial(execute_now, statement, lambda: None))
        found[f"async {name}"] = partial(shared.of_async, partial(execute, statement, lambda: None))
        for kind in ("execute", "fetch"):
            found[f"asyncpg {kind} {name}"] = partial(shared.of_asyncpg, call(kind, statement))
    for name, parameters in PARAMETERS.items():
        found[f"sync with {name}"] = partial(shared.sync, partial(execute_now, lambda: "SELECT %s::text", parameters))
        found[f"async with {name}"] = partial(
            shared.of_async, partial(execute, lambda: "SELECT %s::text", parameters)
        )
        found[f"asyncpg with {name}"] = partial(
            shared.of_asyncpg, call("fetchrow", lambda: "SELECT $1::text", parameters)
        )
    found |= {f"sync {name}": partial(sync, work) for name, work in SYNC.items()}
    found["async cancelled"] = partial(of_async, cancelled)
    return found


async def everything() -> dict[str, str]:
    shared = Connections()
    await shared.open()
    found = {name: await ended(call) for name, call in all_statements(shared).items()}
    await shared.close()
    return found


class Failures(logging.Handler):
    """Keeps the lines about failures of instrumentations."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("brain_otel"):
            self.lines.append(record.getMessage())


def main() -> None:
    failures = Failures()
    logging.getLogger().addHandler(failures)
    bare = asyncio.run(everything())
    brain_otel.setup()
    traced = asyncio.run(everything())
    brain_otel.shutdown()
    removed = asyncio.run(everything())
    different = {name: (bare[name], traced[name]) for name in bare if bare[name] != traced[name]}
    different |= {f"{name} afterwards": (bare[name], removed[name]) for name in bare if bare[name] != removed[name]}
    print(json.dumps({"ended": bare, "different": different, "failures": failures.lines}))


if __name__ == "__main__":
    main()
