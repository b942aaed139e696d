"""The screens: an address, a question to the store, a template."""

from collections.abc import Callable
from dataclasses import dataclass

from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.filters import Query
from brain_otel.viewer.store.queries.issues import list_issues, read_issue
from brain_otel.viewer.store.queries.logs import list_logs
from brain_otel.viewer.store.queries.performance import list_routes, read_route
from brain_otel.viewer.store.queries.releases import list_releases
from brain_otel.viewer.store.queries.traces import list_traces, read_trace_with_profiles


@dataclass(frozen=True, kw_only=True)
class Screen:
    """One page with its twins in JSON and Markdown."""

    path: str
    template: str
    section: str
    """The entry of the navigation that is marked."""
    title: str
    read: Callable[[Query], Json | None]
    """The data of the page; None if there is no such page."""


SCREENS = (
    Screen(path="/issues", template="issues", section="issues", title="Issues", read=list_issues),
    Screen(path="/issues/{issue:int}", template="issue", section="issues", title="Issue", read=read_issue),
    Screen(path="/performance", template="performance", section="performance", title="Performance", read=list_routes),
    Screen(path="/performance/route", template="route", section="performance", title="Route", read=read_route),
    Screen(path="/traces", template="traces", section="traces", title="Traces", read=list_traces),
    Screen(path="/traces/{trace}", template="trace", section="traces", title="Trace", read=read_trace_with_profiles),
    Screen(path="/releases", template="releases", section="releases", title="Releases", read=list_releases),
    Screen(path="/logs", template="logs", section="logs", title="Logs", read=list_logs),
)
NAVIGATION = tuple(dict.fromkeys(screen.section for screen in SCREENS))
