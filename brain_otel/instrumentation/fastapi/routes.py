"""Finds the template of a request's route: through mounted apps, plain routers and hosts."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.instrumentation import fastapi as contrib
from starlette.routing import Match, Route
from starlette.types import Scope


def chosen_route(scope: Scope) -> str | None:
    """The route that the app's router has chosen; None before that, or if it does not give the whole path.

    Searching for it again would cost as much as the routing. FastAPI keeps the path of a route of an included router,
    with its prefix, in ``scope["fastapi"]``; a test notices when that changes.
    """
    route = scope.get("route")
    if not isinstance(route, Route) or (route.methods and scope.get("method") not in route.methods):
        return None
    included = (scope.get("fastapi") or {}).get("effective_route_context")
    chosen = route if included is None else included.starlette_route or included
    return str(chosen.path)


def find_route(routes: Iterable[Any], scope: Scope, end: object = None) -> str | None:
    """The template of the route among ``routes`` that matches ``scope``; None if there is none.

    Args:
        routes: The routes of an app or a router.
        scope: A request whose ``root_path`` is the one of that app or router.
        end: The routes of a mounted app at which the search ends; their template is not part of the result.
    """
    partial = None
    for route in _flattened(routes):
        match, below = Route.matches(route, scope) if isinstance(route, Route) else route.matches(scope)
        if match is Match.NONE:
            continue
        path = str(getattr(route, "path", None) or "")  # a host has none
        if match is Match.PARTIAL:  # another method
            partial = path if partial is None else partial
            continue
        inner = getattr(route, "routes", None)
        if not inner or inner is end:
            return path
        return path + (find_route(inner, {**scope, **below}, end) or "")
    return partial


def _flattened(routes: Iterable[Any]) -> Iterable[Any]:
    """``routes`` with those of included routers, as contrib finds them in every version of FastAPI.

    Contrib has no public function for it; without the private one, routes of included routers are not found.
    """
    flatten = getattr(contrib, "_flatten_routes", None)
    found: Iterable[Any] = routes if flatten is None else flatten(routes)
    return found
