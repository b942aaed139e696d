"""Shows the demo's output on the terminal and, on request, draws it as SVG."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

from brain_otel.configuration.settings import Settings
from brain_otel.destinations.console.destination import layout_for, write
from brain_otel.destinations.console.layout import Layout, Line
from brain_otel.destinations.console.text import description
from brain_otel.destinations.console.tree import FinishedTrace, render

DRAWING = Layout(width=110, shorten=True)


class Screen:
    """Writes lines and trees to stdout, and draws them if ``draw`` is true."""

    def __init__(self, *, width: int | None, draw: bool) -> None:
        self._layout = layout_for(sys.stdout) if width is None else Layout(width=width, shorten=True)
        self._drawing: Console | None = None
        if draw:
            self._drawing = Console(
                record=True, width=DRAWING.width, file=io.StringIO(), force_terminal=True, highlight=False
            )

    def say(self, *lines: Line) -> None:
        """Show ``lines`` unchanged."""
        write(lines, sys.stdout)
        self._draw(lines)

    def show(self, traces: Sequence[FinishedTrace]) -> None:
        """Show ``traces`` as trees, as wide as the terminal and the drawing allow."""
        write([*render(traces, self._layout), []], sys.stdout)
        if self._drawing is not None:
            self._draw([*render(traces, DRAWING), []])

    def introduce(self) -> None:
        """Say which services run."""
        services = "Two FastAPI services, BRAiN Core and the LLM API that it calls, run here with SQLite and Valkey."
        self.say([("brain-otel demo", "bold")], [(services, "")], [])

    def show_scenario(self, number: int, title: str, remark: str, traces: Sequence[FinishedTrace]) -> None:
        """Show the traces of one request."""
        self.say([(f"{number}  {title}", "bold magenta"), (f"  {remark}", "dim")])
        self.show(traces)

    def sum_up(self, traces: Sequence[FinishedTrace]) -> None:
        """Show each error and message with its trace."""
        rows = [(note, _name(each)) for each in traces for note in each.events]
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
        """Say how to see the same in Sentry; with a DSN, say whether everything was sent there."""
        if settings.sentry is not None:
            outcome = "Everything was sent" if sent else "Not everything could be sent in time"
            self.say([(f"{outcome} to Sentry, environment {settings.environment}.", "bold")], [])
            return
        self.say(
            [("To see the same in Sentry", "bold magenta"), ("  run this demo, or your service, with", "dim")],
            [("   SENTRY_DSN=https://<key>@<host>/<project>", "green")],
            [("and add two lines to your service:", "dim")],
            [("   import brain_otel", "green")],
            [("   brain_otel.setup()", "green")],
            [],
        )

    def invite(self, url: str) -> None:
        """Say where BRAiN Core listens."""
        self.say(
            [
                (f"BRAiN Core listens on {url}", "bold"),
                (f"  try: curl {url}/missions/2  (all routes: {url}/docs)", ""),
            ],
            [("Each trace is shown here. Press Ctrl-C to stop.", "dim")],
            [],
        )

    def save(self, path: Path) -> None:
        """Write the drawing to ``path``."""
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
