"""SQLAlchemy: one span a statement, with every driver, sync and async."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.instrumentation.process import Outcome, run_traced, sentry_environment
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.services import Postgres

DRIVERS = ("sqlite", "psycopg", "aiosqlite", "asyncpg")
SYNC = ("sqlite", "psycopg")

#: DRIVER and URL say what is used. The same statements go over `Connection` in both worlds.
SCRIPT = """
import asyncio, contextlib, os
import brain_otel
brain_otel.setup(config_file=os.environ.get("FILE"))
from brain_otel import start_transaction
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

def use(connection):
    with start_transaction("create"):
        connection.execute(text("CREATE TABLE " + TABLE + " (id INTEGER, name VARCHAR(9))"))
    with start_transaction("insert"):
        connection.execute(text("INSERT INTO " + TABLE + " VALUES (1, 'a'), (2, 'b'), (3, 'c')"))
    with start_transaction("insert many"):
        rows = [{"id": 4, "name": "d"}, {"id": 5, "name": "e"}]
        connection.execute(text("INSERT INTO " + TABLE + " VALUES (:id, :name)"), rows)
    with start_transaction("update"):
        connection.execute(text("UPDATE " + TABLE + " SET name = :name WHERE id > 3"), {"name": "z"})
    with start_transaction("select"):
        assert len(connection.execute(text("SELECT id, name FROM " + TABLE + " WHERE id < 3")).all()) == 2
    with start_transaction("two"):
        connection.execute(text("SELECT 1"))
        connection.execute(text("SELECT 2"))

def fail(connection):
    with start_transaction("error"), contextlib.suppress(DBAPIError):
        connection.execute(text("SELECT * FROM no_such_table"))

async def main():
    engine, other = create_async_engine(URL), create_async_engine("sqlite+aiosqlite://")
    with start_transaction("checkout"):
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 0"))
    async with engine.connect() as connection:
        await connection.run_sync(use)
        await connection.rollback()
        await connection.run_sync(fail)
    with start_transaction("engines"):
        async with engine.connect() as connection, other.connect() as second:
            await connection.execute(text("SELECT 1 AS one"))
            await second.execute(text("SELECT 1 AS other"))
    await engine.dispose(); await other.dispose()

def main_sync():
    engine, other = create_engine(URL), create_engine("sqlite://")
    with start_transaction("checkout"), engine.connect() as connection:
        connection.execute(text("SELECT 0"))
    with engine.connect() as connection:
        use(connection)
        connection.rollback()
        fail(connection)
    with start_transaction("engines"), engine.connect() as connection, other.connect() as second:
        connection.execute(text("SELECT 1 AS one"))
        second.execute(text("SELECT 1 AS other"))
    engine.dispose(); other.dispose()

URL, DRIVER = os.environ["URL"], os.environ["DRIVER"]
TABLE = "things_" + DRIVER
main_sync() if DRIVER in ("sqlite", "psycopg") else asyncio.run(main())
"""

OPTIONS = """
file_format: "1.1"
tracer_provider:
  processors:
    - sentry: {}
distribution:
  brain_otel:
    fast_paths: ${BRAIN_OTEL_FAST_PATHS:-true}
    sentry: {dsn: "${SENTRY_DSN}"}
    instrumentation: {sqlalchemy_connect_spans: true, sqlalchemy_returned_rows: true}
