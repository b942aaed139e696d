"""Writes each section's figures into a page, between marks of their own, and keeps all else of the page.

A section that was not measured keeps its figures and the line that says when and how they were measured.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.grid import Grid

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
_BLOCK = re.compile(r"<!-- section (\w+) -->\n(.*?)<!-- /section \1 -->\n", re.DOTALL)


def write_report(page: Path, results: Mapping[str, Any], grids: Mapping[str, Sequence[Grid]]) -> None:
    """Replace the tables of the sections in ``grids``, which are in the order of the page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no {BEGIN} ... {END}")
    blocks = dict(_BLOCK.findall(inside))
    blocks |= {section: _block(section, results["about"], made) for section, made in grids.items() if made}
    text = "\n".join(_marked(blocks, [*grids, *(each for each in blocks if each not in grids)]))
    page.write_text(f"{before}{begin}\n{text}{end}{after}")


def _marked(blocks: Mapping[str, str], order: Sequence[str]) -> Iterator[str]:
    for section in order:
        if section in blocks:
            yield f"<!-- section {section} -->\n{blocks[section]}<!-- /section {section} -->\n"


def _block(section: str, about: Mapping[str, Any], grids: Sequence[Grid]) -> str:
    """Return the tables of a section below a line with its options, its day and the machine."""
    given = about["measured"].get(section, {})
    options = [_option(name, value) for name, value in given.items()]
    line = ", ".join([*options, f"{about['cores']} cores", f"Python {about['python']}"])
    tables = "\n".join(grid.markdown() for grid in grids)
    return f"Section `{section}`: {line}.\n\n{tables}"


def _option(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return value  # the day
    number = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return f"{number}/s" if name == "rate" else f"{number} {name}"
