"""Keeps events below the size that Sentry accepts, and says in ``_meta`` what was cut.

Sentry rejects an event of more than 1 MB, so the error would be lost for its breadcrumbs. First the longest texts are
cut, all to the same length. If that is not enough, parts are removed: the oldest breadcrumbs, the data of the oldest
spans, the details of the outermost frames, the largest contexts. ``_meta`` has Sentry's form:
https://develop.sentry.dev/sdk/foundations/data-model/event-payloads/metadata/.
"""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.utils import AnnotatedValue  # type: ignore[attr-defined]  # imported there

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.safe_repr import plain
from brain_otel.runtime.text import LEFT_OUT, omitted, shortened
from brain_otel.sentry.breadcrumbs import MAX_TEXT

encode = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode
"""Encodes plain data as JSON; a circular reference is a RecursionError."""

MAX_BYTES = 1_000_000
"""Bytes of JSON from which on an event is cut; Sentry accepts 1 MiB."""

TARGET = 950_000
"""Bytes of JSON to which a larger event is cut, more or less."""

MAX_ROUNDS = 3
"""Times that an event is cut: the notes in ``_meta`` take room too."""

NOTE_BYTES = 130
"""Bytes that the words in a text and a note in ``_meta`` take, more or less."""

MIN_TEXT = 200
"""Bytes of the shortest text that is cut."""

KEPT_FRAMES = 20
"""Innermost frames of an exception that are never removed."""

_LEFT_OUT = LEFT_OUT.encode()
_MARK = expression(rf" \.\.\. (\d{{1,18}}){re.escape(LEFT_OUT)}")

_REMOVED = {"": {"rem": [["!limit", "x"]]}}
_COLLECTIONS = ("extra", "modules", "contexts", "request", "user", "tags", "logentry")

_WHOLE = ("event_id", "type", "timestamp", "start_timestamp", "platform", "sdk", "fingerprint", "_meta")
"""Parts of an event that are never cut."""

_KEPT = (AnnotatedValue,)
"""What sentry-sdk puts into an event for its serializer."""

Path = tuple[str | int, ...]


class _Text(NamedTuple):
    holder: Any
    """The object or list that has the text."""
    path: Path
    size: int = 0
    """Bytes as JSON."""


def fitted(payload: bytes) -> bytes:
    """The JSON of an event, cut if it is too large for Sentry."""
    if len(payload) < MAX_BYTES and _LEFT_OUT not in payload:
        return payload
    with guarded("cutting a large event"):
        event, kept = json.loads(payload), payload
        for _ in range(MAX_ROUNDS):
            cut(event, len(kept) - TARGET)
            kept = encode(event).encode()
            if len(kept) < MAX_BYTES:
                return kept
    return payload


def fit(envelope: Envelope) -> None:
    """Cut the event or transaction in ``envelope`` if it is too large for Sentry."""
    for item in envelope.items:
        if item.type in ("event", "transaction", "feedback"):
            payload = item.payload.get_bytes()
            kept = fitted(payload)
            if kept is not payload:
                item.payload = PayloadRef(json=json.loads(kept), bytes=kept)
                item.headers["length"] = len(kept)


def split(envelope: Envelope) -> list[Envelope]:
    """``envelope`` itself, or with half of its logs or metrics each if it is too large; none if it is empty."""
    if not envelope.items:
        return []
    item = envelope.items[0]
    content: Any = item.payload.json
    items = content.get("items") if item.type in ("log", "trace_metric") and isinstance(content, dict) else None
    if not isinstance(items, list) or len(items) < 2 or len(item.payload.get_bytes()) < MAX_BYTES:
        return [envelope]
    middle = len(items) // 2
    parts = (
        Item(PayloadRef(json={**content, "items": each}), headers={**item.headers, "item_count": len(each)})
        for each in (items[:middle], items[middle:])
    )
    return [each for part in parts for each in split(Envelope(headers=envelope.headers, items=[part]))]


def plain_event(event: Any) -> Any:
    """``event`` without objects of the application's, which sentry-sdk's serializer would load, and long texts."""
    for holder, name in [
        (event, "message"),
        *((each, "value") for each in ((event.get("exception") or {}).get("values") or ())),
    ]:
        if type(holder.get(name)) is str:
            holder[name] = shortened(holder[name], MAX_TEXT)
    for name in ("extra", "contexts", "tags", "user"):
        if type(event.get(name)) is dict:
            event[name] = {key: plain(value, _KEPT) for key, value in event[name].items()}
    if (event.get("logentry") or {}).get("params") is not None:
        event["logentry"] = {**event["logentry"], "params": plain(event["logentry"]["params"], _KEPT)}
    breadcrumbs = event.get("breadcrumbs")
    for crumb in breadcrumbs["values"] if isinstance(breadcrumbs, dict) else ():
        if crumb.get("data") is not None:
            crumb["data"] = plain(crumb["data"], _KEPT)
    return event


def cut(event: dict[str, Any], excess: int) -> None:
    """Make the JSON of ``event`` some ``excess`` bytes smaller; note in ``_meta`` what was cut, here or before."""
    meta: dict[str, Any] = event.get("_meta") or {}
    if excess > 0:
        excess -= shorten_texts(event, excess)
    for holder, path in _removable(event) if excess > 0 else ():
        excess -= (_remove_first if isinstance(holder, list) else _remove)(holder, path, excess, meta)
        if excess <= 0:
            break
    for text in _texts(event):
        whole = text.holder[text.path[-1]]
        if marks := list(_MARK.finditer(whole)):
            places = [["!limit", "s", mark.start(), mark.end()] for mark in marks]
            _note_at(meta, text.path)[""] = {"len": _original_length(whole), "rem": places}
    if meta:
        event["_meta"] = meta


