"""Which modules an instrumentor waits for, and why it does not support what is installed."""

import sys
from importlib.metadata import Distribution, EntryPoint, PathDistribution
from pathlib import Path

import pytest

from brain_otel.configuration.instrumentors import GROUP, installed_instrumentors
from brain_otel.instrumentation.others.discovery import awaited_modules, conflict_of


def planted(
    folder: Path, name: str, metadata: str = "", files: str = "", top_level: str | None = None
) -> Distribution:
    place = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    place.mkdir()
    for line in filter(lambda line: not line.startswith(".."), files.splitlines()):  # 3.13 looks whether they exist
        file = folder / line.partition(",")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}")
    (place / "RECORD").write_text(files)
    if top_level is not None:
        (place / "top_level.txt").write_text(top_level)
    return PathDistribution(place)


def entry_point(dist: Distribution, module: str = "instrumentor") -> EntryPoint:
    found = EntryPoint(name="shop", value=f"{module}:Instrumentor", group=GROUP)
    vars(found)["dist"] = dist
    return found


NEEDS = 'Requires-Dist: opentelemetry-api\nProvides-Extra: instruments\nRequires-Dist: {} ; extra == "instruments"\n'

LIBRARIES = {
    "shop==1.0": ("shop.py,,\n", None, ("shop",)),
    "shop[a]>=0.5,<2": ("shop/__init__.py,,\nshop/_c.so,,\n../../bin/shop,,\n", None, ("shop",)),
    "shop": ("", "shop\n_shop\nshop_more\n", ("shop", "shop_more")),
    "missing>=1": ("shop.py,,\n", None, None),
}
"""What an instrumentor needs -> the files of the library `shop`, its top-level modules, and what is awaited."""


@pytest.mark.parametrize("needed", LIBRARIES)
def test_the_metadata_names_the_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: str) -> None:
    """None if the library is not installed."""
    files, top_level, expected = LIBRARIES[needed]
    monkeypatch.syspath_prepend(tmp_path)
    planted(tmp_path, "shop", files=files, top_level=top_level)
    assert awaited_modules(entry_point(planted(tmp_path, "shop-otel", NEEDS.format(needed)))) == expected


def test_an_instrumentor_that_names_no_library_begins_at_once(tmp_path: Path) -> None:
    """One of a library that can do without OpenTelemetry waits for that library."""
    assert awaited_modules(entry_point(planted(tmp_path, "a", "Requires-Dist: opentelemetry-api\n"))) == ()
    assert awaited_modules(entry_point(planted(tmp_path, "b", "Requires-Dist: rich\n"), "shop.otel")) == ("shop",)


def test_a_version_that_is_not_supported_comes_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    planted(tmp_path, "shop", files="shop.py,,\n")
    conflict = conflict_of(entry_point(planted(tmp_path, "shop-otel", NEEDS.format("shop>=2,<3"))))
    assert conflict is not None
    assert conflict.endswith("finds shop 1.0; pip install 'shop<3,>=2'")
    assert conflict_of(entry_point(planted(tmp_path, "shop-otel-2", NEEDS.format("shop>=1")))) is None


def test_what_is_installed_here_is_known_without_an_import() -> None:
    """The table has the modules of OpenTelemetry's own."""
    before = set(sys.modules)
    found = {name: awaited_modules(each[0]) for name, each in installed_instrumentors().items()}
    assert {name: found[name] for name in ("requests", "grpc_client", "aiohttp_server", "system_metrics")} == {
        "requests": ("requests",),
        "grpc_client": ("grpc",),
        "aiohttp_server": ("aiohttp.web",),
        "system_metrics": (),
    }
    assert not {name for name in set(sys.modules) - before if name.startswith("opentelemetry.instrumentation.")}
