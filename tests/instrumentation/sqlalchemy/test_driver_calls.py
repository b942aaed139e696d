"""Statements observed at the driver's calls have the spans that contrib's listeners make of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.default import DefaultDialect

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.sqlalchemy.instrumentor import SQLAlchemyInstrumentation
from brain_otel.runtime.fast_paths import configure_fast_paths
from tests.instrumentation.test_private_names import SQLALCHEMY_ITSELF
from tests.support import ROOT
from tests.support.private_names import run_renamed
from tests.support.process import run_python
from tests.support.services import Postgres
from tests.support.tiers import quick_first

APP = ROOT / "tests/apps/statements.py"
DRIVERS = ("sqlite", "aiosqlite", "psycopg", "asyncpg")
STABLE = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,database"}

LISTENED_TO = {
    "listeners_that_change_statements",
    "listeners_that_come_late",
    "listeners_in_the_place_of_the_driver",
    "listeners_that_fail",
    "an_instrumentor_of_the_application",
}
"""Cases in which somebody else listens to statements, so that listeners observe all engines."""

Run = dict[str, tuple[Any, Any]]
"""A case -> what was seen on the fast path and without."""


@pytest.fixture(scope="module")
def run(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Run all cases with a driver, once for each set of variables."""

    @cache
    def statements(driver: str, stable: bool = True) -> Run:
        file = tmp_path_factory.mktemp("databases") / "database"
        urls = {"sqlite": f"sqlite:///{file}", "aiosqlite": f"sqlite+aiosqlite:///{file}"}
        env = {"URL": urls.get(driver) or postgres.sqlalchemy_url(driver), **(STABLE if stable else {})}
        done = run_python(APP, env, 60, pythonpath=[ROOT])
        assert done.returncode == 0, done.stderr
        found: Run = json.loads(done.stdout)
        return found

    return statements


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_case_has_the_same_spans_and_the_same_result(run: Callable[..., Run], driver: str) -> None:
    """And an exception passes through the same functions."""
    for name, (fast, contrib) in run(driver).items():
        assert fast["spans"] == contrib["spans"], name
        assert fast["result"] == contrib["result"], name


def test_old_conventions_are_contribs_own(run: Callable[..., Run]) -> None:
    """They are described by contrib's code on both ways."""
    found = run("sqlite", False)
    for name, (fast, contrib) in found.items():
        assert fast["spans"] == contrib["spans"], name
    assert "db.statement" in found["single_statements"][0]["spans"][0]["attributes"]


@pytest.mark.parametrize("driver", quick_first(DRIVERS))
def test_calls_are_observed_unless_somebody_else_listens(run: Callable[..., Run], driver: str) -> None:
    """Without fast paths they never are."""
    found = run(driver)
    assert {name for name, (fast, _) in found.items() if not fast["observes_calls"]} == LISTENED_TO
    assert not any(contrib["observes_calls"] for _, contrib in found.values())


def test_every_kind_of_execution_has_its_spans(run: Callable[..., Run]) -> None:
    """The last two spans of each case are those of an engine from before the instrumentation, and of the case."""

    def names(case: str) -> list[str]:
        return [span["name"].partition(" /")[0] for span in run("sqlite")[case][0]["spans"][:-2]]

    assert names("single_statements") == ["SELECT"] * 5 + ["INSERT", "UPDATE", "DELETE"]
    assert names("many_parameters")[:3] == ["INSERT", "BATCH INSERT", "DELETE"]
    assert names("failing_cursors") == names("unreachable_databases") == []
    assert names("silence") == ["SELECT"]
    assert names("dialects_of_others") == ["SELECT"] * 3
    statuses = [span["status"][0] for span in run("sqlite")["failures"][0]["spans"]]
    assert statuses == ["ERROR"] * 5 + ["UNSET"] * 2


@pytest.mark.parametrize("name", quick_first([each.identifier for each in SQLALCHEMY_ITSELF]))
def test_listeners_observe_a_sqlalchemy_without_a_name(name: str, tmp_path: Path) -> None:
    """Renamed upstream, it costs no span."""
    entry = next(each for each in SQLALCHEMY_ITSELF if each.identifier == name)
    code = run_renamed([entry], f"import runpy; runpy.run_path({str(APP)!r}, run_name='__main__')")
    env = {"URL": f"sqlite:///{tmp_path}/database", **STABLE}
    done = run_python(code, env, pythonpath=[ROOT], arguments=["single_statements", "failures"], fresh=True)
    assert done.returncode == 0, done.stderr
    for fast, contrib in json.loads(done.stdout).values():
        assert fast["spans"] == contrib["spans"]
        assert not fast["observes_calls"]


@pytest.fixture
def instrumentation() -> Iterator[SQLAlchemyInstrumentation]:
    made = SQLAlchemyInstrumentation()
    Engine._has_events = False  # another test may have listened, and SQLAlchemy never resets it
    configure_fast_paths(True)
    made.instrument(InstrumentationSettings())
    yield made
    made.uninstrument()


@pytest.mark.usefixtures("instrumentation")
def test_nobody_listens_to_an_engine() -> None:
    """So SQLAlchemy dispatches no events."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        assert not connection._has_events
    assert not engine._has_events
    engine.dispose()


def test_everything_is_put_back(instrumentation: SQLAlchemyInstrumentation) -> None:
    """The methods of the connection and of the dialect's class."""
    engine = create_engine("sqlite://")
    with engine.connect():
        assert all(hasattr(each, "__wrapped__") for each in (Connection.__init__, DefaultDialect.do_execute))
    instrumentation.uninstrument()
    assert not any(hasattr(each, "__wrapped__") for each in (Connection.__init__, DefaultDialect.do_execute))
    engine.dispose()


@pytest.mark.usefixtures("instrumentation")
def test_a_listener_that_comes_during_a_connection_loses_no_span() -> None:
    """Its engine's next connection brings our listeners; until then the driver's calls are observed."""
    engine = create_engine("sqlite://")
    seen: list[Any] = []
    with engine.connect() as connection:
        event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[4]))
        event.listen(engine, "after_cursor_execute", lambda *given: seen.append(given[4]._otel_span))
        connection.execute(text("SELECT 1"))
        assert hasattr(DefaultDialect.do_execute, "__wrapped__")
    with engine.connect() as connection:
        connection.execute(text("SELECT 2"))
        assert not hasattr(DefaultDialect.do_execute, "__wrapped__")
    assert isinstance(seen[3], trace.Span)
    engine.dispose()


@pytest.mark.thorough
def test_sqlalchemy_2_0_has_the_same_spans(tmp_path: Path) -> None:
    """In an environment with the older release."""
    command = ["uv", "run", "--isolated", "--no-project", "--python", sys.executable, "--with-editable", str(ROOT)]
    command += ["--with", "sqlalchemy[asyncio]>=2.0,<2.1", "--with", "aiosqlite", "python", str(APP)]
    for driver in ("sqlite", "sqlite+aiosqlite"):
        env = {**os.environ, **STABLE, "URL": f"{driver}:///{tmp_path}/database", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        for name, (fast, contrib) in json.loads(done.stdout).items():
            assert fast["spans"] == contrib["spans"], name
            assert fast["result"] == contrib["result"], name
            assert fast["observes_calls"] is (name not in LISTENED_TO)
