"""The latest log lines."""

from brain_otel.viewer.pages.screen import Query, Screen
from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.logs import LEVELS, list_logs


def read(query: Query) -> Json:
    """Lines by trace, level and text."""
    level, text, trace = query.choice("level", LEVELS, ""), query.text("q"), query.text("trace")
    before = int(query.number("before"))
    found = list_logs(query.connection, query.filters, level=level, text=text, trace=trace, before=before)
    return {**found, "level": level, "q": text, "trace": trace, "before": before}


SCREENS = (Screen(path="/logs", template="logs", section="logs", title="Logs", read=read),)
