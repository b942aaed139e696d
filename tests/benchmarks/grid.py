"""A table for terminals and for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows of text. The first column is the title of a row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def table(self) -> Table:
        """Format the table for a terminal."""
        made = Table(title=self.title, title_justify="left", caption="\n".join(self.notes), caption_justify="left")
        for number, column in enumerate(self.columns):
            made.add_column(column, justify="right" if number else "left", no_wrap=True)
        for row in self.rows:
            made.add_row(*row)
        return made

    def markdown(self) -> str:
        """Format the table for a Markdown page."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "".join(f"\n{note}\n" for note in self.notes)
        return f"### {self.title}\n\n{table}\n{notes}"


def ratio(value: float | None) -> str:
    """Format a ratio with two decimals; None becomes a dash."""
    return "-" if value is None else f"{value:.2f}"
