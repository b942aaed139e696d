"""What ingest hands to the store: rows of plain values, whichever SDK they came from."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

Json = dict[str, Any]
Row = TypeVar("Row")

MAX_NAME = 1_000
"""Characters of a name or a message; the rest is cut."""

MAX_DATA = 32_768
"""Characters of a span's or a log line's attributes, as JSON."""

FEEDBACK_EVENT = "brain_otel.feedback"
"""The attribute that a log line has if it is a user's feedback; its value is the feedback's id."""

SENTRY, OTLP = 1, 2
"""Who sent a span or an error; both together are 3."""


class Span(NamedTuple):
    """One span. Times are microseconds since 1970, ``duration`` is microseconds."""

    trace: str
    span: str
    parent: str
    service: str
    environment: str
    release: str
    name: str
    op: str
    kind: str
    """``db``, ``http``, ``cache``, or empty."""
    start: int
    duration: int
    failed: int
    root: int
    """1 for the local root: a server's or consumer's span, or the first span of a transaction."""
    user: str
    source: int
    data: str
    """The attributes as a JSON object."""
    events: str
    """The span's events, or the transaction's breadcrumbs, as a JSON list."""


class Error(NamedTuple):
    """One error or message."""

    event_id: str
    at: int
    trace: str
    span: str
    service: str
    environment: str
    release: str
    level: str
    user: str
    title: str
    culprit: str
    group: str
    """Equal for the events of one issue."""
    twin: str
    """Equal for the same failure by Sentry and by OTLP; empty outside of a trace."""
    source: int
    body: dict[str, Any]
    """The event, in Sentry's form."""


class Log(NamedTuple):
    """One log line."""

    at: int
    trace: str
    span: str
    service: str
    environment: str
    release: str
    level: str
    severity: int
    """OpenTelemetry's severity number, 1 to 24."""
    message: str
    data: str


class Profile(NamedTuple):
    """Where the time of one transaction went."""

    event_id: str
    trace: str
    at: int
    duration: int
    """Microseconds that were sampled, on the busiest thread."""
    platform: str
    environment: str
    release: str
    name: str
    body: dict[str, Any]
    """The frames, and for each thread the nodes of its tree."""


class Sessions(NamedTuple):
    """How many requests of one minute ended in which way."""

    at: int
    release: str
    environment: str
    exited: int
    errored: int
    crashed: int
    abnormal: int


class Category(NamedTuple):
    """What a count on the foot line counts."""

    category: str
    outcome: str
    """``accepted`` or ``dropped``."""
    by: str
    """Who dropped it: ``client`` or ``viewer``."""
    reason: str


@dataclass(kw_only=True)
class Batch:
    """The rows of one request."""

    spans: list[Span] = field(default_factory=list)
    errors: list[Error] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    sessions: list[Sessions] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    counts: Counter[Category] = field(default_factory=Counter)
    represented: float = 0.0
    """Requests that the accepted transactions stand for: one by its sample rate, each."""

    def accept(self, category: str, count: int = 1) -> None:
        """Count what was received."""
        self.counts[Category(category, "accepted", "", "")] += count

    def drop(self, category: str, reason: str, by: str = "viewer", count: int = 1) -> None:
        """Count what was lost."""
        self.counts[Category(category, "dropped", by, reason)] += count

    def read(self, category: str, items: Iterable[Any], read_one: Callable[[Any], Row]) -> list[Row]:
        """What ``read_one`` makes of each item, counted; a damaged one is dropped."""
        found = []
        for item in items:
            try:
                found.append(read_one(item))
            except (ValueError, TypeError, AttributeError):
                self.drop(category, "damaged")
        if found:
            self.accept(category, len(found))
        return found

    def __len__(self) -> int:
        kept = len(self.spans) + len(self.errors) + len(self.logs) + len(self.profiles)
        return kept + len(self.sessions) + 1


def object_at(value: Any, *path: str) -> Json:
    """The JSON object at ``path`` below ``value``; an empty one if there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def objects_in(value: Any) -> list[Json]:
    """The JSON objects of a list, which Sentry's older items have in ``values``."""
    items = value.get("values") if isinstance(value, dict) else value
    return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []


def origin_fields(service: Any, environment: Any, release: Any) -> dict[str, str]:
    """Where a row is from; without a name, ``unknown`` and ``production``."""
    return {
        "service": clip(service or "unknown", 200),
        "environment": clip(environment or "production", 200),
        "release": clip(release, 200),
    }


def clip(value: Any, length: int = MAX_NAME) -> str:
    """``value`` as a text that SQLite can store, of at most ``length`` characters."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text[:length].encode("utf-8", "replace").decode()


def as_json(value: Any, length: int = MAX_DATA) -> str:
    """``value`` as JSON of at most ``length`` characters; what is too long loses its last entries."""
    text = json.dumps(value, ensure_ascii=True, default=str, separators=(",", ":"))
    if len(text) <= length:
        return text
    entries = list(value.items()) if isinstance(value, dict) else list(value)
    kept: list[Any] = []
    used = 100
    for entry in entries:
        used += len(json.dumps(entry, default=str)) + 2
        if used > length:
            break
        kept.append(entry)
    omitted = f"{len(entries) - len(kept)} more were too long"
    return json.dumps({**dict(kept), "brain_otel.cut": omitted} if isinstance(value, dict) else [*kept], default=str)


def microseconds(value: Any) -> int:
    """Sentry's time, in seconds or by ISO 8601, as microseconds since 1970.

    Raises:
        ValueError: it is neither.
    """
    from datetime import UTC, datetime

    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise ValueError(f"{value!r:.100} is not a time")
    return round(value * 1_000_000)
