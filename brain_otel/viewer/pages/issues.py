"""The issues, and one of them."""

from brain_otel.viewer.grouping import exceptions_of, frames_of, is_in_app, message_of
from brain_otel.viewer.pages.screen import Query, Screen
from brain_otel.viewer.rows import Json, object_at, objects_in
from brain_otel.viewer.store.queries.issues import SORTS, STATES, list_issues, read_issue, tags_of
from brain_otel.viewer.store.queries.traces import read_trace

BESIDE = 60
"""Spans of a trace that stand beside an error."""

MAX_CRUMBS = 100


def read_list(query: Query) -> Json:
    """The list."""
    sort, state = query.choice("sort", SORTS, "last"), query.choice("state", STATES, "open")
    new = bool(query.text("new"))
    found = list_issues(query.connection, query.filters, sort=sort, state=state, text=query.text("q"), new=new)
    return {**found, "sort": sort, "state": state, "q": query.text("q"), "new": new}


def read_one(query: Query) -> Json | None:
    """One issue with one event and its trace."""
    found = read_issue(query.connection, query.place["issue"], query.text("event"))
    if found is None or found["event"] is None:
        return found
    body = found["event"].pop("body")
    found["event"]["details"] = details_of(body)
    trace = found["event"]["trace"]
    found["trace"] = read_trace(query.connection, trace, BESIDE) if trace else None
    return found


def details_of(event: Json) -> Json:
    """What a page shows of an event: the innermost exception first, and of each the innermost frame first."""
    return {
        "message": message_of(event),
        "exceptions": [_exception(each) for each in reversed(exceptions_of(event)[-50:])],
        "stacktrace_text": event.get("stacktrace_text") or "",
        "breadcrumbs": _breadcrumbs(event),
        "user": object_at(event, "user"),
        "tags": tags_of(event),
        "contexts": _contexts(event),
        "extra": object_at(event, "extra"),
        "request": {key: each for key, each in object_at(event, "request").items() if each},
    }


def _contexts(event: Json) -> Json:
    """The contexts that have something; OpenTelemetry's is its resource, and the trace stands beside."""
    contexts = {key: each for key, each in object_at(event, "contexts").items() if each and key != "trace"}
    if resource := object_at(contexts, "otel").get("resource"):
        contexts = {**contexts, "otel": resource}
    return contexts


def _exception(exception: Json) -> Json:
    frames = [
        {
            "file": str(each.get("filename") or each.get("abs_path") or each.get("module") or "?"),
            "function": str(each.get("function") or "?"),
            "line": each.get("lineno"),
            "in_app": is_in_app(each),
            "source": _source(each),
            "vars": object_at(each, "vars"),
        }
        for each in reversed(frames_of(exception)[-250:])
    ]
    return {
        "type": str(exception.get("type") or "Error"),
        "value": str(exception.get("value") or ""),
        "handled": object_at(exception, "mechanism").get("handled"),
        "frames": frames,
    }


def _source(frame: Json) -> list[Json]:
    """Lines of source around the frame's, with their numbers."""
    before, after = (
        lines if isinstance(lines, list) else [] for lines in (frame.get("pre_context"), frame.get("post_context"))
    )
    if frame.get("context_line") is None:
        return []
    line = frame.get("lineno")
    first = (line if isinstance(line, int) else 0) - len(before)
    lines = [*before, frame["context_line"], *after]
    return [
        {"number": first + place, "text": str(text), "is_current": place == len(before)}
        for place, text in enumerate(lines[:50])
    ]


def _breadcrumbs(event: Json) -> list[Json]:
    return [
        {
            "at": str(each.get("timestamp") or ""),
            "category": str(each.get("category") or each.get("type") or ""),
            "level": str(each.get("level") or "info"),
            "message": str(each.get("message") or ""),
            "data": object_at(each, "data"),
        }
        for each in objects_in(event.get("breadcrumbs"))[-MAX_CRUMBS:]
    ]


SCREENS = (
    Screen(path="/issues", template="issues", section="issues", title="Issues", read=read_list),
    Screen(path="/issues/{issue:int}", template="issue", section="issues", title="Issue", read=read_one),
)
