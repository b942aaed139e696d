"""An import without an optional module leaves no trace for others."""

import sys
import threading
from ast import literal_eval
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import wrapt

from brain_otel.configuration.instrumentors import installed_instrumentors
from brain_otel.runtime.imports import LateModule, late_module, late_names, load_late_modules, without_module
from tests.support import ROOT
from tests.support.process import run_python

UNUSED = "wsgiref.handlers"
"""A module that no test imports."""


@pytest.fixture(autouse=True)
def forgotten() -> None:
    for name in ("wsgiref", UNUSED):
        sys.modules.pop(name, None)


def test_the_module_is_missing_for_this_thread_alone() -> None:
    found = []
    with without_module("wsgiref"):
        with pytest.raises(ModuleNotFoundError, match="No module named 'wsgiref'"):
            import_module(UNUSED)
        other = threading.Thread(target=lambda: found.append(import_module("wsgiref").__name__))
        other.start()
        other.join()
    assert found == ["wsgiref"]


def test_afterwards_the_module_is_there() -> None:
    finders = list(sys.meta_path)
    with without_module("wsgiref"), pytest.raises(ImportError):
        import_module("wsgiref")
    assert "wsgiref" not in sys.modules
    assert import_module(UNUSED)
    assert sys.meta_path == finders


def test_an_application_may_replace_the_list_of_finders_meanwhile() -> None:
    """A test's list is left as it is."""
    with pytest.MonkeyPatch.context() as patched:
        given: list[Any] = list(sys.meta_path)
        with without_module("wsgiref"):
            patched.setattr(sys, "meta_path", given)
        assert sys.meta_path == given
    sys.meta_path = given


def test_an_import_of_another_thread_asks_every_finder() -> None:
    """Also if this thread leaves the block meanwhile."""
    with without_module("wsgiref"):
        during = iter(sys.meta_path)
        asked = [next(during), next(during)]
    assert [*asked, *during][1:] == sys.meta_path


def test_a_loaded_module_stays() -> None:
    loaded = import_module("wsgiref")
    with without_module("wsgiref"):
        assert import_module("wsgiref") is loaded


def test_a_late_module_is_imported_with_the_first_look() -> None:
    late = LateModule("wsgiref")
    assert "wsgiref" not in sys.modules
    assert late.__path__ == import_module("wsgiref").__path__


@pytest.mark.parametrize("load", [lambda scope: scope["text"].MAX_TEXT, lambda _: load_late_modules()])
def test_a_late_module_is_replaced_by_the_module_where_it_is_used(load: Callable[[dict[str, Any]], object]) -> None:
    """A look through the late module takes seven times as long as one at the module."""
    scope: dict[str, Any] = {"late_module": late_module}
    exec("text = late_module('brain_otel.runtime.text'); kept = text", scope)
    kept = scope["kept"]
    assert isinstance(kept, LateModule)
    load(scope)
    module = import_module("brain_otel.runtime.text")
    assert scope["text"] is scope["kept"] is module
    assert kept.shortened is module.shortened


def test_a_module_that_fails_after_a_look_at_it_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal's handler looks while its thread imports the module, and raises."""
    (tmp_path / "late_failing.py").write_text("import late_signal\nlate_signal.handle()\nONE = 1")
    monkeypatch.syspath_prepend(tmp_path)
    scope: dict[str, Any] = {}
    scope["late"] = LateModule("late_failing", scope)  # of which no later test hears before a fork
    handled: list[object] = []

    def handle() -> None:
        handled.append(scope["late"].__file__)
        if len(handled) == 1:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "late_signal", ModuleType("late_signal"))
    vars(sys.modules["late_signal"])["handle"] = handle
    with pytest.raises(KeyboardInterrupt):
        import_module("late_failing")
    assert scope["late"].ONE == 1
    assert scope["late"] is sys.modules.pop("late_failing")


