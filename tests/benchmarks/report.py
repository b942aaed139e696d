"""Writes the figures into a page between two marks, and keeps the text around them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.grid import Grid

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"


def write_report(page: Path, results: Mapping[str, Any], grids: Sequence[Grid]) -> None:
    """Replace the tables of the page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no {BEGIN} ... {END}")
    tables = "\n".join(grid.markdown() for grid in grids)
    page.write_text(f"{before}{begin}\n{_about(results['about'])}\n\n{tables}\n{end}{after}")


def _about(about: Mapping[str, Any]) -> str:
    sections = [
        f"{section}: " + ", ".join(_option(name, value) for name, value in given.items())
        for section, given in about["measured"].items()
    ]
    return "; ".join([*sections, f"cores: {about['cores']}", f"Python {about['python']}"]) + "."


def _option(name: str, value: float) -> str:
    number = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return f"{number}/s" if name == "rate" else f"{number} {name}"
