"""Tests of the errors that a real PostgreSQL gives through psycopg, asyncpg and SQLAlchemy, with values that escape.

The message, its ``repr`` and the whole traceback are masked: frames of compiled modules have no source line in it.
"""

import asyncio
import contextlib
import io
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from brain_otel.privacy import Policy
from tests.support.services import Postgres
from tests.support.tiers import quick_first

POLICY = Policy()
SECRET = "zqsecret"
VALUES = (
    "zqsecret\nzqsecret",
    "zqsecret",
    "a) already exists.\nzqsecret",
    'it\'s "zqsecret" ok',
    "]\n(Background on zqsecret",
    "a, zqsecret), (b",
    "zqsecret', 'b",
    "7 (zqsecret)",
)
STATEMENTS = {
    "check": "INSERT INTO zq_towns (id, name) VALUES (1, CAST({} AS text))",
    "row": "INSERT INTO zq_towns (id, name, land) VALUES (2, CAST({} AS text), NULL)",
    "unique": "INSERT INTO zq_towns (id, name) VALUES (3, CAST({} AS text)), (4, CAST({} AS text))",
    "foreign key": "INSERT INTO zq_stops VALUES (CAST({} AS text))",
    "integer": "SELECT CAST({} AS integer)",
    "text as integer": "SELECT CAST(CAST({} AS text) AS integer)",
    "text as date": "SELECT CAST(CAST({} AS text) AS date)",
    "text as JSON": "SELECT CAST(CAST({} AS text) AS jsonb)",
    "text as array": "SELECT CAST(CAST({} AS text) AS integer[])",
    "enum": "SELECT CAST({} AS zq_colour)",
    "length": "INSERT INTO zq_lines (a) VALUES ({})",
    "UUID": "SELECT CAST({} AS uuid)",
    "address": "SELECT CAST({} AS inet)",
    "numeric": "SELECT CAST({} AS numeric)",
    "column": "SELECT 1 WHERE a = 'zqsecret' AND b = {}",
    "syntax": "SELECT 'it'zqsecret' || {}",
}
TABLES = (
    "DROP TABLE IF EXISTS zq_stops, zq_towns, zq_lines; DROP TYPE IF EXISTS zq_colour;"
    "CREATE TABLE zq_towns (id int PRIMARY KEY, name text UNIQUE CHECK (id <> 1), land text NOT NULL DEFAULT 'a');"
    "CREATE TABLE zq_stops (town text REFERENCES zq_towns (name));"
    "CREATE TABLE zq_lines (a varchar(3), n int); CREATE TYPE zq_colour AS ENUM ('red')"
)

Ask = Callable[[str, str], Awaitable[object]]
"""Gives a statement, with ``{}`` where the value belongs, and a value to the database."""


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Postgres:
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(TABLES)
    return postgres


def leaks(error: BaseException) -> list[str]:
    """What is left of the error where it shows the value."""
    whole = "".join(traceback.format_exception(error))
    shown = (POLICY.text(str(error)), POLICY.text(repr(error)), POLICY.stacktrace(whole))
    return [each[-400:] for each in shown if SECRET in each]


@contextlib.asynccontextmanager
async def through_psycopg(database: Postgres) -> AsyncIterator[Ask]:
    import psycopg

    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        yield lambda sql, value: connection.execute(sql.replace("{}", "%(v)s").encode(), {"v": value})


@contextlib.asynccontextmanager
async def through_asyncpg(database: Postgres) -> AsyncIterator[Ask]:
    import asyncpg  # type: ignore[import-untyped]  # it has no types

    connection = await asyncpg.connect(database.url)
    yield lambda sql, value: connection.execute(sql.replace("{}", "$1"), value)
    await connection.close()


@contextlib.asynccontextmanager
async def literally(database: Postgres) -> AsyncIterator[Ask]:
    """With the value in the text of the statement."""
    import asyncpg

    connection = await asyncpg.connect(database.url)
    yield lambda sql, value: connection.execute(sql.replace("{}", "'" + value.replace("'", "''") + "'"))
    await connection.close()


@contextlib.asynccontextmanager
async def through_sqlalchemy(database: Postgres, driver: str) -> AsyncIterator[Ask]:
    engine = create_async_engine(database.sqlalchemy_url(driver))

    async def ask(sql: str, value: str) -> None:
        async with engine.begin() as connection:
            await connection.execute(text(sql.replace("{}", ":v")), [{"v": value}, {"v": f"{value}\n\n{value}"}])

    yield ask
    await engine.dispose()


WAYS: dict[str, Callable[[Postgres], contextlib.AbstractAsyncContextManager[Ask]]] = {
    "psycopg": through_psycopg,
    "asyncpg": through_asyncpg,
    "SQLAlchemy with asyncpg": lambda database: through_sqlalchemy(database, "asyncpg"),
    "SQLAlchemy with psycopg": lambda database: through_sqlalchemy(database, "psycopg"),
    "literals": literally,
}
CASES = [(way, number) for number in range(len(VALUES)) for way in WAYS]


@pytest.mark.parametrize(("way", "number"), quick_first(CASES, len(WAYS)))
def test_no_error_of_a_driver_shows_a_value(database: Postgres, way: str, number: int) -> None:
    async def run() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        async with WAYS[way](database) as ask:
            for kind, sql in STATEMENTS.items():
                try:
                    await ask(sql, VALUES[number])
                except Exception as error:
                    found[kind] = leaks(error)
        return found

    found = asyncio.run(run())
    assert {kind: shown for kind, shown in found.items() if shown} == {}
    assert len(found) >= len(STATEMENTS) - 1


@pytest.mark.parametrize("value", VALUES)
def test_no_error_of_copy_shows_a_value(database: Postgres, value: str) -> None:
    """Neither the line nor the column that ``CONTEXT:`` shows."""
    import asyncpg
    import psycopg

    found = []
    with psycopg.connect(database.url, autocommit=True) as connection:
        for columns, options in (("n", ""), ("a, n", "(FORMAT csv)"), ("a", "")):
            with (
                pytest.raises(psycopg.Error) as caught,
                connection.cursor().copy(f"COPY zq_lines ({columns}) FROM STDIN {options}".encode()) as copy,
            ):
                copy.write(f"{value}\n")
            found += leaks(caught.value)

    async def run() -> None:
        connection = await asyncpg.connect(database.url)
        for records in ([(value, None)], [("a", value)]):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - asyncpg's errors, and Python's own
                await connection.copy_records_to_table("zq_lines", records=records, columns=["a", "n"])
            found.extend(leaks(caught.value))
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.copy_to_table("zq_lines", source=io.BytesIO(f"{value}\n".encode()), columns=["n"])
        found.extend(leaks(refused.value))
        await connection.close()

    asyncio.run(run())
    assert found == []
