"""What a page shows of an event: exceptions with their frames, breadcrumbs, tags, contexts."""

from brain_otel.viewer.grouping import exceptions_of, frames_of, is_in_app, message_of
from brain_otel.viewer.rows import Json, object_at, objects_in

MAX_CRUMBS = 100


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


def tags_of(event: Json) -> dict[str, str]:
    """The event's tags, whichever of Sentry's two forms they have."""
    tags = event.get("tags")
    pairs = (
        tags.items()
        if isinstance(tags, dict)
        else [each for each in tags or [] if isinstance(each, list) and len(each) == 2]
    )
    return {str(key)[:200]: str(value)[:200] for key, value in pairs}


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
