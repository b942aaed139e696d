"""An import without an optional module leaves no trace for others."""

import sys
import threading
from importlib import import_module

import pytest

from brain_otel.runtime.imports import LateModule, without_module
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


def test_a_loaded_module_stays() -> None:
    loaded = import_module("wsgiref")
    with without_module("wsgiref"):
        assert import_module("wsgiref") is loaded


def test_a_late_module_is_imported_with_the_first_look() -> None:
    late = LateModule("wsgiref")
    assert "wsgiref" not in sys.modules
    assert late.__path__ == import_module("wsgiref").__path__


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
