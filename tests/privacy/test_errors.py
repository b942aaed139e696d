"""Tests of errors that databases, drivers and validators write, with values that try to escape."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from brain_otel.privacy import Policy
from brain_otel.privacy.errors import database_error_without_values
from tests.support.services import Postgres

POLICY = Policy()
VALUES = (
    "zqsecret",
    "zqsecret\nzqsecret",
    "a) already exists.\nzqsecret",
    'it\'s "zqsecret" ok',
    "]\n(Background on zqsecret",
    "a, zqsecret), (b",
)
FAILING = (
    "INSERT INTO zq_people (id, email) VALUES (1, %(value)s)",
    "INSERT INTO zq_people (id, email, town) VALUES (2, %(value)s, NULL)",
    "INSERT INTO zq_people (id, email) VALUES (3, %(value)s), (4, %(value)s)",
    "INSERT INTO zq_orders VALUES (%(value)s)",
    "SELECT CAST(%(value)s AS integer)",
    "SELECT CAST(%(value)s AS date)",
    "SELECT CAST(%(value)s AS jsonb)",
    "SELECT CAST(%(value)s AS integer[])",
    "SELECT CAST(%(value)s AS zq_colour)",
    "SELECT CAST(%(value)s AS point)",
    "INSERT INTO zq_short VALUES (%(value)s)",
    "SELECT 1 WHERE a = 'zqsecret'",
    "SELECT 'it'zqsecret'",
    "SELECT 'a' LIKE'zqsecret' zqsecret 'zqsecret'",
    "SELECT * FROM zq_people WHERE id = 'zqsecret'",
)


@pytest.fixture(scope="module")
def connection(postgres: Postgres) -> Iterator[Any]:
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(
            "DROP TABLE IF EXISTS zq_orders, zq_people, zq_short; DROP TYPE IF EXISTS zq_colour;"
            "CREATE TABLE zq_people (id int PRIMARY KEY, email text UNIQUE CHECK (id <> 1),"
            " town text NOT NULL DEFAULT 'a');"
            "CREATE TABLE zq_orders (buyer text REFERENCES zq_people (email));"
            "CREATE TABLE zq_short (a varchar(3)); CREATE TYPE zq_colour AS ENUM ('red')"
        )
        yield connection


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("statement", FAILING)
def test_no_error_of_postgresql_shows_a_value(connection: Any, statement: str, value: str) -> None:
    import psycopg

    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement, {"value": value})
    message = str(caught.value)
    shown = POLICY.text(message)
    assert "zqsecret" not in shown
    assert "zqsecret" not in POLICY.text(repr(caught.value))
    assert shown.startswith(message.partition(":")[0].partition('"')[0][:18])


@pytest.mark.parametrize("value", VALUES)
def test_no_error_of_sqlite_shows_a_value(value: str) -> None:
    engine = create_engine("sqlite://")
    quoted = value.replace("'", "''")
    for statement in (
        "SELECT * FROM missing WHERE a = :value",
        f"SELECT * FROM missing WHERE a = '{quoted}' OR b LIKE'{quoted}'".replace(":", "\\:"),
        'SELECT 1 "zqsecret" "zqsecret"',
        "SELECT 'zqsecret",
    ):
        with engine.connect() as connection, pytest.raises(SQLAlchemyError) as caught:
            connection.execute(text(statement), {"value": value} if ":value" in statement else {})
        shown = POLICY.text(str(caught.value))
        assert "zqsecret" not in shown
        assert "(Background on this error at: https://sqlalche.me/" in shown
    engine.dispose()


def test_sqlite_quotes_what_it_does_not_understand() -> None:
    for statement in ("zqsecret", "SELECT 1 'zqsecret' 'zqsecret'", "SELECT 'zqsecret"):
        with closing(sqlite3.connect(":memory:")) as database, pytest.raises(sqlite3.OperationalError) as caught:
            database.execute(statement)
        assert "zqsecret" in str(caught.value)
        assert "zqsecret" not in POLICY.text(str(caught.value))


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Duplicate entry 'a' for key 'b' for key 't.a'", "Duplicate entry '?' for key 't.a'"),
        ("right syntax to use near 'a' at line 1 b'' at line 1", "right syntax to use near '?' at line 1"),
        ("(1366, \"Incorrect integer value: 'a\nb' for column 'age' at row 1\")", None),
        ("(1292, \"Truncated incorrect DOUBLE value: 'ab'\")", None),
        ("(1690, \"BIGINT UNSIGNED value is out of range in '(5 - ab)'\")", None),
        ("(3140, 'Invalid JSON text: \"ab\" at position 1 in value for column')", None),
        ("Unknown column 'town' in 'field list'", "Unknown column 'town' in 'field list'"),
        ("Access denied for user 'shop'@'10.0.0.3' (using password: YES)",) * 2,
    ],
)
def test_messages_of_mysql(message: str, shown: str | None) -> None:
    """As MySQL 8.4's ``messages_to_clients.txt`` words them."""
    found = database_error_without_values(message)
    if shown is None:
        assert "b" not in found.replace("Double", "").replace("BIGINT", "").partition("value")[2].partition("for")[0]
    else:
        assert found == shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("[SQL: SELECT 'it'zq' || %(v)s]\n[parameters: {'v': 'zq'}]\n(Background on this error at: https://x)",
         "[SQL: [Filtered]]\n(Background on this error at: https://x)"),
        ("[SQL: SELECT 'it'zq' || %(v)s]\n[parameters: {'v': 'zq'}]", "[SQL: [Filtered]]"),
        ("[SQL: SELECT 'a]\n[parameters: b' || :v]\n[parameters: ('zq',)]", "[SQL: [Filtered]]"),
        ("[SQL: SELECT 'a' || :v]\n[parameters: ('zq',\n 'zq')]", "[SQL: SELECT ? || :v]\n[parameters: [Filtered]]"),
        ("[SQL: SELECT 'a' FROM t", "[SQL: SELECT ? FROM t"),
    ],
)  # fmt: skip
def test_a_literal_without_an_end_hides_no_parameters(error: str, shown: str) -> None:
    """The statement is masked as a whole if a literal may reach beyond it."""
    assert database_error_without_values(f"(a.B) refused\n{error}") == f"(a.B) refused\n{shown}"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("for query argument $1: 'zq' (an integer is required (got type str))",) * 2,
        ("for query argument $1: 'zq' ('str' object cannot be interpreted as an integer)",) * 2,
        ("for query argument $1: 'zq' (invalid UUID 'zq': length must be between 32..36)", "$1: ?"),
        ("for query argument $2: 'zq' ('zq' does not appear to be an IPv4 or IPv6 address)", "$2: ?"),
        ("invalid UUID 'zq': length must be between 32..36 characters, got 2", "invalid UUID '?': length"),
        ("ValueError: 'zq' does not appear to be an IPv4 or IPv6 network", "'?' does not appear"),
    ],
)
def test_the_reason_that_a_driver_gives_stays_without_the_value(message: str, shown: str) -> None:
    found = database_error_without_values(f"invalid input {message}")
    assert shown.replace("'zq' ", "? ").partition("invalid input ")[2] in found
    assert "zq" not in found


