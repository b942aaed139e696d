"""Keeps an ended span as one flat tuple of texts and numbers until its transaction is built: a fast path.

Python's garbage collector stops tracking such a tuple. A span is a dozen objects that it would visit again and again
while their local trace waits, and many waiting requests would make it run over everything.
"""

from functools import lru_cache
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from brain_otel.runtime.guard import caught
from brain_otel.traces.conventions import has_events_or_links, raw_attributes
from brain_otel.traces.plain_span import PlainSpan

FlatSpan = tuple[Any, ...]
"""Trace id, span id, parent's span id or None, start, end, name, library, kind, status, keys and values."""

COMPARABLE = frozenset({str, int})
"""Types of attributes: others may change, or are equal although they differ, as ``True``, ``1`` and ``1.0``."""

IDS_AND_TIMES = 5
"""The first parts of a flat span; equal spans are equal in all others."""

_NO_RESOURCE = Resource.get_empty()


def flat(span: ReadableSpan) -> ReadableSpan | FlatSpan:
    """``span`` as a flat tuple; itself if that cannot express it, as one with events."""
    try:
        kept = _flat_fields(span) if type(span) is PlainSpan or type(span) is ReadableSpan else None
        return _flat_properties(span) if kept is None else kept
    except Exception as error:
        caught("keeping a span as a flat tuple", error)
        return span


def _flat_fields(span: ReadableSpan) -> FlatSpan | None:
    """The flat tuple of a usual span, read from its fields: each property costs a call; None if it is unusual."""
    try:
        context, parent, status, bounded = span._context, span._parent, span._status, span._attributes
        if context is None or type(bounded) is not BoundedAttributes or span._events or span._links:
            return None
        attributes, scope = bounded._dict, span._instrumentation_scope
        values = attributes.values()
        if bounded.dropped or status.description is not None or not COMPARABLE.issuperset(map(type, values)):
            return None
        return (
            context[0],
            context[1],
            None if parent is None else parent[1],
            span._start_time,
            span._end_time,
            span._name,
            None if scope is None else scope.name,
            span._kind._value_,
            status.status_code._value_,
            *attributes,
            *values,
        )
    except AttributeError:  # upstream has renamed a field
        return None


def _flat_properties(span: ReadableSpan) -> ReadableSpan | FlatSpan:
    context, parent, status, attributes = span.get_span_context(), span.parent, span.status, raw_attributes(span)
    if (
        context is not None
        and not has_events_or_links(span)
        and status.description is None
        and not span.dropped_attributes
        and COMPARABLE.issuperset(map(type, attributes.values()))
    ):
        scope = span.instrumentation_scope
        return (
            *(context[0], context[1], parent[1] if parent is not None else None, span.start_time, span.end_time),
            *(span.name, scope.name if scope is not None else None),
            *(span.kind._value_, status.status_code._value_),
            *attributes,
            *attributes.values(),
        )
    return span


def restored(span: ReadableSpan | FlatSpan) -> ReadableSpan:
    """The span that :func:`flat` was given, without its resource and without its trace's state."""
    if not isinstance(span, tuple):
        return span
    trace_id, span_id, parent_id, started, ended, name, scope, kind, code, *rest = span
    half = len(rest) // 2
    return ReadableSpan(
        name=name,
        context=SpanContext(trace_id, span_id, is_remote=False),
        parent=None if parent_id is None else SpanContext(trace_id, parent_id, is_remote=False),
        resource=_NO_RESOURCE,
        attributes=dict(zip(rest[:half], rest[half:], strict=True)),
        kind=SpanKind(kind),
        instrumentation_scope=None if scope is None else _scope(scope),
        status=_status(code),
        start_time=started,
        end_time=ended,
    )


@lru_cache(maxsize=256)
def _scope(name: str) -> InstrumentationScope:
    """One object for all spans of a library: its masked form is cached by its identity."""
    return InstrumentationScope(name)


@lru_cache(maxsize=4)
def _status(code: int) -> Status:
    return Status(StatusCode(code))
