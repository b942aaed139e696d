"""Releases side by side."""

from brain_otel.viewer.pages.screen import Query, Screen
from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.releases import list_releases


def read(query: Query) -> Json:
    """All releases of the period."""
    return list_releases(query.connection, query.filters, query.apdex)


SCREENS = (Screen(path="/releases", template="releases", section="releases", title="Releases", read=read),)
