"""Routes, and one of them."""

from brain_otel.viewer.pages.screen import Query, Screen
from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.performance import list_routes, read_route

SORTS = ("total", "count", "p50", "p95", "p99", "failure_rate", "apdex")


def read_list(query: Query) -> Json:
    """All routes."""
    sort = query.choice("sort", SORTS, "total")
    return {
        **list_routes(query.connection, query.filters, query.apdex, sort=sort),
        "sort": sort,
        "threshold": query.apdex,
    }


def read_one(query: Query) -> Json | None:
    """One route; its name is a parameter, because it may hold slashes."""
    route, service = query.text("route"), query.text("service")
    if not route:
        return None
    found = read_route(query.connection, query.filters, query.apdex, route=route, service=service)
    return {**found, "threshold": query.apdex}


SCREENS = (
    Screen(path="/performance", template="performance", section="performance", title="Performance", read=read_list),
    Screen(path="/performance/route", template="route", section="performance", title="Route", read=read_one),
)
