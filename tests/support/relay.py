"""Checks events with Relay, the service that accepts events at Sentry, which is available as a library."""

import copy
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sentry_relay.exceptions import RelayError
from sentry_relay.processing import StoreNormalizer

Json = dict[str, Any]

#: Fields that sentry_sdk sends and Relay drops silently.
DROPPED = {"same_process_as_parent"}
#: The fields of a user that Relay knows; it moves all others to `user.data`.
USER_FIELDS = {"id", "email", "username", "ip_address", "name", "geo", "data", "sentry_user"}


def assert_accepted(event: Json) -> Json:
    """Return the event as Relay stores it; fail if Relay complains or drops a value.

    Ignores `_meta` of the event, in which the SDK notes what it filtered or shortened.
    """
    sent = {key: value for key, value in event.items() if key != "_meta"}
    try:
        # Sentry's servers shorten long and deep values; the library does so only on request.
        relay = StoreNormalizer(project_id=42, enable_trimming=True)
        kept: Json = relay.normalize_event(copy.deepcopy(sent))
    except RelayError as error:
        # The other lines are a stack trace of Relay and of the interpreter.
        raise AssertionError(f"Relay rejects the event: {str(error).splitlines()[0]}") from None
    complaints = [f"error: {json.dumps(error)}" for error in kept.get("errors") or []]
    if kept.get("_meta"):
        complaints.append(f"_meta: {json.dumps(kept['_meta'])}")
    complaints += _discarded(_comparable(sent), _comparable(kept), "")
    if complaints:
        raise AssertionError("Relay does not take the event as it is:\n  " + "\n  ".join(complaints))
    return kept


def _discarded(sent: Any, kept: Any, path: str) -> Iterator[str]:
    """Name each value that Relay removed or changed; ignore what it added."""
    if sent in (None, "", [], {}):
        return
    if isinstance(sent, dict) and isinstance(kept, dict):
        for key in sent.keys() - DROPPED:
            yield from _discarded(sent[key], kept.get(key), f"{path}.{key}")
    elif isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        for index, (one, other) in enumerate(zip(sent, kept, strict=True)):
            yield from _discarded(one, other, f"{path}[{index}]")
    elif kept is None:
        yield f"removed: {path[1:]} = {sent!r}"
    elif not _is_same(sent, kept):
        yield f"changed: {path[1:]} = {sent!r} became {kept!r}"


def _is_same(sent: Any, kept: Any) -> bool:
    """Compare two leaves: Relay writes times as numbers and identifiers as text."""
    if isinstance(kept, float) and not isinstance(sent, bool):
        return math.isclose(_seconds(sent), kept, rel_tol=0, abs_tol=2e-6)  # times have microseconds
    return not isinstance(sent, dict | list) and str(sent) == str(kept)


def _seconds(time: Any) -> float:
    try:
        moment = datetime.fromisoformat(time) if isinstance(time, str) else None
        return float(time) if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (TypeError, ValueError):
        return math.nan


def _comparable(event: Json) -> Json:
    """Normalize an event: undo how Relay moves and regroups fields."""
    event = copy.deepcopy(event)
    event["tags"] = _texts(event.get("tags"))
    if "server_name" in event:
        event["tags"]["server_name"] = event.pop("server_name")
    if isinstance(event.get("message"), str) and not event.get("logentry"):
        event["logentry"] = {"formatted": event.pop("message")}
    for interface in ("exception", "breadcrumbs", "threads"):
        if isinstance(event.get(interface), list):
            event[interface] = {"values": event[interface]}
    if isinstance(user := event.get("user"), dict):
        other = {key: user.pop(key) for key in user.keys() - USER_FIELDS}
        user["data"] = {**(user.get("data") or {}), **other}
    for message in (event.get("request"), (event.get("contexts") or {}).get("response")):
        if isinstance(message, dict):
            message.update(_comparable_http(message))
    return event


def _comparable_http(message: Json) -> Json:
    """Normalize a request: headers by lower-case name, cookies and query as pairs, a bare URL, a parsed body."""
    headers = {name.lower(): value for name, value in _pairs(message.get("headers"))}
    cookies = _texts(message.get("cookies"), separator=";")
    if cookies or "=" in headers.get("cookie", ""):
        cookies = cookies or _texts(headers["cookie"], separator=";")
        headers.pop("cookie", None)
    url = urlsplit(message.get("url") or "")
    return {
        "headers": headers,
        "cookies": cookies,
        "url": url._replace(query="", fragment="").geturl(),
        "query_string": [list(pair) for pair in _pairs(message.get("query_string") or url.query)],
        "fragment": message.get("fragment") or url.fragment,
        "method": (message.get("method") or "").upper(),
        "data": _parsed(message.get("data"), headers.get("content-type", "")),
    }


def _pairs(field: Any, separator: str = "&") -> list[tuple[str, Any]]:
    """Convert a mapping, a list of pairs or a query string to pairs."""
    if isinstance(field, str):
        return [(k.strip(), v) for k, v in parse_qsl(field, keep_blank_values=True, separator=separator)]
    pairs = field.items() if isinstance(field, dict) else field or []
    return [(str(name), value) for name, value in pairs]


def _texts(field: Any, separator: str = "&") -> dict[str, Any]:
    return {name: None if value is None else str(value) for name, value in _pairs(field, separator)}


def _parsed(body: Any, content_type: str) -> Any:
    """Parse a text body as Relay does, which guesses the format of a body without a content type."""
    if not isinstance(body, str) or content_type.startswith("text/"):
        return body
    try:
        return json.loads(body)
    except ValueError:
        is_form = "form-urlencoded" in content_type or (not content_type and "=" in body)
        return dict(parse_qsl(body, keep_blank_values=True)) if is_form else body
