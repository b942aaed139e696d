"""Lays out lines of styled text in columns, as wide as the terminal.

A line is a list of ``(text, style)``. The styles are rich's words, so the same lines serve with and without rich.
"""

from dataclasses import dataclass

Segment = tuple[str, str]
Line = list[Segment]

WIDE = 140
"""Columns if the output is not a terminal."""

NARROW = 72
"""Columns that the layout needs at least."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The width of lines, and whether longer lines are cut off."""

    width: int = WIDE
    shorten: bool = False

    @property
    def bar(self) -> int:
        """Columns of the time bars."""
        return max(14, min(24, self.width // 6))

    def fit(self, line: Line, room: int | None = None) -> Line:
        """``line`` cut to ``room`` columns (None: the whole width), unless longer lines may run over."""
        left = max(NARROW, self.width) if room is None else room
        if not self.shorten or _length(line) <= left:
            return line
        cut: Line = []
        for text, style in line:
            if len(text) >= left:
                return [*cut, (text[: max(0, left - 1)] + "…", style)]
            cut.append((text, style))
            left -= len(text)
        return cut

    def row(self, line: Line, status: Segment, time: Segment, last: Segment) -> Line:
        """``line`` on the left and three columns on the right."""
        room = max(NARROW, self.width) - self.bar - 20
        fitted = self.fit(line, room)
        padding = " " * max(0, room - _length(fitted))
        return [
            *fitted,
            (f"{padding}  {status[0]:>5}", status[1]),
            (f"  {time[0]:>9}", time[1]),
            (f"  {last[0]}", last[1]),
        ]


def as_text(line: Line) -> str:
    """The line without styles."""
    return "".join(text for text, _ in line).rstrip()


def _length(line: Line) -> int:
    return sum(len(text) for text, _ in line)
