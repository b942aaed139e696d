"""Slow and failed calls name the application's place; a statement that repeats says so."""

import asyncio
import inspect
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind
from redis.asyncio.connection import AbstractConnection

from brain_otel.sdk.span_router import SpanRouter
from brain_otel.sentry.span_fields import _module_and_file
from brain_otel.traces.code_location import application_place, remember_start
from tests.instrumentation.process import Outcome, run_traced
from tests.support import ROOT

SCRIPT = ROOT / "tests" / "apps" / "places.py"

MARK = "  # here"


def places() -> dict[str, tuple[str, int]]:
    """Tell the marked lines of the script, by the function that has them."""
    found: dict[str, tuple[str, int]] = {}
    path: list[tuple[int, str]] = []
    for number, line in enumerate(SCRIPT.read_text().splitlines(), 1):
        words, indent = line.replace("(", " ").replace(":", " ").split(), len(line) - len(line.lstrip())
        if words[:1] in (["def"], ["class"], ["async"]) and words[1] != "with":
            path = [each for each in path if each[0] < indent]
            path.append((indent, words[2] if words[0] == "async" else words[1]))
        if line.endswith(MARK):
            found[path[-1][1]] = (".".join(name for _, name in path), number)
    return found


PLACES = places()

CASES = {name: name for name in PLACES if not name.startswith("_")} | {"slow_statement_async": "_execute"}
"""Transaction -> the function that makes its call."""


CONFIGURATION = """
file_format: "1.1"
tracer_provider:
  processors:
    - sentry: {}
distribution:
  brain_otel:
    fast_paths: ${BRAIN_OTEL_FAST_PATHS:-true}
    sentry: {dsn: "${SENTRY_DSN}"}
    instrumentation: {slow_call: 0.06}
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    file = tmp_path_factory.mktemp("configuration") / "configuration.yaml"
    file.write_text(CONFIGURATION)
    return run_traced(SCRIPT, {"OTEL_CONFIG_FILE": str(file)})


@pytest.mark.parametrize(("milliseconds", "is_slow"), [(99, False), (100, True)])
def test_a_call_is_slow_from_100_milliseconds_on(milliseconds: int, is_slow: bool) -> None:
    """By default; only calls are looked at."""
    provider = TracerProvider(shutdown_on_exit=False)
    ended: list[ReadableSpan] = []
    processor: Any = SimpleNamespace(on_start=lambda *_: None, on_end=ended.append)
    provider.add_span_processor(SpanRouter([("memory", processor)]))
    for kind in (SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.INTERNAL, SpanKind.SERVER):
        provider.get_tracer("test").start_span("call", kind=kind, start_time=1).end(1 + milliseconds * 1_000_000)
    assert ["code.line.number" in (span.attributes or {}) for span in ended] == [is_slow, is_slow, False, False]


@pytest.mark.parametrize("case", CASES)
def test_a_slow_or_failed_call_names_its_place(outcome: Outcome, case: str) -> None:
    """In OpenTelemetry's names and in sentry-sdk's; coroutines, SQLAlchemy's greenlets and failures included."""
    function, line = PLACES[CASES[case]]
    data = outcome.span(case)["data"]
    assert {key: value for key, value in data.items() if key.startswith("code.")} == {
        "code.function.name": f"__main__.{function}",
        "code.file.path": str(SCRIPT),
        "code.line.number": line,
        "code.function": function.rpartition(".")[2],
        "code.filepath": "places.py",
        "code.lineno": line,
        "code.namespace": "__main__",
    }


@pytest.mark.parametrize("case", ["fast_statement", "without_a_place"])
def test_another_call_names_none(outcome: Outcome, case: str) -> None:
    """A fast one that went well costs no look; the frame that has started the loop is not who made the call."""
    assert not [key for key in outcome.span(case)["data"] if key.startswith("code.")]


