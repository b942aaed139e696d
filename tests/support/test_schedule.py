"""Tests of the order in which the workers of a parallel run take the files."""

from pathlib import Path

from tests.support import ROOT
from tests.support.process import run_python
from tests.support.schedule import APART, LAST, LONGEST, imported_by_collection
from tests.support.tiers import thorough


def test_the_table_names_files_that_exist() -> None:
    """And divides only those that it names."""
    assert [file for file in [*LONGEST, *LAST] if not (ROOT / file).is_file()] == []
    assert APART.keys() <= LONGEST.keys()


def test_no_file_imports_a_library_that_each_set_up_would_instrument() -> None:
    """Functions import these, where they are used."""
    assert imported_by_collection == []


CONFTEST = """
from tests.conftest import pytest_collection_modifyitems, pytest_xdist_make_scheduler
from tests.support import schedule
schedule.LONGEST = {"test_b.py": 12, "test_c.py": 5}
schedule.APART = {"test_b.py": 2}
schedule.LAST = {"test_a.py"}
"""

TEST = """
import pytest
@pytest.mark.parametrize("number", range(8))
def test_it(number, worker_id):
    with open("order", "a") as file:
        print(__name__, worker_id, file=file)
"""


def run(folder: Path, *options: str) -> list[tuple[str, str]]:
    """The file and the worker of each test, in the order in which they ran."""
    (folder / "conftest.py").write_text(CONFTEST)
    for name in ("test_a", "test_b", "test_c", "test_d"):
        (folder / f"{name}.py").write_text(TEST)
    arguments = [*options, "--dist", "loadfile", "--no-loadscope-reorder", "-p", "no:cacheprovider", str(folder)]
    code = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = run_python(code, pythonpath=[ROOT], arguments=arguments, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stdout
    return [(file, worker) for file, worker in map(str.split, (folder / "order").read_text().splitlines())]


def test_the_longest_file_is_first(tmp_path: Path) -> None:
    """Whatever order pytest-randomly chooses; the others follow, and what imports much is last."""
    files = dict.fromkeys(file for file, _ in run(tmp_path, "-n", "0"))
    assert list(files) == ["test_b", "test_c", "test_d", "test_a"]


@thorough
def test_two_workers_share_a_file_that_may_be_divided(tmp_path: Path) -> None:
    """Each other file has one worker."""
    workers: dict[str, set[str]] = {}
    for file, worker in run(tmp_path, "-n", "2"):
        workers.setdefault(file, set()).add(worker)
    assert [len(workers[file]) for file in ("test_a", "test_b", "test_c", "test_d")] == [1, 2, 1, 1]