@pytest.mark.parametrize(
    "line",
    [
        "[generated in 0.00012s] ('zqsecret', 1)",
        "[cached since 2.1s ago] {'name': 'zqsecret'}",
        "2026-11-28 INFO sqlalchemy.engine.Engine [raw sql] ('zqsecret',)",
    ],
)
def test_the_parameters_that_an_engine_echoes_are_masked(line: str) -> None:
    assert database_error_without_values(line) == f"{line.partition('] ')[0]}] [Filtered]"


@pytest.mark.parametrize(
    "driver", ["psycopg.errors.X", "sqlalchemy.dialects.postgresql.asyncpg.Error", "sqlite3.X", "aiosqlite.X", "a.B"]
)
@pytest.mark.parametrize(
    "driver_of_mysql", ["pymysql.err.X", "MySQLdb.X", "aiomysql.X", "asyncmy.errors.X", "mysql.X"]
)
def test_the_driver_names_the_grammar(driver: str, driver_of_mysql: str) -> None:
    """Double quotes enclose literals in MySQL and names elsewhere."""
    error = '({}) refused\n[SQL: SELECT "Name" FROM t]\n(Background on this error at: https://sqlalche.me/e/20/f405)'
    assert '[SQL: SELECT "Name" FROM t]' in database_error_without_values(error.format(driver))
    assert "[SQL: SELECT ? FROM t]" in database_error_without_values(error.format(driver_of_mysql))