SERVICE_SCRIPT = """
import os, sys
import fastapi, httpx, sqlalchemy, starlette.testclient
import brain_otel

brain_otel.setup()
app = fastapi.FastAPI()

@app.get("/fails")
def fails():
    brain_otel.set_user({"id": "7"})
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    with brain_otel.start_transaction("inner"):
        httpx.get("http://127.0.0.1:9/", trust_env=False)

with starlette.testclient.TestClient(app, raise_server_exceptions=False) as client:
    loaded = {*sys.modules}
    client.get("/fails")
    brain_otel.flush(0.5)
    print(sorted(each for each in {*sys.modules} - loaded if each.startswith("brain_otel.")))
    sys.stdout.flush()
    os._exit(0)
"""


def test_nothing_is_left_to_import_when_a_service_has_started() -> None:
    """A request may have no descriptor and no privileges for it. What sends waits until it has something to send."""
    variables = {
        "SENTRY_DSN": "http://key@127.0.0.1:9/1",
        "SENTRY_ENVIRONMENT": "production",
        "SENTRY_TRACES_SAMPLE_RATE": "1.0",
    }
    done = run_python(SERVICE_SCRIPT, variables, pythonpath=[ROOT], fresh=True)
    left = [each for each in literal_eval(done.stdout) if not each.startswith("brain_otel.delivery.")]
    assert left == [], done.stderr


SOURCE = "ONE = 1\nclass Error(Exception): ...\ndef fail(): raise Error"

IMPORTERS = {
    "calls": "from late_source import Error as Renamed\ndef use(): return str(Renamed('text'))",
    "asks": "from late_source import Error\ndef use(): return isinstance(1, Error)",
    "reads": "from late_source import Error\ndef use(): return Error.__name__",
    "catches": """
from late_source import Error, fail
def use():
    try:
        fail()
    except Error:
        return "caught"
""",
    "inherits": "from late_source import Error\nclass Own(Error): ...\ndef use(): return Own.__bases__",
    "computes": "from late_source import ONE\nTWO = ONE + 1\ndef use(): return TWO",
    "whole": "import late_source\ndef use(): return late_source.__name__",
}
"""Ways of a module to use the names of another."""


