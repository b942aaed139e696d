"""Renders local traces as trees of spans, errors and messages.

Several local traces become one tree if a span of one is the parent of the other's root, as when two services run in
one process. Pure functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext

from brain_otel.destinations.console.layout import Layout, Line, Segment
from brain_otel.destinations.console.text import (
    clean,
    description,
    duration,
    has_failed,
    http_status,
    operation,
    statement,
)
from brain_otel.privacy import policy
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.traces.collector import CollectedTrace
from brain_otel.traces.repeated import REPEATED, repeated
from brain_otel.traces.scope import BREADCRUMB_EVENT

_Item: TypeAlias = "_Node | ReportedEvent | Event"

SLOW = 100.0
"""Milliseconds from which a duration is highlighted."""

MAX_ROWS = 200
"""Rows of one tree; a trace may have a thousand spans, more than anybody reads on a terminal."""

MAX_INDENT = 60
"""Columns of indentation; deeper levels are not indented further."""


@dataclass(frozen=True, kw_only=True)
class ReportedEvent:
    """A reported error or message, reduced to the parts that are shown."""

    text: str
    event_id: str
    kind: str
    """``unhandled`` or ``handled`` for an error, the level for a message."""
    is_error: bool = False
    span: SpanContext | None = None
    """The span it happened in, if any."""


@dataclass(frozen=True, kw_only=True)
class FinishedTrace:
    """A complete local trace with the events reported in it."""

    collected: CollectedTrace | None
    """None for events outside of a recorded trace."""
    events: Sequence[ReportedEvent] = ()
    tags: Mapping[str, Any] = field(default_factory=dict)


def render(traces: Sequence[FinishedTrace], layout: Layout, *, compact: bool = False) -> list[Line]:
    """The lines for ``traces``: a tree for each that has no parent among them, or one line each if ``compact``."""
    lines: list[Line] = []
    for each in traces:
        if each.collected is None:
            for event in each.events:
                lines += _event_lines(event, layout, "", "  ")
    for head in sorted(_heads(traces), key=lambda node: node.start):
        lines.append(_header(head, layout, compact=compact))
        if not compact:
            lines += _lines_below(head, layout)
    return lines


@dataclass(eq=False, kw_only=True)
class _Node:
    span: ReadableSpan
    finished: FinishedTrace | None = None
    """The local trace whose root this span is."""
    children: list[_Node] = field(default_factory=list)
    events: list[ReportedEvent] = field(default_factory=list)
    folded: list[_Node] = field(default_factory=list)
    """Equal siblings that share the row of this one."""

    @property
    def start(self) -> int:
        return self.span.start_time or 0

    @property
    def end(self) -> int:
        return max([self.span.end_time or self.start, *(each.end for each in self.folded)])

    @property
    def milliseconds(self) -> float:
        own = (self.span.end_time or self.start) - self.start
        return own / 1e6 + sum(each.milliseconds for each in self.folded)

    def walk(self) -> Iterator[_Node]:
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack += [*node.children, *node.folded]


def _heads(traces: Sequence[FinishedTrace]) -> list[_Node]:
    """The nodes without a parent among ``traces``."""
    nodes: dict[int, tuple[_Node, _Node]] = {}
    for trace in traces:
        if trace.collected is not None and trace.collected.root is not None:
            root = _Node(span=MaskedSpan(trace.collected.root), finished=trace)
            for node in (root, *(_Node(span=MaskedSpan(span)) for span in trace.collected.spans)):
                context = node.span.get_span_context()
                nodes[context.span_id if context else 0] = (node, root)
            for event in trace.events:
                nodes.get(event.span.span_id if event.span else 0, (root, root))[0].events.append(event)
    heads = []
    for node, root in nodes.values():
        parent, _ = nodes.get(node.span.parent.span_id if node.span.parent else 0, (root, root))
        if parent is node:
            heads.append(node)
        else:
            parent.children.append(node)
    for node, _ in nodes.values():
        node.children = _folded(sorted(node.children, key=lambda child: child.start))
    return heads


def _folded(children: list[_Node]) -> list[_Node]:
    """``children`` with equal ones that have nothing below them folded into the first of them."""
    alike: dict[tuple[str, str], list[_Node]] = {}
    for node in children:
        if not (node.children or node.events or node.finished or node.span.events or has_failed(node.span)):
            key = (operation(node.span), statement(node.span) or description(node.span))
            alike.setdefault(key, []).append(node)
    hidden: set[int] = set()
    for first, *others in alike.values():
        if len(others) + 1 >= REPEATED:
            first.folded = others
            hidden.update(id(node) for node in others)
    return [node for node in children if id(node) not in hidden]


def _header(head: _Node, layout: Layout, *, compact: bool) -> Line:
    statements = Counter(each for node in head.walk() if (each := statement(node.span)))
    errors = sum(event.is_error for node in head.walk() for event in node.events)
    line: Line = [_mark(head, errors), (description(head.span), "bold")]
    if compact and errors:
        line.append((f"  {errors} error{'s' if errors > 1 else ''}", "red"))
    if repeated(statements.elements()):
        line.append(("  N+1", "bold yellow"))
    line.append((f"  {operation(head.span)}", "cyan"))
    if statements:
        line.append((f"  {statements.total()} SQL", "dim"))
    context = head.span.get_span_context()
    trace_id = f"trace {context.trace_id:032x}"[:14] if context else ""
    return layout.row(line, _status(head), _time(head), (trace_id, "dim"))


def _lines_below(head: _Node, layout: Layout) -> list[Line]:
    """The lines under the header: facts, then nested spans, breadcrumbs and events."""
    start, end = head.start, max(node.end for node in head.walk())
    lines: list[Line] = []
    lost = head.finished.collected.dropped if head.finished and head.finished.collected else 0
    if facts := _facts(head):
        lines.append(layout.fit([("│  ", "dim"), (facts, "dim italic")]))
    stack = [(each, "", last) for each, last in _items(head)]
    while stack:
        item, indent, is_last = stack.pop()
        if len(lines) >= MAX_ROWS and not isinstance(item, ReportedEvent):
            lost += isinstance(item, _Node)
            stack += [(each, "", last) for each, last in _items(item)]
            continue
        branch, below = indent + ("└─ " if is_last else "├─ "), indent + ("   " if is_last else "│  ")
        if isinstance(item, _Node):
            lines.append(_row(item, layout, branch, (start, end)))
            stack += [(each, below[:MAX_INDENT], last) for each, last in _items(item)]
        elif isinstance(item, ReportedEvent):
            lines += _event_lines(item, layout, branch, below)
        else:
            lines.append(layout.fit([(branch, "dim"), (_breadcrumb(item), "dim italic")]))
    if lost:
        lines.append([(f"   … {lost} more spans", "dim")])
    return lines


def _items(item: _Item) -> list[tuple[_Item, bool]]:
    """The items under ``item`` in reverse order, each with whether it is shown last."""
    if not isinstance(item, _Node):
        return []
    children = [(child.start, child) for child in item.children]
    crumbs = [(event.timestamp, event) for event in item.span.events if event.name == BREADCRUMB_EVENT]
    timed: list[tuple[int, _Item]] = sorted([*crumbs, *children], key=lambda entry: entry[0])
    ordered: list[_Item] = [*(each for _, each in timed), *item.events]
    return [(each, index == 0) for index, each in enumerate(reversed(ordered))]


def _row(node: _Node, layout: Layout, branch: str, whole: tuple[int, int]) -> Line:
    failed = has_failed(node.span)
    line: Line = [(branch, "dim"), (f"{operation(node.span)}  ", "cyan")]
    if failed:
        line.append(("✘ ", "bold red"))
    if node.folded:
        line.append((f"{len(node.folded) + 1}× ", "bold yellow"))  # noqa: RUF001 - six times
    line.append((description(node.span), "bold" if node.finished else ""))
    if failed and node.span.status.description and not node.events:
        line.append((f"  {clean(node.span.status.description)}", "red"))
    if node.finished and (facts := _facts(node)):
        line.append((f"  {facts}", "dim italic"))
    length = max(1, whole[1] - whole[0])
    size = min(layout.bar, max(1, round((node.end - node.start) / length * layout.bar)))
    offset = min(layout.bar - size, int((node.start - whole[0]) / length * layout.bar))
    return layout.row(line, _status(node), _time(node), (" " * offset + "━" * size, "blue"))


def _event_lines(event: ReportedEvent, layout: Layout, branch: str, below: str) -> list[Line]:
    style, mark = ("red", "✘") if event.is_error else ("yellow" if event.kind == "warning" else "", "✉")
    ids = [f"event {event.event_id}", f"trace {event.span.trace_id:032x}" if event.span else "no trace"]
    separate = layout.shorten and len(below) + 2 + len(" · ".join(ids)) > layout.width
    first: Line = [(branch, "dim"), (f"{mark} {policy().text(event.text)}", style), (f"  {event.kind}", "dim")]
    return [layout.fit(first), *([(f"{below}  {each}", "dim")] for each in (ids if separate else [" · ".join(ids)]))]


def _mark(node: _Node, errors: int) -> Segment:
    if errors or has_failed(node.span):
        return "✘ ", "bold red"
    return ("• ", "bold yellow") if (http_status(node.span) or 0) >= 400 else ("✔ ", "bold green")


def _status(node: _Node) -> Segment:
    code = http_status(node.span)
    if code is None:
        return ("error", "red") if has_failed(node.span) else ("", "")
    return str(code), "red" if code >= 500 else "yellow" if code >= 400 else "green"


def _time(node: _Node) -> Segment:
    return duration(node.milliseconds), "bold yellow" if node.milliseconds >= SLOW else ""


def _facts(node: _Node) -> str:
    """The user and the tags of the local trace whose root ``node`` is."""
    if node.finished is None or node.finished.collected is None:
        return ""
    trace = node.finished.collected.trace
    user = trace.attributes.get("user.id") or trace.attributes.get("user.name")
    facts = [f"user {user}"] if user else []
    tags = {**node.finished.tags, **trace.tags}
    facts += [f"{key}={policy().value(value, key)}" for key, value in tags.items()]
    return clean(" · ".join(map(policy().text, facts)))


def _breadcrumb(event: Event) -> str:
    attributes = event.attributes or {}
    category, message = (attributes.get(f"{BREADCRUMB_EVENT}.{name}", "") for name in ("category", "message"))
    return clean(f"· {category}: {message}")