def test_repeated_statements_are_marked(outcome: Outcome) -> None:
    """On each of them and on the root, as the console says N+1; literals do not tell them apart."""
    marks = [span["data"].get("brain_otel.db.repeated") for span in outcome.spans("repeats")]
    assert marks == [3, 3, 3, None]
    roots = {
        each["transaction"]: each["contexts"]["trace"]["data"].get("brain_otel.db.repeated")
        for each in outcome.transactions
    }
    assert {name: mark for name, mark in roots.items() if mark} == {"repeats": 3}


@pytest.mark.parametrize(
    ("path", "module", "expected"),
    [
        ("/srv/shop/orders.py", "shop.orders", True),
        ("/srv/.venv/lib/python3.11/site-packages/httpx/_client.py", "httpx._client", False),
        ("/usr/lib/python3/dist-packages/requests/api.py", "requests.api", False),
        ("C:\\app\\venv\\Lib\\site-packages\\httpx\\_api.py", "httpx._api", False),
        (f"{sysconfig.get_path('stdlib')}/asyncio/tasks.py", "asyncio.tasks", False),
        (f"{sysconfig.get_path('scripts')}/uvicorn", "__main__", False),
        (str(Path(sys.modules[application_place.__module__].__file__ or "")), "x", False),
        ("<string>", "__main__", True),
        ("<string>", "sqlalchemy.generated", False),
        ("<frozen runpy>", "runpy", False),
    ],
)
def test_the_application_is_told_by_its_files(path: str, module: str, expected: bool) -> None:
    scope: dict[str, Any] = {"find": application_place, "sys": sys, "__name__": module}
    exec(compile("def call():\n    return find(sys._getframe())", path, "exec"), scope)
    found = scope["call"]()
    assert (found is not None and found.code.co_filename == path) is expected


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("/srv/shop/orders.py", "shop.orders.Orders.find", ("shop.orders", "shop/orders.py")),
        ("/srv/shop/api/__init__.py", "shop.api.get", ("shop.api", "shop/api/__init__.py")),
        ("/srv/main.py", "main.get.<locals>.inner", ("main", "main.py")),
        ("/srv/main.py", "__main__.get", ("__main__", "main.py")),
        ("C:\\shop\\orders.py", "shop.orders.find", ("shop.orders", "shop/orders.py")),
        ("/srv/elsewhere.py", "shop.orders.find", (None, "elsewhere.py")),
        ("/srv/elsewhere.py", "", (None, "elsewhere.py")),
    ],
)
def test_sentrys_file_is_below_the_package(path: str, name: str, expected: Any) -> None:
    assert _module_and_file(path, name) == expected


def test_a_deep_stack_is_looked_at_within_bounds() -> None:
    """A frame beyond 500 others is not looked for."""
    source = "def dive(n):\n    return dive(n - 1) if n else find(sys._getframe())\n"
    scope: dict[str, Any] = {"find": application_place, "sys": sys, "__name__": "generated"}
    exec(compile(source, "<generated>", "exec"), scope)
    found = scope["dive"](10)
    assert found is not None
    assert found.code.co_name == "test_a_deep_stack_is_looked_at_within_bounds"
    assert scope["dive"](600) is None


@pytest.mark.parametrize(
    ("function", "is_kept"),
    [
        (asyncio.StreamWriter.drain, False),
        (asyncio.Queue.get, False),
        (asyncio.Event.wait, False),
        (AbstractConnection._send_packed_command, False),
        (asyncio.wait_for, True),
    ],
)
def test_the_stack_is_not_walked_for_a_task_that_only_waits(function: Any, is_kept: bool) -> None:
    """Such as the one that writes each command of Redis; one that may make a call keeps its place."""
    task, coroutine = SimpleNamespace(), function(*(None for _ in inspect.signature(function).parameters))
    remember_start(task, coroutine)
    coroutine.close()
    assert bool(vars(task)) is is_kept