def shorten_texts(data: dict[str, Any], excess: int) -> int:
    """Shorten the longest texts of ``data``, all to the same length; the bytes saved, at most ``excess`` or so."""
    texts = [each._replace(size=len(encode(each.holder[each.path[-1]]))) for each in _texts(data)]
    limit = _limit([each.size for each in texts], excess)
    return sum(_shorten(each, limit) for each in texts if each.size - NOTE_BYTES > limit)


def _texts(data: dict[str, Any]) -> Iterator[_Text]:
    """Each long text in ``data`` that may be cut."""
    for key in data.keys() - {*_WHOLE}:
        yield from _texts_in(data, (key,), data[key])


def _texts_in(holder: Any, path: Path, value: Any) -> Iterator[_Text]:
    if isinstance(value, str):
        if len(value) > MIN_TEXT // 12:  # a character has at most 12 bytes
            yield _Text(holder, path)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts_in(value, (*path, key), each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts_in(value, (*path, index), each)


def _limit(sizes: list[int], excess: int) -> int:
    """The size to which all larger ones must be cut to save ``excess`` in all; at least ``MIN_TEXT``."""
    ordered = sorted((size - NOTE_BYTES for size in sizes if size - NOTE_BYTES > MIN_TEXT), reverse=True)
    saved = 0
    for count, (size, following) in enumerate(pairwise([*ordered, MIN_TEXT]), 1):
        saved_by_next = saved + count * (size - following)
        if saved_by_next >= excess:
            return max(MIN_TEXT, size - -(-(excess - saved) // count))
        saved = saved_by_next
    return MIN_TEXT


def _shorten(text: _Text, limit: int) -> int:
    """Cut ``text`` to ``limit`` bytes of JSON or so; the bytes saved, less those of a note in ``_meta``."""
    key: Any = text.path[-1]
    whole: str = text.holder[key]
    kept = whole[:limit]
    while (size := len(encode(kept))) > limit:
        kept = kept[: len(kept) * limit // (size + 1)]  # characters have different sizes
    text.holder[key] = kept + omitted(_original_length(whole) - _original_length(kept))
    return text.size - size - NOTE_BYTES


def _original_length(text: str) -> int:
    """The length of ``text`` before it was shortened."""
    return len(text) + sum(int(mark[1]) - len(mark[0]) for mark in _MARK.finditer(text))


def _note_at(meta: dict[str, Any], path: Path) -> dict[str, Any]:
    """The part of ``_meta`` for what is at ``path`` of the event."""
    for part in path:
        meta = meta.setdefault(str(part), {})
    return meta


def _removable(event: dict[str, Any]) -> Iterator[tuple[Any, Path]]:
    """What may be removed, the least useful first: the holder, and the path in the event."""
    crumbs = (event.get("breadcrumbs") or {}).get("values") or []
    yield crumbs, ("breadcrumbs", "values")
    for index, span in enumerate(event.get("spans") or ()):
        for name in ("data", "links", "tags"):
            yield span, ("spans", index, name)
    for interface in ("exception", "threads"):
        yield from _removable_details(interface, (event.get(interface) or {}).get("values") or [])
    for part in _COLLECTIONS:
        members = event.get(part) or {}
        for name in sorted(members, key=lambda name: len(encode(members[name])), reverse=True):
            if (part, name) != ("contexts", "trace"):
                yield members, (part, name)
    trace = (event.get("contexts") or {}).get("trace") or {}
    for name in ("data", "links"):
        yield trace, ("contexts", "trace", name)


def _removable_details(interface: str, values: list[Any]) -> Iterator[tuple[Any, Path]]:
    """Details of the outermost frames of exceptions or threads, then the outermost frames."""
    for name in ("vars", "pre_context", "post_context"):
        for index, value in enumerate(values):
            for position, frame in enumerate(_frames(value)):
                yield frame, (interface, "values", index, "stacktrace", "frames", position, name)
    for index, value in enumerate(values):
        yield _frames(value), (interface, "values", index, "stacktrace", "frames")
        yield value, (interface, "values", index, "mechanism")


def _frames(value: Any) -> list[Any]:
    return (value.get("stacktrace") or {}).get("frames") or []


def _remove(holder: dict[str, Any], path: Path, _excess: int, meta: dict[str, Any]) -> int:
    """Remove from ``holder`` what is at the end of ``path``; the bytes saved.

    ``_meta`` has the number of members that a collection such as ``extra`` had. A part that belongs to an object
    becomes null, which ``_meta`` explains.
    """
    key: Any = path[-1]
    if path[0] in _COLLECTIONS and len(path) == 2:
        note = _note_at(meta, path[:-1])
        note.setdefault("", {}).setdefault("len", len(holder))
        note.pop(key, None)
        return len(encode({key: holder.pop(key)})) - 1
    if holder.get(key) is None:
        return 0
    removed = len(encode(holder[key])) - len("null")
    holder[key] = None
    _note_at(meta, path[:-1])[key] = _REMOVED
    return removed - len(encode(_REMOVED))


def _remove_first(items: list[Any], path: Path, excess: int, meta: dict[str, Any]) -> int:
    """Remove the first of ``items``, which is at ``path``, as far as needed; the bytes saved.

    The notes in ``_meta`` about the others have their positions, and the number of all is noted.
    """
    saved = count = 0
    most = len(items) - (KEPT_FRAMES if path[-1] == "frames" else 0)
    while saved < excess and count < most:
        saved += len(encode(items[count])) + 1
        count += 1
    if count:
        notes = _note_at(meta, path)
        length = (notes.get("") or {}).get("len") or len(items)
        kept = {str(int(key) - count): note for key, note in notes.items() if key and int(key) >= count}
        notes.clear()
        notes |= {**kept, "": {"len": length}}
        del items[:count]
    return saved
