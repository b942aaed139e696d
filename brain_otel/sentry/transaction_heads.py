"""What equal requests have in common in their transactions, and requests that differ in their addresses: a fast path.

A path has an id, and each client sends other headers, so few requests are equal. The rest of the event is: its name,
tags, resource and the trace's data. So only the request and the few attributes that vary are masked and encoded.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource

from brain_otel.privacy import Policy
from brain_otel.privacy.attributes import masked_attribute
from brain_otel.sentry.event_size import encode
from brain_otel.sentry.events import Facts
from brain_otel.sentry.request import request_interface
from brain_otel.sentry.transaction import parts_of_key

_VARYING = frozenset(
    {"url.path", "url.query", "url.full", "http.target", "http.url", "user_agent.original", "http.user_agent"}
)
"""Attributes of a request's root that only the data of its trace depends on, if it has a route."""

_SHARED = ("otel", "runtime")
"""Contexts that are the same in each event unless the application sets its own."""

_REQUEST, _VALUE = "\ue000request", "\ue000value %d"
"""Stand in for the parts that vary, to find their places in the JSON."""


class Head:
    """A transaction without its ids, times and spans, masked. Equal requests share one, so do not change it."""

    __slots__ = ("came_again", "event", "resource", "texts")

    def __init__(self, event: dict[str, Any], resource: Resource, texts: tuple[str, str]) -> None:
        self.event, self.resource, self.texts = event, resource, texts
        """``texts``: the JSON up to the end of the trace, and of the contexts that all events have."""
        self.came_again = True


class HeadEncoder:
    """Encodes heads, and keeps the JSON of the contexts that hardly ever change."""

    def __init__(self) -> None:
        self._known: tuple[dict[str, Any], str] | None = None

    def texts(self, event: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, str]:
        """The JSON of ``event`` up to the end of its trace, and of those of its contexts that all events have."""
        contexts = dict(event["contexts"])
        shared = {name: contexts.pop(name) for name in _SHARED if name in own and contexts[name] is own[name]}
        contexts["trace"] = contexts.pop("trace")  # the last
        members = {name: each for name, each in event.items() if name != "contexts"}
        return encode({**members, "contexts": contexts})[:-3], self._members(shared)

    def _members(self, value: dict[str, Any]) -> str:
        """Each member of ``value`` with a comma before it, to follow other members."""
        known = self._known
        if known is None or known[0] != value:
            known = self._known = (value, f",{encode(value)[1:-1]}" if value else "")
        return known[1]


def shape_of(key: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The ``key`` of a request without what may vary, and the attributes of its root."""
    before, attributes, route = parts_of_key(key)
    fixed = [None if name in _VARYING else value for name, value in attributes.items()]
    return (*before, *attributes, *fixed, route), attributes


class HeadTemplate:
    """A head with places for the request and for attributes."""

    __slots__ = ("_head", "_names", "_parts", "came_again")

    def __init__(self, head: Head, names: tuple[str, ...], parts: tuple[str, ...]) -> None:
        self._head, self._names, self._parts = head, names, parts
        self.came_again = True

    def fill(self, by: Policy, attributes: Mapping[str, Any], facts: Facts, resource: Resource) -> Head | None:
        """The head of another request; None if a masked value is no text, or the service has another resource."""
        head, request = self._head, request_interface(*facts)
        values = {name: masked_attribute(by, name, attributes[name], attributes) for name in self._names}
        if resource is not head.resource or not all(type(each) is str for each in values.values()):
            return None
        trace = head.event["contexts"]["trace"]
        contexts = {**head.event["contexts"], "trace": {**trace, "data": {**trace["data"], **values}}}
        event = {**head.event, "request": request, "contexts": contexts}
        return Head(event, resource, (self.join(request, values.values()), head.texts[1]))

    def join(self, request: dict[str, Any], values: Iterable[Any]) -> str:
        """The first of a head's texts, with ``request`` and the ``values`` of the attributes."""
        first, *others = self._parts
        return first + "".join(
            f"{encode(value)}{part}" for value, part in zip((request, *values), others, strict=True)
        )


def create_head_template(head: Head, attributes: Mapping[str, Any], encoder: HeadEncoder) -> HeadTemplate | None:
    """The template of a request's ``head``; None if it is named after its path, or its data has a value twice.

    Args:
        head: A request's head.
        attributes: Those of its root before masking.
        encoder: Made the head's texts.
    """
    event, contexts = head.event, head.event["contexts"]
    data = contexts["trace"]["data"]
    names, values = tuple(name for name in data if name in _VARYING), list(data.values())
    is_named_by_path = event["transaction_info"]["source"] == "url"
    is_certain = all(type(data[name]) is str and values.count(data[name]) == 1 for name in names)
    if is_named_by_path or not is_certain or "request" not in event or not attributes.keys() >= set(names):
        return None
    marks = {name: _VALUE % place for place, name in enumerate(names)}
    trace = {**contexts["trace"], "data": {**data, **marks}}
    contexts = {**contexts, "trace": trace}
    rest = encoder.texts({**event, "request": _REQUEST, "contexts": contexts}, contexts)[0]
    parts: list[str] = []
    for mark in (_REQUEST, *marks.values()):
        part, _, rest = rest.partition(encode(mark))
        parts.append(part)
    parts.append(rest)
    template = HeadTemplate(head, names, tuple(parts))
    return template if template.join(event["request"], [data[name] for name in names]) == head.texts[0] else None
