"""The start with the extras and their libraries installed, and imported, beside the start without them."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.benchmarks.figures import least
from tests.benchmarks.grid import Grid, ratio
from tests.benchmarks.surroundings import Surroundings
from tests.benchmarks.variants import BARE, OURS_IN_MEMORY
from tests.support import ROOT

WITHOUT, INSTALLED, IMPORTED = (
    "brain_otel, without extras",
    "brain_otel, all extras installed",
    "brain_otel, all extras imported",
)

EXTRAS = (WITHOUT, INSTALLED, IMPORTED)

_MODULES = ("aiohttp", "anthropic", "asyncpg", "boto3", "celery", "openai", "psycopg", "requests")

LIBRARIES = {**{name: name for name in _MODULES}, "grpcio": "grpc"}
"""The libraries that the extras observe, each with its module."""

_START = """
import json, os, sys
own, packages, variant, *modules = sys.argv[1:]
sys.path[:] = [packages if each == own else each for each in sys.path]
for each in modules:
    __import__(each)
from tests.benchmarks.worker import start
print(json.dumps(start(variant)[2]), flush=True)
os._exit(0)
"""
"""Starts once with another folder of packages, after the application has imported its modules."""

MUST, AIM = 1.05, 1.0


def is_installed() -> bool:
    """Whether this environment has every extra and library."""
    return _extras() <= _installed().keys() and all(map(find_spec, LIBRARIES.values()))


def start_extras(around: Surroundings, number: int) -> dict[str, dict[str, Any]]:
    """Measure a round: a start without the extras, with them, and with their libraries imported.

    The order changes with the ``number`` of the round. Where an extra or a library is missing, nothing is measured.
    """
    if not is_installed():
        return {}
    found: dict[str, dict[str, Any]] = {}
    with around.folder() as folder:
        every, few = folder / "every", folder / "few"
        link(every, frozenset())
        link(few, left_out())
        kinds = {WITHOUT: (few, ()), INSTALLED: (every, ()), IMPORTED: (every, tuple(LIBRARIES.values()))}
        for name in EXTRAS[:: 1 if number % 2 else -1]:
            packages, modules = kinds[name]
            found[name] = _start(around.environment(BARE, folder), packages, modules)
    return {name: found[name] for name in EXTRAS}


def extras_table(found: Mapping[str, Any]) -> Iterator[Grid]:
    """The table of the starts; none if they were not measured."""
    if WITHOUT in found:
        yield Grid(
            title="Start-up with the extras of brain_otel, to the end of the set-up, the least of all rounds",
            columns=("variant", "CPU ms", "x without extras"),
            rows=[[name, f"{_cpu(found, name) * 1e3:.1f}", ratio(_share(found, name))] for name in EXTRAS],
        )


def extras_goals(found: Mapping[str, Any]) -> Iterator[list[str]]:
    """What the extras may cost a service that imports none of their libraries."""
    if WITHOUT in found:
        yield [
            "start-up with all extras, CPU, against without",
            ratio(_share(found, INSTALLED)),
            ratio(MUST),
            ratio(AIM),
        ]


def _cpu(found: Mapping[str, Any], name: str) -> float:
    return least(found[name])["start_cpu"]


def _share(found: Mapping[str, Any], name: str) -> float:
    return _cpu(found, name) / _cpu(found, WITHOUT)


@cache
def _extras() -> frozenset[str]:
    """The packages that the extra ``all`` installs."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    packages = (Requirement(each).name for extra in everything.extras for each in extras[extra])
    return frozenset(map(canonicalize_name, packages))


@cache
def _installed() -> dict[str, Distribution]:
    return {canonicalize_name(each.metadata["name"]): each for each in distributions()}


def left_out() -> frozenset[str]:
    """The packages of the extras and the libraries that they observe."""
    return _extras() | LIBRARIES.keys()


def link(folder: Path, without: frozenset[str]) -> None:
    """Fill a folder with the installed packages, except some. What a package shares with others stays."""
    kept = {name: _places(each) for name, each in _installed().items() if name not in without}
    places = {place for name in without if name in _installed() for place in _places(_installed()[name])}
    places -= set().union(*kept.values())
    folder.mkdir()
    for each in site_packages().iterdir():
        if each.name not in places:
            (folder / each.name).symlink_to(each)


def _places(package: Distribution) -> set[str]:
    """The names in the folder of packages that belong to one of them."""
    return {file.parts[0] for file in package.files or () if len(file.parts) > 1 or file.suffix == ".py"}


def site_packages() -> Path:
    """The folder of installed packages."""
    return Path(str(_installed()["wrapt"].locate_file("")))


def _start(env: dict[str, str], packages: Path, modules: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, "-c", _START, str(site_packages()), str(packages), OURS_IN_MEMORY, *modules]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise SystemExit(f"a start failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
