"""The installed instrumentors are those that Python's own look-up finds."""

import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import Distribution, DistributionFinder, EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from brain_otel.configuration.instrumentors import GROUP, installed_instrumentors, plain_name

OFFER = f"""
[other]
x = y:Z
[{GROUP}]
planted-one = planted.one:Instrumentor
Planted_two = planted.two:Instrumentor
"""


def install(folder: Path, name: str, offer: str = OFFER) -> Path:
    metadata = folder / name
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (metadata / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(offer)
    return metadata


def archive(folder: Path) -> Path:
    path = folder / "planted.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("planted-1.0.dist-info/entry_points.txt", OFFER)
        file.writestr("planted-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    return path


class Finder(DistributionFinder):
    """A finder of another package that knows a distribution of its own."""

    def __init__(self, metadata: Path) -> None:
        self.metadata = metadata

    def find_distributions(self, context: object = None) -> Iterator[Distribution]:  # noqa: ARG002
        yield Distribution.at(self.metadata)


PLACES: dict[str, Callable[[Path], list[str]]] = {
    "a wheel": lambda folder: [str(install(folder, "planted-1.0.dist-info").parent)],
    "an egg's metadata": lambda folder: [str(install(folder, "planted.egg-info").parent)],
    "an egg": lambda folder: [str(install(folder / "planted-1.0.egg", "EGG-INFO").parent)],
    "an archive": lambda folder: [str(archive(folder))],
    "odd names": lambda folder: [str(install(folder, "Planted.One-1.0.DIST-INFO").parent)],
    "the first of two": lambda folder: [
        str(install(folder / "first", "planted_one-2.0.dist-info", "").parent),
        str(install(folder / "second", "planted.one-1.0.dist-info").parent),
    ],
    "missing folders": lambda folder: [str(folder / "missing"), str(install(folder, "planted-1.0.dist-info").parent)],
    "no folder": lambda folder: [str(install(folder, "planted-1.0.dist-info") / "METADATA")],
    "no entry points": lambda folder: [str(install(folder, "planted-1.0.dist-info", "[other]\nx = y:Z\n").parent)],
}


def as_python_finds() -> dict[str, set[tuple[str, str]]]:
    return by_name(entry_points(group=GROUP))


def as_we_find() -> dict[str, set[tuple[str, str]]]:
    return by_name(each for some in installed_instrumentors().values() for each in some)


def by_name(offered: Iterable[EntryPoint]) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = {}
    for each in offered:
        found.setdefault(plain_name(each.name), set()).add((each.value, each.dist.name if each.dist else ""))
    return found


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("is_first", [True, False])
def test_distributions_are_found_as_python_finds_them(
    place: str, is_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = PLACES[place](tmp_path)
    monkeypatch.setattr(sys, "path", [*planted, *sys.path] if is_first else [*sys.path, *planted])
    assert as_we_find() == as_python_finds()
    is_offered = place not in ("the first of two", "no folder", "no entry points")
    assert ("planted_two" in as_we_find()) == is_offered


def test_the_working_directory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "planted-1.0.dist-info")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert as_we_find() == as_python_finds()
    assert "planted_one" in as_we_find()


def test_distributions_of_other_finders_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(install(tmp_path, "planted-1.0.dist-info"))])
    assert as_we_find() == as_python_finds()
    assert "planted_one" in as_we_find()


def test_few_distributions_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """To parse the entry points of all takes half as long as to read the configuration."""
    parsed: list[Any] = []
    kind = type(Distribution.at(""))
    read_text = kind.read_text

    def counted(distribution: Any, name: str) -> Any:
        parsed.append(name)
        return read_text(distribution, name)

    all_of_them = installed_instrumentors()
    offering = {each.dist.name for some in all_of_them.values() for each in some if each.dist}
    monkeypatch.setattr(kind, "read_text", counted)
    assert installed_instrumentors().keys() == all_of_them.keys()
    assert parsed == ["entry_points.txt"] * len(offering)
    parsed.clear()
    assert installed_instrumentors(lambda name: name == "fastapi").keys() == {"fastapi"}
    assert parsed == ["entry_points.txt"]
