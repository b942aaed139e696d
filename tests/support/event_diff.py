"""Compares what two SDKs sent about the same requests, field by field, after taking out what differs between runs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

Json = dict[str, Any]

MAX_SHOWN = 100
"""Characters of a value that a difference shows."""

ABSENT = "—"
"""Stands for a field that one side does not have."""

_PER_RUN = ("event_id", "timestamp", "start_timestamp", "check_in_id", "duration", "modules", "measurements")
_IDS = re.compile(r"\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b|\b0x[0-9a-f]{6,}\b")
_PORTS = re.compile(r"(?<=[:\s])\d{4,5}\b")
_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Difference:
    """One permitted difference: a field's place, what each side has, and why it may differ."""

    place: str
    native: str
    ours: str
    reason: str

    def covers(self, place: str, native: str, ours: str) -> bool:
        """Whether it permits that ``place`` has these two values."""
        return all(
            fnmatchcase(value, _literal_brackets(pattern))
            for value, pattern in ((place, self.place), (native, self.native), (ours, self.ours))
        )


def _literal_brackets(pattern: str) -> str:
    return pattern.replace("[", "[[]")


@dataclass
class Reports:
    """What one side sent about one request."""

    trace_id: str
    items: list[tuple[str, Json]] = field(default_factory=list)

    def by_key(self) -> dict[str, Json]:
        """The normalised items by what they are about; a second one of a kind has a number."""
        found: dict[str, Json] = {}
        for kind, item in sorted(self.items, key=lambda each: _moment(each[1]["timestamp"])):
            key, number = _key(kind, item), 1
            while f"{key} {number}" in found:
                number += 1
            found[f"{key} {number}"] = normalised(kind, item, self.trace_id)
        return found


def _moment(timestamp: str | float) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if isinstance(timestamp, str) else timestamp


def _key(kind: str, item: Json) -> str:
    if kind == "transaction":
        return kind
    if kind == "check_in":
        return f"check_in {item['status']}"
    values = (item.get("exception") or {}).get("values") or ()
    if values:
        return f"error {values[-1]['type']}"
    return f"message {item.get('message') or (item.get('logentry') or {}).get('message')}"


def normalised(kind: str, item: Json, trace_id: str) -> Json:
    """The item without what differs between two runs of one SDK; spans and frames as what they say."""
    made = {name: value for name, value in item.items() if name not in _PER_RUN}
    if kind == "transaction":
        root = item["contexts"]["trace"]["span_id"]
        spans = sorted(made.pop("spans", ()), key=lambda span: span["start_timestamp"])
        made["spans"] = [_span(span, root) for span in spans]
    for failure in (item.get("exception") or {}).get("values") or ():
        frames = (failure.get("stacktrace") or {}).get("frames") or ()
        failure["stacktrace"] = [_frame(frame) for frame in frames if frame.get("in_app")]
    if (crumbs := (item.get("breadcrumbs") or {}).get("values")) is not None:
        made["breadcrumbs"] = [{key: value for key, value in crumb.items() if key != "timestamp"} for crumb in crumbs]
    if "sdk" in made:
        made["sdk"] = {name: each for name, each in made["sdk"].items() if name != "integrations"}
    made: Json = _without_ids(made, trace_id)  # type: ignore[no-redef]
    return made


def _span(span: Json, root: str) -> Json:
    made = {name: value for name, value in span.items() if name not in ("span_id", "trace_id", *_PER_RUN)}
    made["parent_span_id"] = "the root" if span.get("parent_span_id") == root else "a span"
    if "data" in made:  # sentry-sdk says where a call was made if it took long
        made["data"] = {name: value for name, value in made["data"].items() if not name.startswith("code.")}
    return made


def _frame(frame: Json) -> Json:
    return {name: frame.get(name) for name in ("module", "function", "lineno", "context_line", "in_app", "vars")}


def _without_ids(value: Any, trace_id: str) -> Any:
    if isinstance(value, Mapping):
        return {key: "an id" if key == "thread.id" else _without_ids(each, trace_id) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_ids(each, trace_id) for each in value]
    if not isinstance(value, str):
        return value
    text = _IDS.sub("an id", value.replace(trace_id, "the trace"))
    return text if text.isdigit() else _PORTS.sub("a port", text)


def flattened(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Each leaf of a normalised item with its place; an item of a list has its number."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from flattened(each, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from flattened(each, f"{place}[{number}]")
    else:
        yield place, str(value)


_CATEGORIES = (("http.client", "http"), ("db.redis", "redis"), ("cache", "redis"), ("db", "db"))


def _category(span: Json) -> str:
    op = str(span.get("op"))
    return next((name for prefix, name in _CATEGORIES if op.startswith(prefix)), "other")


def _paired(native: Sequence[Json], ours: Sequence[Json]) -> Iterator[tuple[str, Json | None, Json | None]]:
    """The spans of two transactions in pairs, the first of a category with the first and so on."""
    for category in dict.fromkeys(map(_category, [*native, *ours])):
        left = [span for span in native if _category(span) == category]
        right = [span for span in ours if _category(span) == category]
        for number in range(max(len(left), len(right))):
            yield (
                category,
                left[number] if number < len(left) else None,
                right[number] if number < len(right) else None,
            )


def differences(native: Reports, ours: Reports) -> Iterator[tuple[str, str, str]]:
    """Each field that differs: its place, and the value of each side."""
    left, right = native.by_key(), ours.by_key()
    for key in dict.fromkeys([*left, *right]):
        name = key.rpartition(" ")[0] if key.endswith(" 1") else key
        if key not in left or key not in right:
            yield name, "sent" if key in left else ABSENT, "sent" if key in right else ABSENT
            continue
        kind = name.partition(" ")[0]
        one, other = left[key], right[key]
        for category, a, b in _paired(one.pop("spans", ()), other.pop("spans", ())):
            if a is None or b is None:
                yield f"span {category}", _named(a), _named(b)
            else:
                yield from _compared(a, b, f"span {category}.")
        yield from _compared(one, other, f"{kind}.")


def _named(span: Json | None) -> str:
    return ABSENT if span is None else f"{span['op']}: {span['description']}"


def _compared(one: Json, other: Json, prefix: str) -> Iterator[tuple[str, str, str]]:
    a, b = dict(flattened(one, "")), dict(flattened(other, ""))
    for place in dict.fromkeys([*a, *b]):
        if (native := a.get(place, ABSENT)) != (ours := b.get(place, ABSENT)):
            yield prefix + _INDEX.sub("[]", place), _shown(native), _shown(ours)


def _shown(text: str) -> str:
    """One line of a value."""
    return text if len(text) <= MAX_SHOWN and "\n" not in text else f"{text.splitlines()[0][:MAX_SHOWN]}..."
