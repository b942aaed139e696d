"""What the demo shows: on the terminal, and in an SVG drawing if one is wanted."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from brain_otel.destinations.console.destination import layout_for, write
from brain_otel.destinations.console.text import Layout, Line, description
from brain_otel.destinations.console.tree import FinishedTrace, render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from brain_otel.configuration.settings import Settings

DRAWING = Layout(width=110, shorten=True)


class Screen:
    """Shows lines and trees on stdout, and draws them if ``draw``."""

    def __init__(self, *, width: int | None, draw: bool) -> None:
        self._layout = layout_for(sys.stdout) if width is None else Layout(width=width, shorten=True)
        self._drawing: Console | None = None
        if draw:
            self._drawing = Console(
                record=True, width=DRAWING.width, file=io.StringIO(), force_terminal=True, highlight=False
            )

    def say(self, *lines: Line) -> None:
        """Show ``lines`` as they are."""
        write(lines, sys.stdout)
        self._draw(lines)

    def show(self, traces: Sequence[FinishedTrace]) -> None:
        """Show ``traces`` as trees, each as wide as there is room."""
        write([*render(traces, self._layout), []], sys.stdout)
        if self._drawing is not None:
            self._draw([*render(traces, DRAWING), []])

    def introduce(self) -> None:
        """Say what is running."""
        self.say(
            [("brain-otel demo", "bold")],
            [("BRAiN Core and the LLM API it calls (FastAPI), SQLite, Valkey: real, on this machine, traced.", "")],
            [],
        )

    def show_scenario(self, number: int, title: str, remark: str, traces: Sequence[FinishedTrace]) -> None:
        """Show what came of one request."""
        self.say([(f"{number}  {title}", "bold magenta"), (f"  {remark}", "dim")])
        self.show(traces)

    def sum_up(self, traces: Sequence[FinishedTrace]) -> None:
        """Show every error and message with the trace to which it belongs."""
        rows = [(note, _name(each)) for each in traces for note in each.notes]
        names = max((len(name) for _, name in rows), default=0)
        self.say([("Errors and messages, each with its trace", "bold magenta")])
        for note, name in rows:
            trace = f"{note.span.trace_id:032x}"[:8] if note.span else "none"
            style = "red" if note.is_error else "yellow"
            self.say(
                [(f"   {_shortened(note.text, 42)}", style), (f"  {name:{names}}", ""), (f"  trace {trace}", "dim")]
            )
        self.say([])

    def say_what_next(self, settings: Settings, *, sent: bool) -> None:
        """Say how the same is seen in Sentry, or, with a DSN, that it goes there."""
        if settings.sentry is not None:
            fate = "All of this is on its way" if sent else "Not all of this could be handed over in time"
            self.say([(f"{fate} to Sentry, environment {settings.environment}.", "bold")], [])
            return
        self.say(
            [("To see the same in Sentry", "bold magenta"), ("  run this demo, or your service, with", "dim")],
            [("   SENTRY_DSN=https://<key>@<host>/<project>", "green")],
            [("and put two lines into your service:", "dim")],
            [("   import brain_otel", "green")],
            [("   brain_otel.setup()", "green")],
            [],
        )

    def invite(self, url: str) -> None:
        """Say where the service listens."""
        self.say(
            [
                (f"BRAiN Core listens on {url}", "bold"),
                (f"  try: curl {url}/missions/2  (all routes: {url}/docs)", ""),
            ],
            [("Each trace is shown here. Ctrl-C ends it.", "dim")],
            [],
        )

    def save(self, path: Path) -> None:
        """Write the drawing."""
        if self._drawing is not None:
            drawn = self._drawing.export_svg(title="brain-otel demo", theme=SVG_EXPORT_THEME, unique_id="demo")
            path.write_text(drawn, encoding="utf-8")

    def _draw(self, lines: Sequence[Line]) -> None:
        if self._drawing is not None:
            for line in lines:
                self._drawing.print(Text.assemble(*line), no_wrap=True, overflow="crop")


def _name(trace: FinishedTrace) -> str:
    root = trace.collected.root if trace.collected is not None else None
    return description(root) if root is not None else ""


def _shortened(text: str, columns: int) -> str:
    return text.ljust(columns) if len(text) <= columns else text[: columns - 1] + "…"
