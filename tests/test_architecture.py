"""The structure of the package: its layers, its sizes, its state, and what it takes from other packages."""

from __future__ import annotations

import ast
import importlib
import shutil
import statistics
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT
from tests.support.process import PROGRAMS
from tests.support.source import Module, length, read_package

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.private_names import PrivateName

#: Test modules that test several modules together, so that no module has their name.
WHOLE_SERVICE = {
    "benchmarks/test_benchmarks.py",
    "benchmarks/test_extras.py",
    "benchmarks/test_memory.py",
    "benchmarks/test_report.py",
    "benchmarks/test_tail.py",
    "benchmarks/test_viewer.py",
    "collector/test_gateway.py",
    "collector/test_otlp.py",
    "configuration/test_bad_values.py",
    "contrib/test_suites.py",
    "delivery/spool/test_disks.py",
    "delivery/test_ends.py",
    "delivery/test_faults.py",
    "delivery/test_ingest_faults.py",
    "delivery/test_latency.py",
    "delivery/test_load.py",
    "delivery/test_soak.py",
    "destinations/test_third_party.py",
    "instrumentation/others/test_libraries.py",
    "instrumentation/others/test_llm.py",
    "instrumentation/others/test_llm_apis.py",
    "instrumentation/test_client_spans.py",
    "instrumentation/test_logging_processes.py",
    "instrumentation/test_pins.py",
    "instrumentation/test_fast_paths.py",
    "instrumentation/jobs/test_celery_workers.py",
    "privacy/test_linear_time.py",
    "privacy/test_corpora.py",
    "privacy/test_driver_errors.py",
    "privacy/test_page.py",
    "privacy/test_planted_secrets.py",
    "privacy/test_rules.py",
    "privacy/test_running_service.py",
    "privacy/test_secrets.py",
    "runtime/test_interpreter_exit.py",
    "runtime/test_work_queue_gathering.py",
    "sampling/test_sentry.py",
    "sampling/test_services.py",
    "sdk/test_pins.py",
    "sentry/test_application_objects.py",
    "sentry/test_pins.py",
    "receivers/test_compose.py",
    "receivers/test_prometheus.py",
    "receivers/test_receivers.py",
    "receivers/test_viewer_clients.py",
    "service/test_contexts.py",
    "service/test_differential.py",
    "service/test_destinations_page.py",
    "service/test_environments.py",
    "service/test_fleet.py",
    "service/test_garbage.py",
    "service/test_hostile.py",
    "service/test_hostile_process.py",
    "service/test_hostile_requests.py",
    "service/test_hostile_texts.py",
    "service/test_isolation.py",
    "service/test_linking.py",
    "service/test_sizes.py",
    "service/test_neighbours.py",
    "service/test_propagation.py",
    "service/test_registry.py",
    "service/test_servers.py",
    "service/test_trace_context.py",
    "service/test_trust.py",
    "service/test_two_setups.py",
    "viewer/test_browser.py",
    "test_architecture.py",
    "test_architecture_page.py",
    "test_docs.py",
    "test_packaging.py",
    "test_public_surface.py",
    "test_troubleshooting.py",
}


@pytest.fixture(scope="module")
def package() -> list[Module]:
    return read_package()


# -- layers --------------------------------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAMS / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_contract_holds() -> None:
    """`lint-imports` accepts the package."""
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


BREAKS = [
    ("runtime/text.py", "import brain_otel.telemetry", "runtime.text -> brain_otel.telemetry"),
    ("events/report.py", "import brain_otel.delivery.record", "events.report -> brain_otel.delivery"),
    ("doctor/screen.py", "import brain_otel.viewer.rows", "brain_otel.doctor.screen -> brain_otel.viewer.rows"),
    ("events/report.py", "import sentry_sdk", "brain_otel.events.report -> sentry_sdk"),
    ("privacy/names.py", "import brain_otel.privacy.policy", "No cycles are allowed in brain_otel"),
]
"""Imports that break a contract: the module, its new line, and the complaint."""


