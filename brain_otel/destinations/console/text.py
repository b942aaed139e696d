"""A span in words: what the console says of it, from old and stable semantic conventions alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.trace import StatusCode

from brain_otel.traces import conventions

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


_MAX_TEXT = 2_000


_LITERAL = re.compile(r"'[^']*'|\b\d+\b")


def clean(text: object) -> str:
    """``text`` on one line, of bounded length and without what a terminal might obey."""
    words = " ".join(str(text)[:_MAX_TEXT].split())
    return words if words.isprintable() else "".join(each if each.isprintable() else "�" for each in words)


def operation(span: ReadableSpan) -> str:
    """What kind of work ``span`` stands for, in Sentry's words."""
    return clean(conventions.operation(span))


def description(span: ReadableSpan) -> str:
    """The statement, the method and address, or the name of ``span``."""
    return clean(conventions.description(span))


def statement(span: ReadableSpan) -> str | None:
    """The SQL statement of ``span`` without its literals, or None if it is of another kind."""
    return _LITERAL.sub("?", description(span)) if operation(span) == "db" else None


def http_status(span: ReadableSpan) -> int | None:
    """The HTTP status code of ``span``, if it has one."""
    code = conventions.first(span.attributes or {}, "http.response.status_code", "http.status_code")
    return code if isinstance(code, int) else None


def has_failed(span: ReadableSpan) -> bool:
    """Whether the status of ``span`` is error."""
    return span.status.status_code is StatusCode.ERROR


def duration(milliseconds: float) -> str:
    """``milliseconds`` with three significant digits and a unit."""
    if milliseconds >= 1_000:
        return f"{milliseconds / 1_000:.2f} s"
    return (
        f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.{1 if milliseconds >= 10 else 2}f} ms"
    )


# Lines of styled text in columns, as wide as the terminal is.
#
# A line is a list of ``(text, style)``, the styles in rich's words, so that the same lines serve with and without
# rich.

Segment = tuple[str, str]


Line = list[Segment]


WIDE = 140
"""Columns where the terminal does not say: the output goes to a file or a pipe."""


NARROW = 72
"""Columns that the layout needs at least."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How wide lines are, and whether what does not fit is cut off or runs over."""

    width: int = WIDE
    shorten: bool = False

    @property
    def bar(self) -> int:
        """Columns of the time bars."""
        return max(14, min(24, self.width // 6))

    def fit(self, line: Line, room: int | None = None) -> Line:
        """``line`` cut to ``room`` columns (default: all), unless lines may run over."""
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
        """``line`` at the left and three columns at the right."""
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
