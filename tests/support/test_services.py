"""Tests of Valkey and PostgreSQL."""

import asyncio
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest
import redis
from sqlalchemy import create_engine, text

from tests.support.services import Postgres, Valkey, start_postgres, start_valkey


def test_valkey_answers(valkey: Valkey) -> None:
    """The URL works with redis-py."""
    with redis.Redis.from_url(valkey.url) as client:
        assert client.ping()


def test_postgres_answers_psycopg(postgres: Postgres) -> None:
    """The URL works with SQLAlchemy's synchronous driver."""
    engine = create_engine(postgres.sqlalchemy_url("psycopg"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


async def select_one_with_asyncpg(postgres: Postgres) -> None:
    import asyncpg  # type: ignore[import-untyped]  # ships no types

    connection = await asyncpg.connect(postgres.url)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def select_one_with_sqlalchemy(postgres: Postgres) -> None:
    # Imported late: it needs greenlet, which SQLAlchemy 2.1 moved to its extra `asyncio`.
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(postgres.sqlalchemy_url("asyncpg"))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await engine.dispose()


def test_postgres_answers_asyncpg(postgres: Postgres) -> None:
    """The URL works with asyncpg alone."""
    asyncio.run(select_one_with_asyncpg(postgres))


def test_postgres_answers_sqlalchemy_over_asyncpg(postgres: Postgres) -> None:
    """The URL works with SQLAlchemy's asynchronous driver."""
    asyncio.run(select_one_with_sqlalchemy(postgres))


def test_services_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process and no file outlives a service."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # not tmp_path: the user that runs PostgreSQL cannot enter it
        monkeypatch.setattr("tempfile.tempdir", directory)
        with start_valkey(), start_postgres():
            assert len(list(Path(directory).iterdir())) == 2
        assert list(Path(directory).iterdir()) == []
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