"""


def variables(driver: str, postgres: Postgres) -> dict[str, str]:
    urls = {"sqlite": "sqlite://", "aiosqlite": "sqlite+aiosqlite://"}
    return {"DRIVER": driver, "URL": urls.get(driver) or postgres.sqlalchemy_url(driver)}


@pytest.fixture(scope="module")
def outcome_of(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Outcome]:
    """Run the script with a driver, once for all tests of that driver, with or without its options."""
    file = tmp_path_factory.mktemp("options") / "options.yaml"
    file.write_text(OPTIONS)

    @cache
    def run(driver: str, options: bool = False) -> Outcome:
        return run_traced(SCRIPT, {**variables(driver, postgres), **({"FILE": str(file)} if options else {})})

    return run


@pytest.fixture(params=DRIVERS)
def outcome(request: pytest.FixtureRequest, outcome_of: Callable[..., Outcome]) -> Outcome:
    """Give what arrived with each of the drivers."""
    return outcome_of(request.param)


def test_each_statement_is_one_span(outcome: Outcome) -> None:
    """Connecting, beginning and fetching are none."""
    assert [span["description"] for span in outcome.spans("two")] == ["SELECT ?", "SELECT ?"]
    assert outcome.span("checkout")["description"] == "SELECT ?"
    for name in ("create", "insert", "insert many", "update", "select"):
        assert outcome.span(name)["op"] == "db"
    assert outcome.output == ""  # OpenTelemetry complains of a span that is ended twice


def test_a_span_has_the_statement_and_the_database(outcome: Outcome, request: pytest.FixtureRequest) -> None:
    """By the stable conventions, without the values of parameters."""
    data = outcome.span("update")["data"]
    assert data["db.system.name"] in ("sqlite", "postgresql")
    assert data["db.query.text"].startswith("UPDATE things_")
    assert "'z'" not in data["db.query.text"]
    assert outcome.span("update")["origin"] == "auto.db.otel.sqlalchemy"
    if data["db.system.name"] == "postgresql":
        assert data["server.address"] == "127.0.0.1"
        assert data["db.namespace"] == "postgres"


def test_affected_rows_are_recorded(outcome: Outcome) -> None:
    """Of INSERT and UPDATE."""
    assert outcome.span("insert")["data"]["brain_otel.db.affected_rows"] == 3
    assert outcome.span("update")["data"]["brain_otel.db.affected_rows"] == 2
    assert "db.response.returned_rows" not in outcome.span("update")["data"]


@pytest.mark.parametrize(("driver", "rows"), [("psycopg", 2), ("sqlite", None), ("aiosqlite", None)])
def test_returned_rows_are_recorded_if_the_driver_knows_them(
    outcome_of: Callable[..., Outcome], driver: str, rows: int | None
) -> None:
    """Only psycopg has fetched the rows when the statement is done; SQLite's drivers fetch later. It is an option."""
    if driver == "psycopg":
        assert "db.response.returned_rows" not in outcome_of(driver).span("select")["data"]
    data = outcome_of(driver, True).span("select")["data"]
    assert data.get("db.response.returned_rows") == rows
    assert "brain_otel.db.affected_rows" not in data


def test_a_failed_statement_is_a_failed_span(outcome: Outcome) -> None:
    """It has the database's message."""
    span = outcome.span("error")
    assert span["status"] == "internal_error"
    assert "no_such_table" in span["data"]["otel.status_description"]
    assert outcome.events == []  # the application has handled it


def test_engines_do_not_share_spans(outcome: Outcome) -> None:
    """Each of two engines creates one span a statement, with its own database."""
    spans = outcome.spans("engines")
    assert [span["description"] for span in spans] == ["SELECT ? AS one", "SELECT ? AS other"]
    assert spans[1]["data"]["db.system.name"] == "sqlite"


@pytest.mark.parametrize("driver", ["psycopg", "aiosqlite"])
def test_connect_spans_are_an_option(outcome_of: Callable[..., Outcome], driver: str) -> None:
    """With `sqlalchemy_connect_spans` each checkout is a span beside the statement's."""
    outcome = outcome_of(driver, True)
    assert [span["op"] for span in outcome.spans("checkout")] == ["db", "db"]
    assert [span["description"] for span in outcome.spans("two")] == ["SELECT ?", "SELECT ?"]


@pytest.mark.thorough
def test_sqlalchemy_2_0_is_traced_like_2_1() -> None:
    """In an environment with the older release the same statements make the same spans."""
    packages = ["sqlalchemy[asyncio]>=2.0,<2.1", "aiosqlite"]
    script = "import sqlalchemy; print('SQLAlchemy', sqlalchemy.__version__)\n" + SCRIPT
    command = ["uv", "run", "--isolated", "--no-project", "--python", sys.executable, "--with-editable", str(ROOT)]
    command += [argument for package in packages for argument in ("--with", package)]
    for driver in ("sqlite", "aiosqlite"):
        env: dict[str, Any] = {"DRIVER": driver, "URL": "sqlite://" if driver == "sqlite" else "sqlite+aiosqlite://"}
        with SentryIngest() as ingest:
            done = subprocess.run(
                [*command, "python", "-c", script],
                env={**os.environ, **sentry_environment(ingest, env)},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert "SQLAlchemy 2.0." in done.stdout
            outcome = Outcome(transactions=ingest.transactions, events=ingest.events, output=done.stderr)
        assert outcome.span("checkout")["description"] == "SELECT ?"
        assert outcome.span("update")["data"]["brain_otel.db.affected_rows"] == 2
        assert outcome.span("error")["status"] == "internal_error"
