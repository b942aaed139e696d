"""Makes a screen of its data: a page, JSON, or Markdown for a ticket."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup

MARKDOWN_TEXT = 4_000
NOTHING = "\N{EN DASH}"

_loader = jinja2.PackageLoader("brain_otel.viewer")


def milliseconds(value: float | None) -> str:
    """A duration in microseconds, as a person reads it."""
    if value is None:
        return NOTHING
    if value < 1_000:
        return f"{value:.0f} µs"
    if value < 10_000:
        return f"{value / 1_000:.2f} ms"
    if value < 1_000_000:
        return f"{value / 1_000:.0f} ms"
    return f"{value / 1_000_000:.2f} s" if value < 100_000_000 else f"{value / 60_000_000:.1f} min"


def number(value: float | None) -> str:
    """A count with thousands apart."""
    if value is None:
        return NOTHING
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 0.01 else "< 0.01"


def percent(value: float | None) -> str:
    """A share of one."""
    if value is None:
        return NOTHING
    return f"{value:.2%}" if 0 < value < 0.1 or 0.99 < value < 1 else f"{value:.1%}"


def moment(value: int) -> str:
    """A time in microseconds, in UTC."""
    return datetime.fromtimestamp(value / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(value: int) -> str:
    """A time in microseconds as the time of its day, in UTC."""
    return datetime.fromtimestamp(value / 1e6, UTC).strftime("%H:%M:%S.%f")[:-3]


def ago(value: int, now: float) -> Markup:
    """A time in microseconds, as how long ago it was; the time itself shows on hover."""
    seconds = max(0.0, now - value / 1e6)
    steps = ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h"), (float("inf"), 86_400, "d"))
    text = next(f"{seconds // unit:.0f} {name}" for below, unit, name in steps if seconds < below)
    iso = datetime.fromtimestamp(value / 1e6, UTC).isoformat()
    return Markup('<time datetime="{}" title="{}">{} ago</time>').format(iso, moment(value), text)


def runs(frames: list[Any]) -> list[list[Any]]:
    """Frames that follow one another, divided where the application's begin and end."""
    return [list(group) for _, group in itertools.groupby(frames, key=lambda frame: frame["in_app"])]


def bars(values: list[int]) -> str:
    """The path of a bar for each value that is not 0, 4 wide and at most 20 high, as SVG writes it."""
    top = max(*values, 1) if values else 1
    heights = ((place, max(value / top * 20, 1.5)) for place, value in enumerate(values) if value)
    return "".join(f"M{place * 4} 20v-{height:.2f}h3v{height:.2f}z" for place, height in heights)


def pretty(value: Any) -> str:
    """A value as text; nested ones as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1, default=str)


def address(path: str, /, **parameters: Any) -> str:
    """A path with the parameters that are not empty."""
    given = {key: value for key, value in parameters.items() if value not in ("", None, False)}
    return f"{path}?{urlencode(given)}" if given else path


def fenced(text: Any) -> str:
    """A block of code in Markdown that its text cannot end."""
    body = str(text)[:MARKDOWN_TEXT]
    fence = "```"
    while fence in body:
        fence += "`"
    return f"{fence}\n{body}\n{fence}"


def inline(text: Any) -> str:
    """A text within a line of Markdown, without a meaning there."""
    line = " ".join(str(text).split())[:500]
    return "".join(f"\\{each}" if each in "\\`*_[]<>|#" else each for each in line)


def _environment(*, escaped: bool) -> jinja2.Environment:
    found = jinja2.Environment(
        loader=_loader,
        autoescape=escaped,  # noqa: S701  # Markdown is escaped by its filters
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        ms=milliseconds,
        number=number,
        percent=percent,
        moment=moment,
        clock=clock,
        pretty=pretty,
        runs=runs,
        fenced=fenced,
        inline=inline,
    )
    found.globals.update(ago=ago, address=address, bars=bars, fmt={"ms": milliseconds, "number": number})
    return found


class Renderer:
    """The templates; a page is escaped, Markdown is escaped by its filters."""

    def __init__(self) -> None:
        self._pages = _environment(escaped=True)
        self._markdown = _environment(escaped=False)

    def page(self, name: str, **values: Any) -> str:
        """The page ``name`` as HTML."""
        return self._pages.get_template(f"{name}.html").render(**values)

    def markdown(self, name: str, **values: Any) -> str:
        """The page ``name`` as Markdown."""
        return self._markdown.get_template(f"{name}.md").render(**values)