def test_an_import_that_breaks_a_contract_is_found(tmp_path: Path) -> None:
    """In a copy of the package with one import more for each."""
    shutil.copytree(ROOT / "brain_otel", tmp_path / "brain_otel", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, line, _ in BREAKS:
        with (tmp_path / "brain_otel" / module).open("a") as changed:
            changed.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert [complaint for *_, complaint in BREAKS if complaint not in done.stdout] == []
    assert "0 kept" in done.stdout


# -- sizes ---------------------------------------------------------------------------------------------------


def test_the_top_of_the_package_has_at_most_9_modules() -> None:
    """Only what users and OpenTelemetry import stands there."""
    assert len(list((ROOT / "brain_otel").glob("*.py"))) <= 9


def test_no_file_has_more_than_300_lines(package: list[Module]) -> None:
    lines = {module.path: module.text.count("\n") for module in package}
    assert {path: count for path, count in lines.items() if count > 300} == {}


def test_functions_are_short(package: list[Module]) -> None:
    """None has more than 40 lines, and the median has at most 7."""
    lengths = {(module.path, each.name, each.lineno): length(each) for module in package for each in module.functions}
    assert {place: lines for place, lines in lengths.items() if lines > 40} == {}
    assert statistics.median(lengths.values()) <= 7


# -- state ---------------------------------------------------------------------------------------------------


def test_few_names_are_rebound_from_functions(package: list[Module]) -> None:
    """At most 3 `global` statements."""
    found = [(module.path, each.names) for module in package for each in module.globals]
    assert len(found) <= 3, found


def test_few_containers_are_state(package: list[Module]) -> None:
    """At most 12 lists, dicts, sets and the like that a module or a class binds are changed later.

    A container counts if the module that binds it changes it: calls one of its methods that change it, or sets or
    deletes one of its items. Constants do not count, nor do containers that belong to an instance.
    """
    found = [(module.path, name) for module in package for name in sorted(module.containers & module.mutated)]
    assert len(found) <= 12, found


# -- tests ---------------------------------------------------------------------------------------------------


def has_one_place(path: Path) -> bool:
    """Whether `a/test_b.py` has the module `a/b.py`, the room `a/b` or, for `b/test_b.py`, the room `b` to test.

    The tables of private names belong to their rooms, and `support` tests itself.
    """
    room, name = ROOT / "brain_otel" / path.parent, path.stem.removeprefix("test_")
    return (
        (room / f"{name}.py").exists()
        or (room / name).is_dir()
        or (room.is_dir() and name in (room.name, "private_names"))
        or path.parts[0] == "support"
    )


def test_tests_mirror_the_package() -> None:
    """Every other test module is in the list above."""
    modules = [path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")]
    assert {path.as_posix() for path in modules if not has_one_place(path)} == WHOLE_SERVICE


# -- private names of other packages -------------------------------------------------------------------------


def tables() -> list[PrivateName]:
    paths = sorted((ROOT / "tests").rglob("test_private_names.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [entry for name in names for entry in importlib.import_module(name).PRIVATE_NAMES]


def test_every_private_name_of_another_package_is_in_a_table(package: list[Module]) -> None:
    """With each file that uses it; `Module.private_names` says what counts."""
    ours = {name for module in package for name in module.own_names}
    used = {(module.path, name) for module in package for name in module.private_names(ours)}
    listed = {
        (file, part)
        for entry in tables()
        for file in entry.used_in
        for part in entry.name.split(".")
        if part.startswith("_")
    }
    assert sorted(used - listed) == []


def test_every_entry_of_a_table_is_true(package: list[Module]) -> None:
    """Each file that it names says the name, upstream has it, and the test that pins it exists."""
    texts = {module.path: module.text for module in package}
    for entry in tables():
        assert entry.exists(), entry.name
        assert all(entry.identifier in texts[file] for file in entry.used_in), entry
        path, _, test = entry.pinned_by.partition("::")
        assert test.partition("[")[0] in functions_of(path), entry


@cache
def functions_of(path: str) -> set[str]:
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
