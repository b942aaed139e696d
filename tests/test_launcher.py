"""Tests of set-up by `setup()` and by the launcher, at any time."""

import shutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.instrumentation.process import Outcome, run_traced
from tests.instrumentation.target import start_target
from tests.support import ROOT
from tests.support.services import Valkey

SCRIPT = ROOT / "tests" / "apps" / "import_order.py"

ORDERS = ("first", "after imports", "after objects", "launcher")

#: The end of each library's description in the transaction; FastAPI's span is the transaction itself.
LIBRARIES = {
    "FastAPI": "GET /everything/{item_id}",
    "SQLAlchemy sync": "SELECT ? AS sync",
    "SQLAlchemy async": "SELECT ? AS async",
    "Redis sync": "APPEND import_order ?",
    "Redis async": "STRLEN import_order",
    "HTTPX sync": "/sync",
    "HTTPX async": "/async",
}

#: Defines a function that sends a request to `app`, which the script has to create.
ASK = """
import asyncio, httpx
def ask(path):
    async def asking():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app.test") as client:
            return (await client.get(path)).status_code
    return asyncio.run(asking())
"""

APP = """
from fastapi import FastAPI
app = FastAPI()
@app.get("/items/{item_id}")
async def item(item_id: str): return item_id
"""

ONE_REQUEST = APP + ASK + "assert ask('/items/1') == 200\n"

OTHERS_EXPORTERS = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
"""opentelemetry-distro needs an OTLP exporter by default, which need not be installed."""

OTHERS_SPANS = {**OTHERS_EXPORTERS, "OTEL_TRACES_EXPORTER": "console"}

HOW_TO_CHOOSE = "set OTEL_PYTHON_DISTRO=brain_otel and OTEL_PYTHON_CONFIGURATOR=brain_otel"


@pytest.fixture(scope="module")
def outcome_of(valkey: Valkey) -> Callable[[str], Outcome]:
    """Run the script in an order, once for all tests of the order."""

    @cache
    def run(order: str) -> Outcome:
        with start_target() as target:
            env = {"ORDER": order, "REDIS_URL": valkey.url, "HTTP_URL": target.url}
            return run_traced(SCRIPT, env, launcher=order == "launcher")

    return run


def described(outcome: Outcome) -> list[str]:
    """Return the names of all transactions and spans that arrived."""
    spans = [span for transaction in outcome.transactions for span in transaction["spans"]]
    return [*outcome.names, *(str(span["description"]) for span in spans)]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_library_is_traced_once_whenever_setup_is_called(
    outcome_of: Callable[[str], Outcome], order: str, library: str
) -> None:
    """An operation is one span, in each order of set-up, imports and objects."""
    outcome = outcome_of(order)
    found = [each for each in described(outcome) if each.endswith(LIBRARIES[library])]
    assert len(found) == 1, described(outcome)


@pytest.mark.parametrize("order", ORDERS)
def test_there_is_one_trace_without_other_spans(outcome_of: Callable[[str], Outcome], order: str) -> None:
    """The seven spans belong to one trace."""
    outcome = outcome_of(order)
    assert len(described(outcome)) == len(LIBRARIES), described(outcome)
    root = outcome.transactions[0]["contexts"]["trace"]
    parents = {(span["trace_id"], span["parent_span_id"]) for span in outcome.transactions[0]["spans"]}
    assert parents == {(root["trace_id"], root["span_id"])}


def test_setup_after_a_request_warns_and_traces_the_next() -> None:
    """An app that has served a request keeps working and is traced from then on."""
    outcome = run_traced(
        APP + ASK + "assert ask('/items/1') == 200\n"
        "import brain_otel; brain_otel.setup()\n"
        "assert ask('/items/2') == 200; assert ask('/items/3') == 200; assert ask('/nowhere') == 404\n"
    )
    assert outcome.names == ["GET /items/{item_id}", "GET /items/{item_id}", "GET /nowhere"]
    assert outcome.output.count("had built its middleware before brain_otel.setup()") == 1


def test_middleware_is_created_once_if_setup_is_called_late() -> None:
    """The middleware of an app that has served requests keeps its state."""
    made_once = """
made = []
class Counting:
    def __init__(self, app): self.app = app; made.append(self)
    async def __call__(self, *arguments): await self.app(*arguments)
app.add_middleware(Counting)
"""
    outcome = run_traced(
        APP + ASK + made_once + "ask('/items/1'); import brain_otel; brain_otel.setup(); ask('/items/2')\n"
        "assert len(made) == 1, made\n"
    )
    assert outcome.names == ["GET /items/{item_id}"]


def test_a_second_setup_warns_and_changes_nothing() -> None:
    """The first set-up stays as it was, and each request is traced once."""
    outcome = run_traced(
        "import brain_otel; brain_otel.setup(); brain_otel.setup(environment='test')\n" + ONE_REQUEST
    )
    assert outcome.output.count("brain_otel is set up already; this setup() changes nothing") == 1
    assert outcome.transaction("GET /items/{item_id}")["environment"] == "production"


def test_setup_under_the_launcher_logs_no_warning() -> None:
    """The application's call changes nothing, and each request is traced once."""
    outcome = run_traced("import brain_otel; brain_otel.setup()\n" + ONE_REQUEST, launcher=True)
    assert outcome.names == ["GET /items/{item_id}"]
    assert "set up already" not in outcome.output


