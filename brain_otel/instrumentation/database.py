"""Facts of a database call that the semantic conventions ask for and contrib does not set, for spans and metrics.

https://opentelemetry.io/docs/specs/semconv/database/database-spans/
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.semconv.attributes import db_attributes, error_attributes
from opentelemetry.trace import Span

from brain_otel.events.attributes import class_name
from brain_otel.privacy.sql import sql_operation
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.lazy_regex import expression

_MAX_CACHED = 4_096
"""Characters; the operation of a longer statement is not cached, since it may hold megabytes of values."""

_OPERATION = expression(r"\s*+([A-Za-z][A-Za-z._]{0,31})(?![\w.])")

_CODES = ("sqlstate", "pgcode", "sqlite_errorname", "status_code")
"""Attributes of exceptions that may hold the database's code: of psycopg, asyncpg, psycopg2, sqlite3, redis."""

_NUMBERED = frozenset({"MySQLdb", "pymysql", "aiomysql", "asyncmy", "mysql"})
"""Drivers whose exceptions have the database's number as their first argument."""

_REDIS_WORD = expression(r"[A-Z][A-Z0-9]{2,31}(?= |$)")
"""The first word of an error of Redis: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors."""


def operation_name(text: Any) -> str | None:
    """The first word of a statement or command, in capitals; None if it does not begin with a word."""
    found = _OPERATION.match(text) if isinstance(text, str) else None
    return found[1].upper() if found else None


def statement_operation(statement: Any, size: int | None = None) -> str | None:
    """The ``db.operation.name`` of an SQL statement, executed ``size`` times in a batch if that is not None."""
    if not isinstance(statement, str):
        return None
    name = (_cached_operation if len(statement) <= _MAX_CACHED else _cached_operation.__wrapped__)(statement)
    return name if size is None else f"BATCH {name}" if name else "BATCH"


@lru_cache(maxsize=1_024)
def _cached_operation(statement: str) -> str | None:
    return operation_name(sql_operation(statement))


def batch_size(parameters: Any, many: bool) -> int | None:
    """The number of parameter sets of an ``executemany``; None if it is no batch, which has two or more."""
    if not many or not isinstance(parameters, list) or len(parameters) < 2:
        return None
    is_set = isinstance(parameters[0], (Mapping, Sequence)) and not isinstance(parameters[0], (str, bytes))
    return len(parameters) if is_set else None


def failure_attributes(error: BaseException) -> dict[str, str]:
    """The class of a driver's exception, and the database's own code if it has one."""
    original = error
    if type(error).__module__.startswith("sqlalchemy.") and error.__cause__ is not None:
        original = error.__cause__  # SQLAlchemy wraps what a driver without DB-API classes raises
    found = {error_attributes.ERROR_TYPE: class_name(type(original))}
    code = _status_code(original)
    return found if code is None else {**found, db_attributes.DB_RESPONSE_STATUS_CODE: code}


def _status_code(error: BaseException) -> str | None:
    for name in _CODES:
        code = getattr(error, name, None)
        if isinstance(code, str) and code:
            return code
    module = type(error).__module__.partition(".")[0]
    first = error.args[0] if error.args else None
    if module in _NUMBERED and type(first) is int:
        return str(first)
    word = _REDIS_WORD.match(first) if module in ("redis", "valkey") and isinstance(first, str) else None
    return word[0] if word else None


def record_failure(span: Span, error: BaseException) -> None:
    """Set the attributes of a failure on the span of a call that raised ``error``."""
    with guarded("describing the failure of a call to a database"):
        if span.is_recording():
            span.set_attributes(failure_attributes(error))
