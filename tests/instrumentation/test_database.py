"""What a call to a database says of its operation and of its failure."""

import sqlite3
from typing import Any

import pytest
import redis
from sqlalchemy.dialects.postgresql import asyncpg as adapter

from brain_otel.instrumentation.database import batch_size, failure_attributes, statement_operation


def error_of(module: str, name: str, *args: Any, **attributes: Any) -> Exception:
    kind: type[Exception] = type(name, (Exception,), {"__module__": module, **attributes})
    made: Exception = kind(*args)
    return made


def adapted(cause: Exception) -> Exception:
    """What SQLAlchemy raises for an exception of asyncpg."""
    wrapped = type("IntegrityError", (Exception,), {"__module__": adapter.__name__})("wrapped")
    wrapped.__cause__ = cause
    made: Exception = wrapped
    return made


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (
            error_of("psycopg.errors", "UniqueViolation", "no", sqlstate="23505"),
            "psycopg.errors.UniqueViolation",
            "23505",
        ),
        (error_of("psycopg2", "OperationalError", "no", pgcode=None), "psycopg2.OperationalError", None),
        (error_of("psycopg2.errors", "X", "no", pgcode="40001"), "psycopg2.errors.X", "40001"),
        (error_of("pymysql.err", "IntegrityError", 1062, "duplicate"), "pymysql.err.IntegrityError", "1062"),
        (error_of("asyncmy.errors", "OperationalError", 2003, "no"), "asyncmy.errors.OperationalError", "2003"),
        (adapted(error_of("asyncpg.exceptions", "Unique", sqlstate="23505")), "asyncpg.exceptions.Unique", "23505"),
        (redis.ResponseError("WRONGTYPE Operation against a key"), "redis.exceptions.ResponseError", "WRONGTYPE"),
        (redis.exceptions.NoScriptError("no", status_code="NOSCRIPT"), "redis.exceptions.NoScriptError", "NOSCRIPT"),
        (redis.ResponseError("unknown command"), "redis.exceptions.ResponseError", None),
        (redis.ConnectionError("Error 111 connecting"), "redis.exceptions.ConnectionError", None),
        (OSError(111, "refused"), "ConnectionRefusedError", None),
        (TimeoutError(), "TimeoutError", None),
    ],
)
def test_a_failure_has_its_class_and_the_databases_code(error: Exception, kind: str, code: str | None) -> None:
    """The driver's class and not SQLAlchemy's; a number that is no code of the database is none."""
    found = failure_attributes(error)
    assert found.pop("error.type") == kind
    assert found == ({} if code is None else {"db.response.status_code": code})


def test_sqlite_names_its_codes() -> None:
    """The extended code."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE a (b UNIQUE)")
    with pytest.raises(sqlite3.IntegrityError) as caught:
        connection.executemany("INSERT INTO a VALUES (?)", [(1,), (1,)])
    connection.close()
    expected = {"error.type": "sqlite3.IntegrityError", "db.response.status_code": "SQLITE_CONSTRAINT_UNIQUE"}
    assert failure_attributes(caught.value) == expected


@pytest.mark.parametrize(
    ("statement", "size", "operation"),
    [
        ("SELECT 1", None, "SELECT"),
        ("  select 1", None, "SELECT"),
        ("/* shop */ -- more\n UPDATE a SET b = 1", None, "UPDATE"),
        ("(SELECT 1) UNION SELECT 2", None, "SELECT"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", None, "WITH"),
        ("INSERT INTO a VALUES (1)", 3, "BATCH INSERT"),
        ("/* nothing */", None, None),
        ("/* nothing */", 2, "BATCH"),
        ("'secret'", None, None),
        (b"SELECT 1", None, None),
    ],
)
def test_the_operation_of_a_statement(statement: Any, size: int | None, operation: str | None) -> None:
    """Its first word, in capitals, without its database and its values."""
    assert statement_operation(statement, size) == operation


@pytest.mark.parametrize(
    ("parameters", "many", "size"),
    [
        ([{"id": 1}, {"id": 2}], True, 2),
        ([(1,), (2,), (3,)], True, 3),
        ([{"id": 1}], True, None),
        ([], True, None),
        ((1, 2), True, None),  # one INSERT with many rows (SQLAlchemy's "insertmanyvalues")
        ([1, 2], True, None),
        ({"id": 1}, False, None),
    ],
)
def test_two_parameter_sets_are_a_batch(parameters: Any, many: bool, size: int | None) -> None:
    """One statement with one set is a statement."""
    assert batch_size(parameters, many) == size
