"""docs/architecture.md shows the package as it is.

``uv run python -m tests.test_architecture_page`` writes the table of private names into the page.
"""

import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.support import ROOT
from tests.support.private_names import PrivateName
from tests.test_docs import section

PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "brain_otel"
BEGIN, END = "<!-- private names -->\n", "<!-- /private names -->"


def private_names() -> list[PrivateName]:
    """The entries of every room's table."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "tests").rglob("test_private_names.py"))
    ]
    return [each for module in modules for each in getattr(importlib.import_module(module), "PRIVATE_NAMES", ())]


def table() -> str:
    """The page's table: names of one owner, with one purpose, are one row."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for each in sorted(private_names(), key=lambda each: each.name):
        owner, name = _split(each.name)
        used_in = ", ".join(map(_link, each.used_in))
        groups[owner, used_in, each.purpose, _link_to_test(each.pinned_by)].append(f"`{name}`")
    header = [("of", "private names", "used in", "purpose", "pinned by"), ("---",) * 5]
    rows = [(f"`{owner}`", ", ".join(names), *others) for (owner, *others), names in groups.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in [*header, *rows])


def _split(name: str) -> tuple[str, str]:
    """Split a dotted name before its first private part."""
    parts = name.split(".")
    first = next(place for place, part in enumerate(parts) if part.startswith("_"))
    return ".".join(parts[:first]), ".".join(parts[first:])


def _link(path: str) -> str:
    return f"[`{path.removeprefix('brain_otel/')}`](../{path})"


def _link_to_test(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[`{name}`](../{path})"


def drawn_modules() -> Iterator[str]:
    """The modules of the picture of the house, as paths from the package on."""
    (picture,) = re.findall(r"^    brain_otel/\n((?:      .*\n)+)", section(PAGE, "## The house"), re.MULTILINE)
    folders: list[tuple[int, str]] = []
    for line in picture.splitlines():
        indent = len(line) - len(line.lstrip())
        first, *others = line.split()
        if first.endswith("/"):
            folders = [each for each in folders if each[0] < indent]
            folders.append((indent, first))
            modules = others
        else:
            modules = [first, *others]
        yield from ("".join(name for _, name in folders) + module for module in modules)


def test_the_picture_of_the_house_shows_every_module_once() -> None:
    """Where it is; packages' own ``__init__`` modules are left out."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    assert sorted(drawn_modules()) == sorted(path.as_posix() for path in paths if path.name != "__init__")


def test_every_room_has_a_paragraph() -> None:
    """Below the picture, in bold."""
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    words = {word for bold in re.findall(r"\*\*(.*?)\*\*", section(PAGE, "## The house")) for word in bold.split()}
    assert rooms <= words


def test_the_page_lists_every_private_name_with_its_test() -> None:
    """As the tables of the rooms have them."""
    (listed,) = re.findall(f"{BEGIN}(.*?){END}", PAGE.read_text(), re.DOTALL)
    assert listed == table(), "uv run python -m tests.test_architecture_page writes it"


def test_a_file_that_the_page_names_exists() -> None:
    """A path in backticks, from the checkout or from the package on."""
    named = re.findall(r"`([\w/]+/\w+\.(?:py|yaml|toml))`", PAGE.read_text())
    assert [each for each in named if not ((ROOT / each).exists() or (PACKAGE / each).exists())] == []


def write_table(page: Path = PAGE) -> None:
    """Write the table into the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    write_table()