@pytest.fixture
def importer(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"late_{request.param}"
    (tmp_path / f"{name}.py").write_text(IMPORTERS[request.param])
    (tmp_path / "late_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("late_source", name):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return name


def imported(name: str) -> ModuleType:
    with late_names({name: "late_source"}):
        return import_module(name)


@pytest.mark.parametrize("importer", ["calls", "asks", "catches", "reads"], indirect=True)
def test_a_name_is_imported_when_it_is_used(importer: str) -> None:
    finders = list(sys.meta_path)
    late = imported(importer)
    assert (sys.meta_path, "late_source" in sys.modules) == (finders, False)
    first = late.use()
    assert "late_source" in sys.modules
    sys.modules.pop(importer)
    plain = import_module(importer)
    assert (first, late.use()) == (plain.use(), plain.use())
    assert vars(late).keys() == vars(plain).keys()
    for name in {"Error", "Renamed", "fail"} & vars(plain).keys():
        assert vars(late)[name] is vars(plain)[name]
    assert type(late.__loader__) is type(plain.__loader__)


@pytest.mark.parametrize("importer", ["inherits", "computes", "whole"], indirect=True)
def test_a_module_that_needs_its_names_at_once_has_them(importer: str) -> None:
    assert imported(importer).use()
    assert "late_source" in sys.modules


@pytest.mark.parametrize("importer", ["calls"], indirect=True)
def test_other_threads_and_loaded_modules_have_no_late_names(importer: str) -> None:
    with late_names({importer: "late_source"}):
        other = threading.Thread(target=import_module, args=(importer,))
        other.start()
        other.join()
    assert "late_source" in sys.modules
    sys.modules.pop(importer)
    assert imported(importer).Renamed is import_module("late_source").Error


@pytest.mark.parametrize("importer", ["calls"], indirect=True)
def test_hooks_for_the_importer_are_called(importer: str) -> None:
    called: list[ModuleType] = []
    wrapt.register_post_import_hook(called.append, importer)
    late = imported(importer)
    assert (called, "late_source" in sys.modules) == ([late], False)
    assert late.use() == "text"


SCRIPT = """
import sys
import brain_otel
brain_otel.setup()
print([name for name in ("sentry_sdk", "httpcore", "psutil") if name in sys.modules])
import httpx, sentry_sdk.transport
httpx.Client().close()
from opentelemetry.sdk.resources import ProcessResourceDetector
print(ProcessResourceDetector().detect().attributes["process.owner"] != "")
print("httpcore" in sys.modules, "psutil" in sys.modules)
"""


def test_setup_imports_neither_httpcore_nor_psutil() -> None:
    """HTTPX gets the one, and OpenTelemetry's detector of the process the other."""
    variables = {"SENTRY_DSN": "http://key@127.0.0.1:9/1", "SENTRY_ENVIRONMENT": "production"}
    done = run_python(SCRIPT, variables, pythonpath=[ROOT], fresh=True)
    assert (done.returncode, done.stdout) == (0, "['sentry_sdk']\nTrue\nTrue True\n"), done.stderr


LIBRARIES_SCRIPT = """
import gc, sys
import fastapi, httpx, redis.asyncio, sqlalchemy
before, collections = set(sys.modules), []
gc.callbacks.append(lambda phase, info: collections.append(info))
import brain_otel
brain_otel.setup()
print(len(collections), gc.isenabled())
print([name for name in {unwanted} if name in sys.modules and name not in before])
from opentelemetry.instrumentation.dependencies import get_dependency_conflicts
print(get_dependency_conflicts(["fastapi > 0"]), get_dependency_conflicts(["fastapi > 9999"]) is None)
print(get_dependency_conflicts(["?"]))
"""

UNWANTED = (
    "packaging.requirements",
    "packaging.specifiers",
    "opentelemetry.semconv.trace",
    "opentelemetry.configuration",
    "httpcore._sync",
    "yaml",
    "jsonschema",
    "brain_otel.configuration.yaml_nodes",
    "brain_otel.delivery.memory_queue",
    "brain_otel.delivery.spool.discarded",
    "brain_otel.delivery.spool.eviction",
    "brain_otel.delivery.spool.state",
    "brain_otel.destinations.otlp.session",
    "brain_otel.destinations.outage_log",
    "brain_otel.destinations.probe",
    "brain_otel.events.schedules",
    "brain_otel.instrumentation.others.shielding",
    "brain_otel.jobs.scripts",
    "brain_otel.privacy.attributes",
    "brain_otel.privacy.processors",
    "brain_otel.privacy.remarks",
    "brain_otel.sampling.tail",
    "brain_otel.sentry.before_send",
    "brain_otel.sentry.breadcrumbs",
    "brain_otel.sentry.dynamic_sampling_context",
    "brain_otel.sentry.event_size",
    "brain_otel.sentry.events",
    "brain_otel.sentry.log_records",
    "brain_otel.sentry.masked_items",
    "brain_otel.sentry.records",
    "brain_otel.sentry.scopes",
    "brain_otel.sentry.span_observer",
    "brain_otel.sentry.spotlight",
    "brain_otel.sentry.stack_frames",
    "brain_otel.sentry.trace_headers",
    "brain_otel.sentry.transaction_sender",
)
"""Modules that a start with a packaged file does not import for an application that uses all libraries."""


@pytest.mark.thorough
def test_setup_imports_little_for_an_application_that_uses_all_libraries() -> None:
    """No collection of garbage runs meanwhile. What contrib needs to judge a version is imported when it is asked."""
    others = installed_instrumentors().keys() - {"fastapi", "httpx", "redis", "sqlalchemy"}
    variables = {
        "SENTRY_DSN": "http://key@127.0.0.1:9/1",
        "SENTRY_ENVIRONMENT": "production",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(others),  # those whose library FastAPI imports
    }
    done = run_python(LIBRARIES_SCRIPT.format(unwanted=UNWANTED), variables, pythonpath=[ROOT], fresh=True)
    assert done.returncode == 0, done.stderr
    garbage, unwanted, conflicts, unreadable = done.stdout.splitlines()
    assert (garbage, unwanted, conflicts) == ("0 True", "[]", "None False")
    assert "?" in unreadable
