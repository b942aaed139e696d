"""Prints what ``config`` and ``doctor`` found, by rich: as wide as the terminal, and without a limit in a pipe."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from brain_otel.destinations.console.destination import encodable
from brain_otel.doctor.diagnosis import Diagnosis
from brain_otel.doctor.effective_configuration import EffectiveConfiguration, Leaf
from brain_otel.doctor.finding import Finding, Level

UNLIMITED = 10_000
"""Columns in a file or a pipe, where no line is broken."""

_WIDE = 110
"""Columns from which the path of a value, the value and its origin fit in one line."""

_HEADING = "bold magenta"
_MARKS: dict[Level, tuple[str, str]] = {
    "ok": ("✔", "green"),
    "note": ("•", "blue"),
    "warning": ("!", "yellow"),
    "fault": ("✘", "bold red"),
}


def print_json(data: Mapping[str, Any]) -> None:
    """Print an object, in ASCII so that any terminal can show it."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def print_effective(effective: EffectiveConfiguration) -> None:
    """Print where the configuration is from, each value, the destinations and the notices."""
    screen = _Screen()
    screen.print(_header("brain-otel config", effective))
    screen.print(Text())
    screen.print(_values(effective.leaves, screen.width))
    screen.print(_destinations(effective))
    for notice in effective.notices:
        screen.print(Text.assemble(("! ", "yellow"), effective.mask(notice)))
    screen.write()


def effective_data(effective: EffectiveConfiguration) -> dict[str, Any]:
    """What :func:`print_effective` prints, as JSON data."""
    choice = effective.choice
    return {
        "environment": {"value": choice.environment, "origin": effective.environment_from},
        "file": {"value": str(choice.path), "origin": effective.path_from},
        "service": effective.service._asdict(),
        "version": effective.version._asdict() if effective.version is not None else None,
        "release": effective.release._asdict(),
        "values": [
            {"key": ".".join(map(str, leaf.key)), "value": leaf.value, "masked": leaf.masked, "origin": leaf.origin}
            for leaf in effective.leaves
        ],
        "destinations": [
            {"signal": each.options.signal, "name": each.options.name, "address": each.error or each.address}
            for each in effective.targets
        ],
        "notices": [effective.mask(notice) for notice in effective.notices],
    }


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Print each finding with what to do about it, then how many there are."""
    screen = _Screen()
    title = "brain-otel doctor"
    screen.print(_header(title, diagnosis.effective) if diagnosis.effective else Text(title, "bold"))
    screen.print(Text())
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    previous = ""
    for finding in diagnosis.findings:
        mark, style = _MARKS[finding.level]
        check = finding.check if finding.check != previous else ""
        table.add_row(Text(mark, style), Text(check), _text(finding, style))
        previous = finding.check
    screen.print(table)
    screen.print(_total(diagnosis.findings))
    screen.write()


def diagnosis_data(diagnosis: Diagnosis, *, healthy: bool) -> dict[str, Any]:
    """What :func:`print_diagnosis` prints, as JSON data."""
    effective = diagnosis.effective
    return {
        "healthy": healthy,
        "environment": effective.choice.environment if effective else None,
        "file": str(effective.choice.path) if effective else None,
        "findings": [vars(each) for each in diagnosis.findings],
    }


class _Screen:
    """Collects the output and writes it at once, without spaces at the end of a line."""

    def __init__(self) -> None:
        limited = sys.stdout.isatty() or os.environ.get("COLUMNS")
        self._console = Console(highlight=False, width=None if limited else UNLIMITED)
        self._console.begin_capture()

    @property
    def width(self) -> int:
        return self._console.width

    def print(self, renderable: Table | Text) -> None:
        self._console.print(renderable, overflow="fold")

    def write(self) -> None:
        text = self._console.end_capture()
        if not self._console.is_terminal:
            text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        sys.stdout.write(encodable(text, sys.stdout))
        sys.stdout.flush()


def _header(title: str, effective: EffectiveConfiguration) -> Text:
    choice = effective.choice
    service = [each for each in (effective.service, effective.version) if each is not None]
    origins = ", ".join(dict.fromkeys(each.origin for each in service))
    rows = (
        ("environment", choice.environment, effective.environment_from),
        ("file", str(choice.path), effective.path_from),
        ("service", " ".join(each.value for each in service), origins),
        ("release", effective.release.value, effective.release.origin),
    )
    lines = [
        Text.assemble((f"{name:13}", "dim"), (value, "bold"), (f"  from {origin}", "dim"))
        for name, value, origin in rows
    ]
    return Text("\n").join([Text(title, "bold"), *lines])


def _values(leaves: Sequence[Leaf], width: int) -> Table:
    """Each value under the name of its block; on a narrow screen its origin stands below it."""
    table = _table()
    previous = ""
    for leaf in leaves:
        depth = 0 if len(leaf.key) == 1 else 2 if leaf.key[0] == "distribution" else 1
        block, name = (".".join(map(str, part)) for part in (leaf.key[:depth], leaf.key[depth:]))
        if block != previous:
            table.add_row()
            table.add_row(Text(block, _HEADING))
            previous = block
        name = f"  {name}" if block else name
        value = Text(leaf.value or "-", "dim" if leaf.masked or not leaf.value else "")
        origin = Text(leaf.origin, "dim" if leaf.origin == "file" or "(" in leaf.origin else "green")
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


def _destinations(effective: EffectiveConfiguration) -> Table:
    table = _table()
    table.add_row()
    table.add_row(Text("destinations", _HEADING))
    for each in effective.targets:
        style = "red" if each.error else "dim" if each.is_off else ""
        name = f"  {each.options.signal}"
        table.add_row(Text(name), Text(each.options.name), Text(each.error or each.address, style))
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


def _total(findings: Sequence[Finding]) -> Text:
    levels = [each.level for each in findings]
    numbers = {level: levels.count(level) for level in ("fault", "warning", "note") if level in levels}
    counts = [f"{number} {level}{'s' if number > 1 else ''}" for level, number in numbers.items()]
    style = "bold red" if "fault" in numbers else "bold green"
    return Text(f"\n{', '.join(counts) or 'No problems found.'}", style)
