"""The private names that configuration, launcher and runtime use, and an application that runs without them."""

import pytest

from tests.support import ROOT
from tests.support.private_names import PrivateName, private_names, run_renamed
from tests.support.process import run_python

PRIVATE_NAMES = (
    *private_names(
        "opentelemetry.context",
        "_RUNTIME_CONTEXT _RUNTIME_CONTEXT._current_context",
        "runtime/context.py",
        "reads and sets the current context without the two calls of the public functions",
        "tests/runtime/test_context.py::test_the_context_is_one_variable",
    ),
    PrivateName(
        name="opentelemetry.instrumentation.distro.BaseDistro._instance",
        used_in=("brain_otel/launcher.py",),
        purpose="finds the other distros that the launcher has made",
        pinned_by="tests/test_launcher.py::test_beside_another_distro_a_request_is_traced_once",
    ),
    PrivateName(
        name="collections._tuplegetter",
        used_in=("brain_otel/runtime/named_tuple.py",),
        purpose="reads a field of a named tuple without a call, in a class whose constructor is not compiled",
        pinned_by="tests/runtime/test_named_tuple.py::test_a_field_is_read_without_a_call",
    ),
    PrivateName(
        name="importlib._bootstrap._module_locks",
        used_in=("brain_otel/runtime/fork.py",),
        purpose="finds out whether another thread imports a module, in which a forked child would wait forever",
        pinned_by="tests/runtime/test_fork.py::test_a_fork_waits_for_imports_on_other_threads",
    ),
    PrivateName(
        name="importlib._bootstrap.ModuleSpec._initializing",
        used_in=("brain_otel/runtime/imports.py",),
        purpose="waits until a module of contrib that imports a library has been imported itself",
        pinned_by="tests/instrumentation/test_pins.py::test_a_module_that_is_being_imported_says_so",
    ),
)

CODE = """
import logging, os
logging.basicConfig(level="INFO")
import brain_otel
from brain_otel.launcher import BrainOtelConfigurator, before_instrumentors
BrainOtelConfigurator().configure()
before_instrumentors()
with brain_otel.start_transaction("job"):
    event_id = brain_otel.capture_message("hello")
assert event_id and len(event_id) == 32
child = os.fork()
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.parametrize("entry", PRIVATE_NAMES[:3], ids=lambda entry: entry.identifier)
def test_an_application_runs_without_it(entry: PrivateName) -> None:
    """Renamed upstream, it costs the application nothing but what it was for."""
    done = run_python(run_renamed([entry], CODE), {"SENTRY_ENVIRONMENT": "test"}, pythonpath=[ROOT])
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
