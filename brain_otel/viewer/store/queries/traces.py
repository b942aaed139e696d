"""The latest traces, and all that one trace has."""

import json
import sqlite3

from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.filters import Query, rows, where_given
from brain_otel.viewer.store.queries.profiles import list_profiles, read_flame

MAX_ROOTS = 100
MAX_SPANS = 2_000
MAX_LINES = 500
MAX_ERRORS = 200


def list_traces(query: Query) -> Json:
    """The latest requests, tasks and jobs; ``slow`` is the least duration in milliseconds."""
    route, failed, slow = query.text("route"), bool(query.text("failed")), query.number("slow")
    where, values = query.filters.where("start")
    where += where_given({"duration >= :slow": slow, "route = :route": route, "failed = 1": failed})
    statement = f"SELECT * FROM roots WHERE {where} ORDER BY start DESC LIMIT {MAX_ROOTS + 1}"
    found = rows(query.connection, statement, {**values, "route": route, "slow": int(slow * 1_000)})
    shown = {"roots": found[:MAX_ROOTS], "more": len(found) > MAX_ROOTS}
    return {**shown, "route": route, "failed": failed, "slow": slow}


def read_trace_with_profiles(query: Query) -> Json | None:
    """One trace, with the flame graph of one of its profiles, the longest by default."""
    found = read_trace(query.connection, query.place["trace"].replace("-", "").lower())
    if found is None:
        return None
    profiles = list_profiles(query.connection, found["trace"])
    number, root = int(query.number("profile")), int(query.number("frame"))
    chosen = next((each for each in profiles if each["id"] == number), profiles[0] if profiles else None)
    flame = read_flame(query.connection, chosen, thread=query.text("thread"), root=root) if chosen else None
    return {**found, "profiles": profiles, "flame": flame}


def read_trace(connection: sqlite3.Connection, trace: str, most: int = MAX_SPANS) -> Json | None:
    """The spans of a trace in the order of a waterfall, its errors and its log lines; None if there is nothing."""
    spans = rows(connection, f"SELECT * FROM spans WHERE trace = ? ORDER BY start, id LIMIT {most + 1}", (trace,))
    columns = "event_id, issue, at, span, service, level, title"
    query = f"SELECT {columns} FROM errors WHERE trace = ? ORDER BY at LIMIT {MAX_ERRORS}"
    errors = rows(connection, query, (trace,))
    logs = rows(connection, f"SELECT * FROM logs WHERE trace = ? ORDER BY at LIMIT {MAX_LINES}", (trace,))
    if not spans and not errors and not logs:
        return None
    more = len(spans) > most
    spans = spans[:most]
    for each in spans:
        each["data"], each["events"] = json.loads(each["data"]), json.loads(each["events"])
        each["errors"] = [error for error in errors if error["span"] == each["span"]]
        each["logs"] = sum(line["span"] == each["span"] for line in logs)
    for line in logs:
        line["data"] = json.loads(line["data"])
    start = min((each["start"] for each in spans), default=0)
    end = max((each["start"] + each["duration"] for each in spans), default=0)
    services = list(dict.fromkeys(each["service"] for each in spans))
    return {
        "trace": trace,
        "start": start or min(each["at"] for each in [*errors, *logs]),
        "duration": end - start,
        "services": services,
        "spans": waterfall(spans),
        "more": more,
        "errors": errors,
        "logs": logs,
    }


def waterfall(spans: list[Json]) -> list[Json]:
    """Children below their parents, each with its depth; a span whose parent is missing stands at the top."""
    known = {each["span"] for each in spans}
    children: dict[str, list[Json]] = {}
    for each in spans:
        parent = each["parent"] if each["parent"] in known and each["parent"] != each["span"] else ""
        children.setdefault(parent, []).append(each)
    ordered: list[Json] = []
    seen: set[str] = set()
    waiting = [(0, each) for each in reversed(children.get("", []))]
    while waiting or len(ordered) < len(spans):
        if not waiting:  # spans that are one another's parents
            waiting = [(0, next(each for each in spans if each["span"] not in seen))]
        depth, span = waiting.pop()
        if span["span"] in seen:
            continue
        seen.add(span["span"])
        ordered.append({**span, "depth": depth})
        waiting += [(depth + 1, each) for each in reversed(children.get(span["span"], []))]
    return ordered
