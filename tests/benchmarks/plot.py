"""Draws the table of CPU: two bars for each variant, in units of the floor, for light and dark pages."""

from collections.abc import Iterator
from typing import Any
from xml.sax.saxutils import escape

from tests.benchmarks.figures import ByVariant, against
from tests.benchmarks.grid import ratio
from tests.benchmarks.variants import BARE

WIDTH, LEFT, RIGHT = 860, 210, 60
TOP, ROW, BAR = 76, 34, 11

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.value { font-size: 11px }
.ours { font-weight: 600 }
.loop { fill: #6a4fb6 }
.process { fill: #c3b5e8 }
.line { stroke: #8c959f; stroke-dasharray: 3 3 }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .loop { fill: #a58bf0 }
  .process { fill: #55468a }
  .ground { fill: #0d1117 }
}
"""


def draw(found: ByVariant, kind: str) -> str:
    """Return an SVG of the cost that each variant adds to the bare application."""
    names = [name for name in found if name != BARE]
    rows: list[tuple[str, dict[str, float | None]]] = [
        (name, {key: against(found, name, key) for key in ("loop", "process")}) for name in names
    ]
    most = max(1.0, *(value or 0.0 for _, values in rows for value in values.values()))
    unit = (WIDTH - LEFT - RIGHT) / most
    height = TOP + ROW * len(rows) + 12
    body = "\n".join(
        [*_head(kind, unit, height), *(part for at, row in enumerate(rows) for part in _row(at, *row, unit))]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img">\n<style>{STYLE}</style>\n{body}\n</svg>\n'
    )


def _head(kind: str, unit: float, height: int) -> Iterator[str]:
    floor = LEFT + unit
    yield f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>'
    yield f'<text class="title" x="16" y="28">CPU added to a {kind}, in units of what plain OpenTelemetry adds</text>'
    for key, at, text in (("loop", 16, "the event loop's thread"), ("process", 196, "the whole process")):
        yield f'<rect class="{key}" x="{at}" y="42" width="12" height="12" rx="2"/>'
        yield f'<text x="{at + 18}" y="53">{text}</text>'
    yield f'<line class="line" x1="{floor:.0f}" y1="62" x2="{floor:.0f}" y2="{height - 8}"/>'


def _row(number: int, name: str, values: dict[str, Any], unit: float) -> Iterator[str]:
    top = TOP + ROW * number
    style = ' class="ours"' if name.startswith("brain_otel") else ""
    yield f'<text{style} x="{LEFT - 10}" y="{top + 16}" text-anchor="end">{escape(name)}</text>'
    for place, (key, value) in enumerate(values.items()):
        y, width = top + place * (BAR + 1), max(1.0, (value or 0.0) * unit)
        yield f'<rect class="{key}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
        yield f'<text class="value" x="{LEFT + width + 5:.1f}" y="{y + 9}">{ratio(value)}</text>'