def test_contribs_lines_about_a_version_that_we_instrument_are_dropped() -> None:
    """Contrib's instrumentation of SQLAlchemy ends with 2.0. Of another library we say more, when it is imported."""
    used = (
        "import logging, sqlalchemy\n"
        "from opentelemetry.instrumentation.auto_instrumentation import _load\n"
        "from opentelemetry.instrumentation.dependencies import DependencyConflict\n"
        "for name in ('redis', 'httpx', 'pika', 'redis-om'):\n"
        "    DependencyConflict(f'{name}<1', f'{name} 2')._log(_load._logger, name)\n"
        "from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor\n"
        "SQLAlchemyInstrumentor().instrument()\n"
    )
    outcome = run_traced(used + ONE_REQUEST, launcher=True)
    lines = [line.partition(" only")[0] for line in outcome.output.splitlines() if "can be instrumented" in line]
    assert lines == []


def test_a_second_setup_under_the_launcher_warns() -> None:
    """One call is expected under the launcher, a second is not."""
    outcome = run_traced("import brain_otel; brain_otel.setup(); brain_otel.setup()\n" + ONE_REQUEST, launcher=True)
    assert outcome.names == ["GET /items/{item_id}"]
    assert outcome.output.count("set up already") == 1


def test_the_launcher_logs_a_wrong_configuration_and_the_app_runs() -> None:
    """The app answers the request, and nothing is sent."""
    outcome = run_traced(ONE_REQUEST, {"SENTRY_TRACES_SAMPLE_RATE": "2"}, launcher=True)
    assert "SENTRY_TRACES_SAMPLE_RATE" in outcome.output
    assert "the application runs without telemetry" in outcome.output
    assert HOW_TO_CHOOSE not in outcome.output
    assert (outcome.transactions, outcome.events) == ([], [])


def other_distro_first(directory: Path) -> tuple[Path, ...]:
    """Create a directory; first on the path, it makes the launcher find opentelemetry-distro before us."""
    files = distribution("opentelemetry-distro").files or []
    metadata = next(Path(str(file.locate())).parent for file in files if file.name == "entry_points.txt")
    shutil.copytree(metadata, directory / metadata.name)
    return (directory,)


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param({}, id="nothing chosen"),
        pytest.param(
            {"OTEL_PYTHON_DISTRO": "brain_otel", "OTEL_PYTHON_CONFIGURATOR": "brain_otel"},
            id="ours chosen",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            {"OTEL_PYTHON_CONFIGURATOR": "brain_otel"}, id="our configurator chosen", marks=pytest.mark.thorough
        ),
        pytest.param(
            {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "brain_otel"},
            id="their distro",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_beside_another_distro_a_request_is_traced_once(choice: dict[str, str]) -> None:
    """opentelemetry-distro creates no second span if our configurator runs."""
    outcome = run_traced(ONE_REQUEST, choice, launcher=True)
    assert outcome.names == ["GET /items/{item_id}"]
    assert outcome.transactions[0]["spans"] == []


def test_beside_another_distro_the_users_variable_has_effect() -> None:
    """Only variables that the other distro has set are removed."""
    theirs = {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "brain_otel"}
    outcome = run_traced(ONE_REQUEST, {**theirs, "OTEL_TRACES_EXPORTER": "console"}, launcher=True)
    assert outcome.transactions == []
    assert "GET /items/{item_id}" in outcome.output


@pytest.mark.parametrize(
    ("choice", "other_first"),
    [
        pytest.param({"OTEL_PYTHON_CONFIGURATOR": "configurator"}, False, id="their configurator"),
        pytest.param(
            {"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "configurator"},
            False,
            id="both theirs",
            marks=pytest.mark.thorough,
        ),
        pytest.param({}, True, id="theirs found first", marks=pytest.mark.thorough),
    ],
)
def test_the_log_says_how_to_choose_our_configurator(
    tmp_path: Path, choice: dict[str, str], other_first: bool
) -> None:
    """If another one is chosen, it traces the app, and one line names the two variables to set."""
    path = other_distro_first(tmp_path) if other_first else ()
    outcome = run_traced(ONE_REQUEST, {**OTHERS_SPANS, **choice}, launcher=True, pythonpath=path)
    assert outcome.output.count(HOW_TO_CHOOSE) == 1, outcome.output
    assert outcome.transactions == []
    assert outcome.output.count('"name": "GET /items/{item_id}"') == 1, outcome.output


def test_a_warning_names_an_instrumentation_used_before_setup() -> None:
    """Contrib decides once per process which names attributes have; `setup()` is then too late to choose."""
    code = (
        "from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor\n"
        "HTTPXClientInstrumentor().instrument(skip_dep_check=True)\nimport brain_otel; brain_otel.setup()\n"
    )
    assert run_traced(code).output.count("go on with the old names of attributes") == 1
    chosen = run_traced(code, {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,database"})
    assert "old names" not in chosen.output


def test_contribs_module_may_be_imported_after_setup() -> None:
    """The module imports the library, which is then traced."""
    outcome = run_traced(
        "import brain_otel; brain_otel.setup()\n"
        "from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor\n" + ONE_REQUEST
    )
    assert outcome.names == ["GET /items/{item_id}"]


def test_setup_imports_no_library_that_the_process_does_not_use() -> None:
    """An instrumentation waits for the import of its library."""
    outcome = run_traced(
        "import sys, brain_otel; brain_otel.setup()\n"
        "print('found', [each for each in ('fastapi', 'sqlalchemy', 'redis', 'httpx') if each in sys.modules])\n"
    )
    assert "found []" in outcome.output
