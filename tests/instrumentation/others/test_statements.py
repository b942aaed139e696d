"""Statements of drivers end as without telemetry, whatever they and their parameters are, and have their text."""

import json
from typing import Any

import pytest

from brain_otel.instrumentation.others.statements import composed_text, statement_first
from tests.instrumentation.process import run_traced
from tests.support import ROOT
from tests.support.services import Postgres
from tests.support.tiers import thorough

SCRIPT = ROOT / "tests" / "apps" / "hostile_drivers.py"


@thorough
def test_odd_statements_end_as_without_telemetry(postgres: Postgres) -> None:
    """In one process before `setup()`, with it and after `shutdown()`, by psycopg's two clients and asyncpg."""
    env = {"POSTGRES_URL": postgres.url, "PYTHONWARNINGS": "ignore"}
    lines = run_traced(SCRIPT, env).output.splitlines()
    result = json.loads(next(line for line in lines if line.startswith('{"ended"')))
    assert len(result["ended"]) > 160
    assert result["different"] == {}
    assert [line for line in result["failures"] if "StopAsyncIteration" in line] == []


CALLS: list[tuple[Any, Any, Any]] = [
    (("SELECT 1", 5), {"timeout": 1}, (("SELECT 1", 5), {"timeout": 1})),
    ((), {"query": "SELECT 1", "params": (1,)}, (("SELECT 1",), {"params": (1,)})),
    ((), {"command": "SELECT 1", "args": []}, (("SELECT 1",), {"args": []})),
    ((), {"operation": "SELECT 1"}, (("SELECT 1",), {})),
    (("SELECT 1",), {"query": "twice"}, (("SELECT 1",), {"query": "twice"})),
    ((), {"timeout": 1}, ((), {"timeout": 1})),
]


@pytest.mark.parametrize(("args", "kwargs", "expected"), CALLS)
def test_a_statement_that_has_a_name_comes_first(args: Any, kwargs: Any, expected: Any) -> None:
    """A call that the driver rejects stays as it is."""
    assert statement_first(args, kwargs) == expected


def composed_statements() -> list[tuple[Any, str]]:
    from psycopg import sql

    class Part(sql.Composable):
        """A part of the application's, which nobody asks."""

        def as_string(self, context: Any = None) -> str:
            raise AssertionError(context)

        as_bytes = as_string  # type: ignore[assignment]

    return [
        (sql.SQL("SELECT 1"), "SELECT 1"),
        (
            sql.SQL("SELECT {} FROM {}").format(sql.Literal("secret"), sql.Identifier("a", 'b"')),
            'SELECT ? FROM "a"."b"""',
        ),
        (sql.SQL("VALUES ({}, {})").format(sql.Placeholder(), sql.Placeholder("b")), "VALUES (%s, %(b)s)"),
        (sql.Composed([sql.Composed([sql.SQL("SELECT "), Part("x")])]), "SELECT ?"),
        (sql.Composed([]), ""),
        (Part("x"), "?"),
    ]


@pytest.mark.parametrize("number", range(6))
def test_a_composed_statement_has_its_text_without_its_literals(number: int) -> None:
    """Psycopg's own text of each part but literals."""
    composed, text = composed_statements()[number]
    assert composed_text(composed, None) == text
    if "?" not in text:
        assert composed.as_string(None) == text


def test_psycopgs_parts_have_these_names() -> None:
    """In the module by which they are told from the application's."""
    import psycopg
    from psycopg import sql

    for kind in (sql.Composed, sql.SQL, sql.Identifier, sql.Placeholder):
        assert (kind.__module__, kind.__base__) == ("psycopg.sql", sql.Composable)
    assert psycopg.sql is sql
