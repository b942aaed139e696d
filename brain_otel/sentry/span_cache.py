"""Makes the payloads of spans, and keeps what spans have in common that come again: a fast path.

Equal spans share their fields. A command of Redis names a key, and the address of a call has an id, so few such spans
are equal; their op, origin, status and other data are. So only the one text is masked, described and encoded.
"""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from brain_otel.privacy import Policy, policy
from brain_otel.privacy.attributes import masked_attribute
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.sentry.event_size import encode
from brain_otel.sentry.flat_spans import IDS_AND_TIMES, FlatSpan, flat, restored
from brain_otel.sentry.repeats import Repeats
from brain_otel.sentry.span_threads import Thread
from brain_otel.sentry.spans import MAX_SPAN, SpanFields, SpanPayload, hexadecimal_trace_id, ids_of, microseconds
from brain_otel.traces.conventions import raw_attributes
from brain_otel.traces.operations import convention_of

_VARYING = frozenset({"db.query.text", "db.statement", "url.full", "http.url"})
"""Attributes on which only the description depends. An op, a status and names of attributes follow from others."""

_KEYS = 4
"""Place of the first attribute's key: before are name, library, kind and status."""

_DESCRIPTION, _VALUE = "\ue000description", "\ue000value"
"""Stand in for the two texts, to find their places in the JSON."""


def varying_place(key: tuple[Any, ...]) -> tuple[str, int] | None:
    """The attribute that may vary, and the place of its value in the ``key`` of a span; None if that is not one."""
    half = (len(key) - _KEYS) // 2
    found = _VARYING.intersection(key[_KEYS : _KEYS + half])
    if len(found) != 1:
        return None
    (name,) = found
    return name, key.index(name, _KEYS) + half


class SpanTemplate:
    """A span's payload with places for the value of one attribute and for the description."""

    __slots__ = ("_attributes", "_describe", "_fields", "_name", "_parts", "_span", "came_again")

    def __init__(
        self, span: MaskedSpan, attributes: Mapping[str, Any], fields: SpanFields, name: str, parts: tuple[str, ...]
    ) -> None:
        self._span, self._attributes, self._fields, self._name, self._parts = span, attributes, fields, name, parts
        self._describe = convention_of(span.attributes).description
        self.came_again = True

    def fill(self, by: Policy, value: Any) -> SpanFields | None:
        """The payload with another ``value``, masked; None if that is no text."""
        masked, span, fields = masked_attribute(by, self._name, value, self._attributes), self._span, self._fields
        if type(masked) is not str or not masked:
            return None
        description = self._describe(span, {**span.attributes, self._name: masked}) or span.name
        before, between, after = self._parts
        return fields.varied(
            {**fields.values, "description": description},
            {**fields.data, self._name: masked},
            f"{before}{encode(description)}{between}{encode(masked)}{after}",
        )


def create_template(
    span: MaskedSpan, attributes: Mapping[str, Any], fields: SpanFields, name: str
) -> SpanTemplate | None:
    """The template of ``span`` for other values of the attribute ``name``; None if its JSON has the value elsewhere.

    Args:
        span: The masked span.
        attributes: Its attributes before masking; how a value is masked may depend on others.
        fields: Its payload.
        name: The attribute that varies.
    """
    masked, data, values = span.attributes.get(name), fields.data, fields.values
    if type(masked) is not str or data.get(name) != masked or list(data.values()).count(masked) != 1:
        return None
    try:
        text = encode({**values, "description": _DESCRIPTION, "data": {**data, name: _VALUE}})[1:-2]
    except (TypeError, ValueError, RecursionError):
        return None
    before, _, rest = text.partition(encode(_DESCRIPTION))
    between, _, after = rest.partition(encode(_VALUE))
    if f"{before}{encode(values['description'])}{between}{encode(masked)}{after}" != fields.json:
        return None
    return SpanTemplate(span, attributes, fields, name, (before, between, after))


class SpanCache:
    """Makes span payloads, and keeps the fields of those that come again.

    With fast paths off, every span is masked and described anew.
    """

    def __init__(self) -> None:
        self._caches = _create_caches(policy())

    def create_payload(
        self, span: ReadableSpan | FlatSpan, thread: Thread | None = None, limit: int = MAX_SPAN
    ) -> SpanPayload:
        """The payload of an ended span, masked, and shortened to ``limit`` bytes.

        Raises:
            ValueError: the span has no ids.
        """
        known, templates = self._caches
        if known.by is not (by := policy()):
            known, templates = self._caches = _create_caches(by)
        kept = flat(span) if known.is_used and not isinstance(span, tuple) else span
        if known.is_used and isinstance(kept, tuple):
            key = kept[IDS_AND_TIMES:]
            fields = known.find(key) or _keep(known, key, _create_fields(kept, key, templates))
        else:
            fields = SpanFields(MaskedSpan(restored(span), by))
        if fields.size > limit:
            fields = fields.shortened(limit)
        if not isinstance(span, tuple):
            times = microseconds(span.start_time), microseconds(span.end_time)
            return SpanPayload(fields, *ids_of(span), *times, thread)
        trace_id, span_id, parent_id, started, ended = span[:IDS_AND_TIMES]
        parent = None if parent_id is None else f"{parent_id:016x}"
        times = ((started or 0) + 500) // 1_000, ((ended or 0) + 500) // 1_000
        return SpanPayload(fields, hexadecimal_trace_id(trace_id), f"{span_id:016x}", parent, *times, thread)


def _create_caches(by: Policy) -> tuple[Repeats[SpanFields], Repeats[SpanTemplate]]:
    return Repeats(by), Repeats(by)


def _keep(known: Repeats[SpanFields], key: tuple[Any, ...], fields: SpanFields) -> SpanFields:
    known.keep(key, lambda: fields)
    return fields


def _create_fields(span: FlatSpan, key: tuple[Any, ...], templates: Repeats[SpanTemplate]) -> SpanFields:
    """The fields of a span with this ``key``, from a template if spans that differ in one text have come before."""
    by, varying = templates.by, varying_place(key)
    if varying is None:
        return SpanFields(MaskedSpan(restored(span), by))
    name, place = varying
    others = (*key[:place], *key[place + 1 :])
    template = templates.find(others)
    fields = template.fill(by, key[place]) if template is not None else None
    if fields is not None:
        return fields
    plain = restored(span)
    masked = MaskedSpan(plain, by)
    made = SpanFields(masked)
    templates.keep(others, lambda: create_template(masked, raw_attributes(plain), made, name))
    return made
