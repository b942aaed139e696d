"""The latest traces, and one of them as a waterfall."""

from brain_otel.viewer.pages.screen import Query, Screen
from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.profiles import list_profiles, read_flame
from brain_otel.viewer.store.queries.traces import list_traces, read_trace


def read_list(query: Query) -> Json:
    """The latest requests, tasks and jobs."""
    route, failed, slow = query.text("route"), bool(query.text("failed")), query.number("slow")
    found = list_traces(query.connection, query.filters, route=route, failed=failed, slow=slow)
    return {**found, "route": route, "failed": failed, "slow": slow}


def read_one(query: Query) -> Json | None:
    """One trace, with the flame graph of one of its profiles, the longest by default."""
    found = read_trace(query.connection, query.place["trace"].replace("-", "").lower())
    if found is None:
        return None
    profiles = list_profiles(query.connection, found["trace"])
    number, root = int(query.number("profile")), int(query.number("frame"))
    chosen = next((each for each in profiles if each["id"] == number), profiles[0] if profiles else None)
    flame = read_flame(query.connection, chosen, thread=query.text("thread"), root=root) if chosen else None
    return {**found, "profiles": profiles, "flame": flame}


SCREENS = (
    Screen(path="/traces", template="traces", section="traces", title="Traces", read=read_list),
    Screen(path="/traces/{trace}", template="trace", section="traces", title="Trace", read=read_one),
)