@given(
    st.recursive(st.text(max_size=20), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner))
)
def test_parameters_are_masked_up_to_their_own_bracket(parameters: object) -> None:
    error = (
        "(a.B) refused\n[SQL: SELECT 1]\n[parameters: {!r}]\n(Background on this error at: https://sqlalche.me/e/1)"
    )
    shown = database_error_without_values(error.format((parameters, "x")))
    assert shown == (
        "(a.B) refused\n[SQL: SELECT ?]\n[parameters: [Filtered]]\n(Background on this error at: https://sqlalche.me/e/1)"
    )


@given(before=st.text(max_size=30), value=st.text(max_size=30), after=st.text("abc d)(\n\"'.", max_size=30))
def test_a_row_is_masked_whatever_stands_around_it(before: str, value: str, after: str) -> None:
    message = f"{before}\nDETAIL:  Failing row contains (1, {value}zqsecret, null).{after}"
    assert "zqsecret" not in database_error_without_values(message)


@pytest.mark.parametrize(
    "message",
    [
        "select an item from the list 'shoes'",
        "pick near 'the door'",
        'relation "people" does not exist',
        "the key (a)=(b)",
        "update: version '2' is out",
        "SELECT id FROM t /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/",
        "1 validation error for Order\ncount\n  Field required [type=missing, input_value={}, input_type=dict]",
    ],
)
def test_other_messages_stay(message: str) -> None:
    assert POLICY.text(message) == message


def test_the_rejected_value_of_jsonschema_is_masked() -> None:
    message = (
        "'zqsecret' is not of type 'integer'\n\nFailed validating 'type' in schema['properties']['age']:\n"
        "    {'type': 'integer'}\n\nOn instance['age']:\n    'zqsecret'"
    )
    shown = POLICY.text(message)
    assert "zqsecret" not in shown
    assert "zqsecret" not in POLICY.text(repr(message))
    assert "Failed validating 'type' in schema['properties']['age']" in shown
    assert Policy(send_default_pii=True).text(message) == message


def rejected(*fields: str) -> str:
    """A message of pydantic's about these fields."""
    lines = [
        f"{field}\n  Input should be a valid integer [type=int_parsing, input_value='zq{number}', input_type=str]"
        for number, field in enumerate(fields)
    ]
    return "\n".join([f"{len(fields)} validation errors for Account", *lines])


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (["api_key"], []),
        (["name", "buyer.password", "town"], ["zq0", "zq2"]),
        (["cards.0.card_number", "body.token", "name"], ["zq2"]),
        (["name"], ["zq0"]),
    ],
)
def test_with_personal_data_inputs_of_secret_fields_are_masked(fields: list[str], shown: list[str]) -> None:
    """Without it every input is."""
    text = rejected(*fields)
    inputs = [f"zq{number}" for number in range(len(fields))]
    assert [each for each in inputs if each in Policy(send_default_pii=True).text(text)] == shown
    assert [each for each in inputs if each in Policy().text(text)] == []


@pytest.mark.parametrize(("field", "is_shown"), [("password", False), ("town", True)])
def test_with_personal_data_instances_of_secret_fields_are_masked(field: str, is_shown: bool) -> None:
    """Jsonschema names the field at the end."""
    text = (
        f"'zq' is not of type 'integer'\n\nFailed validating 'type' in schema['properties']['{field}']:\n"
        f"    {{'type': 'integer'}}\n\nOn instance['{field}']:\n    'zq'"
    )
    assert ("'zq'" in Policy(send_default_pii=True).text(text)) is is_shown
    assert "'zq'" not in Policy().text(text)


@pytest.mark.parametrize(
    "message",
    [
        "(1062, \"Duplicate entry 'ida-zq' for key 'a.b'\")",
        "E: invalid input syntax for type date: \"zq\" and 'a'",
        "right syntax to use near 'a' AND b='zq'' at line 1 \"x\"",
        "'x' \"y\" Incorrect integer value: 'zq' for column 'n' at row 1",
    ],
)
def test_errors_within_a_repr_are_masked(message: str) -> None:
    """It escapes the quotes."""
    for shown in (POLICY.text(message), POLICY.text(repr(message)), POLICY.text(json.dumps({"e": message}))):
        assert "zq" not in shown


def test_with_personal_data_a_secret_field_within_a_repr_is_masked() -> None:
    """It escapes the line breaks that stand around the field's name."""
    assert "zq0" not in Policy(send_default_pii=True).text(repr(rejected("gate_password")))
    assert "zq0" in Policy(send_default_pii=True).text(repr(rejected("town")))
