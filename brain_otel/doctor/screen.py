"""What ``config`` and ``doctor`` print, by rich: as wide as the terminal, and never cut where there is none."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brain_otel.doctor.checks import Diagnosis
    from brain_otel.doctor.effective import Effective, Leaf
    from brain_otel.doctor.findings import Finding, Level

UNLIMITED = 10_000
"""Columns where the output goes to a file or a pipe: every line in one piece."""

_WIDE = 110
"""Columns from which a value's path, the value and its origin stand in one line."""

_HEADING = "bold magenta"
_MARKS: dict[Level, tuple[str, str]] = {
    "ok": ("✔", "green"),
    "note": ("•", "blue"),
    "warning": ("!", "yellow"),
    "fault": ("✘", "bold red"),
}
_ASCII = str.maketrans({"✔": "+", "✘": "x", "•": "-", "→": ">", "…": "~"})
_NOUNS = {"fault": ("fault", "faults"), "warning": ("warning", "warnings"), "note": ("note", "notes")}


def print_json(data: Mapping[str, Any]) -> None:
    """Print an object, in ASCII so that any terminal takes it."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def print_effective(effective: Effective) -> None:
    """Print where the configuration is from, each value, the destinations and what is to be told."""
    screen = _Screen()
    screen.print(_header("brain-otel config", effective))
    screen.print(Text())
    screen.print(_values(effective.leaves, screen.width))
    screen.print(_destinations(effective))
    for notice in effective.settings.notices:
        screen.print(Text.assemble(("! ", "yellow"), effective.mask(notice)))
    screen.end()


def effective_data(effective: Effective) -> dict[str, Any]:
    """The same as data."""
    choice = effective.choice
    return {
        "environment": {"value": choice.environment, "origin": effective.environment_from},
        "file": {"value": str(choice.path), "origin": effective.path_from},
        "values": [
            {"key": ".".join(map(str, leaf.key)), "value": leaf.value, "masked": leaf.masked, "origin": leaf.origin}
            for leaf in effective.leaves
        ],
        "destinations": [
            {"signal": each.options.signal, "name": each.options.name, "address": each.refused or each.address}
            for each in effective.targets
        ],
        "notices": [effective.mask(notice) for notice in effective.settings.notices],
    }


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Print each finding with what to do about it, and the sum."""
    screen = _Screen()
    title = "brain-otel doctor"
    screen.print(_header(title, diagnosis.effective) if diagnosis.effective else Text(title, "bold"))
    screen.print(Text())
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    before = ""
    for finding in diagnosis.findings:
        mark, style = _MARKS[finding.level]
        table.add_row(
            Text(mark, style), Text(finding.check if finding.check != before else ""), _text(finding, style)
        )
        before = finding.check
    screen.print(table)
    screen.print(_sum(diagnosis.findings))
    screen.end()


def diagnosis_data(diagnosis: Diagnosis, *, healthy: bool) -> dict[str, Any]:
    """The same as data."""
    effective = diagnosis.effective
    return {
        "healthy": healthy,
        "environment": effective.choice.environment if effective else None,
        "file": str(effective.choice.path) if effective else None,
        "findings": [
            {
                "check": each.check,
                "level": each.level,
                "title": each.title,
                "detail": each.detail,
                "remedy": each.remedy,
            }
            for each in diagnosis.findings
        ],
    }


class _Screen:
    """Collects what is printed and writes it at once, without spaces at the end of a line."""

    def __init__(self) -> None:
        limited = sys.stdout.isatty() or os.environ.get("COLUMNS")
        self._console = Console(highlight=False, width=None if limited else UNLIMITED)
        self._console.begin_capture()

    @property
    def width(self) -> int:
        return self._console.width

    def print(self, renderable: Table | Text) -> None:
        self._console.print(renderable, overflow="fold")

    def end(self) -> None:
        text = self._console.end_capture()
        if not self._console.is_terminal:
            text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        encoding = sys.stdout.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
        sys.stdout.write(text)
        sys.stdout.flush()


def _header(title: str, effective: Effective) -> Text:
    choice = effective.choice
    return Text.assemble(
        (f"{title}\n", "bold"),
        ("environment  ", "dim"),
        (choice.environment, "bold"),
        (f"  from {effective.environment_from}\n", "dim"),
        ("file         ", "dim"),
        (str(choice.path), "bold"),
        (f"  from {effective.path_from}", "dim"),
    )


def _values(leaves: Sequence[Leaf], width: int) -> Table:
    """Every value under the block it stands in, with its path below that."""
    table = _table()
    before = ""
    for leaf in leaves:
        depth = 0 if len(leaf.key) == 1 else 2 if leaf.key[0] == "distribution" else 1
        title, name = (".".join(map(str, part)) for part in (leaf.key[:depth], leaf.key[depth:]))
        if title != before:
            table.add_row()
            table.add_row(Text(title, _HEADING))
            before = title
        name = f"  {name}" if title else name
        value = Text(leaf.value or "-", "dim" if leaf.masked or not leaf.value else "")
        origin = Text(leaf.origin, _origin_style(leaf))
        if width >= _WIDE:
            table.add_row(Text(name), value, origin)
            continue
        table.add_row(Text.assemble(f"{name}  ", value))
        if leaf.origin != "file":
            table.add_row(Text.assemble("      from " if "(" not in leaf.origin else "      ", origin))
    return table


def _table() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(overflow="fold")
    return table


def _origin_style(leaf: Leaf) -> str:
    return "dim" if leaf.origin == "file" or "(" in leaf.origin else "green"


def _destinations(effective: Effective) -> Table:
    table = _table()
    table.add_row()
    table.add_row(Text("destinations", _HEADING))
    for each in effective.targets:
        style = "red" if each.refused else "dim" if each.is_off else ""
        name = f"  {each.options.signal}"
        table.add_row(Text(name), Text(each.options.name), Text(each.refused or each.address, style))
    if not effective.targets:
        table.add_row(Text("  none", "dim"))
    return table


def _text(finding: Finding, style: str) -> Text:
    text = Text(finding.title, style if finding.level in ("fault", "warning") else "")
    if finding.detail:
        text.append(f"\n{finding.detail}", "dim")
    if finding.remedy:
        text.append(f"\n→ {finding.remedy}", "cyan")
    return text


def _sum(findings: Sequence[Finding]) -> Text:
    counts = []
    for level, (one, many) in _NOUNS.items():
        number = sum(each.level == level for each in findings)
        if number:
            counts.append(f"{number} {one if number == 1 else many}")
    faulty = any(each.level == "fault" for each in findings)
    return Text(f"\n{', '.join(counts) if counts else 'All is well.'}", "bold red" if faulty else "bold green")
