"""The start without the extras: what it leaves out, and how the figures are shown."""

import subprocess
import sys
from pathlib import Path

from tests.benchmarks import extras
from tests.benchmarks.extras import EXTRAS, IMPORTED, INSTALLED, WITHOUT
from tests.benchmarks.test_benchmarks import by_title, run
from tests.benchmarks.variants import BARE, FLOOR

LOOK = """
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
sys.path[:] = [sys.argv[2] if each == sys.argv[1] else each for each in sys.path]
import opentelemetry.sdk.trace, opentelemetry.instrumentation.fastapi, fastapi, sentry_sdk
names = {each.name for each in entry_points(group="opentelemetry_instrumentor")}
print(*sorted(names & {"fastapi", "openai", "requests", "grpc_client"}))
print(*[each for each in ("celery", "openai", "grpc", "requests") if find_spec(each)])
"""


def test_this_environment_has_every_extra_and_library() -> None:
    assert extras.is_installed()


def test_a_folder_of_packages_has_all_or_all_without_the_extras(tmp_path: Path) -> None:
    """Contrib's packages share a folder, so that the instrumentors' entry points are what goes, and the libraries."""

    def seen(without: frozenset[str]) -> list[str]:
        folder = tmp_path / str(len(without))
        extras.link(folder, without)
        command = [sys.executable, "-c", LOOK, str(extras.site_packages()), str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert seen(frozenset()) == ["fastapi grpc_client openai requests", "celery openai grpc requests"]
    assert seen(extras.left_out()) == ["fastapi", ""]


def test_the_table_has_the_least_of_all_rounds_and_the_goal() -> None:
    start = {BARE: [run(0), run(0)], FLOOR: [run(1), run(1)]}
    start |= {name: [run(least), run(least + 9)] for name, least in zip(EXTRAS, (100, 104, 250), strict=True)}
    found = by_title({"start": start})
    (table,) = [grid for title, grid in found.items() if "extras" in title]
    assert table.rows == [
        [WITHOUT, "100000.0", "1.00"],
        [INSTALLED, "104000.0", "1.04"],
        [IMPORTED, "250000.0", "2.50"],
    ]
    (goals,) = [grid for title, grid in found.items() if title.endswith("held against its goals")]
    assert goals.rows == [["start-up with all extras, CPU, against without", "1.04", "1.05", "1.00"]]
    assert all(WITHOUT not in row for title, grid in found.items() if "extras" not in title for row in grid.rows)
