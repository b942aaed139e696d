"""Starting a span with plain attributes in a trace that has been decided on: OpenTelemetry's span, made directly.

The SDK's tracer asks the sampler for each span, looks through each attribute and makes five locks and two lists. An
instrumentation knows that its attributes are texts and numbers, and below a recorded span there is nothing to decide.
What is made is the SDK's own class in the state in which its tracer would have left it; a test compares each field.
Where the SDK is another one than is known here, or anything is not usual, its tracer does the work.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel_trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, Tracer
from opentelemetry.sdk.trace import Span as RecordedSpan
from opentelemetry.sdk.trace import _Span as SdkSpan
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import _SPAN_ID_MAX_VALUE, _TRACE_ID_MAX_VALUE

from brain_otel.sampling.head import HeadSampler

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import EventBase
    from opentelemetry.trace import Link, Span, SpanKind

    from brain_otel.sampling.decision import SamplingDecision

_PLAIN = frozenset({str, int, float, bool})
"""Types of values that the SDK takes as they are."""

_UNSET = Status(StatusCode.UNSET)

_FLAGS = {
    (sampled, random): TraceFlags(
        (TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        | (TraceFlags.RANDOM_TRACE_ID if random else TraceFlags.DEFAULT)
    )
    for sampled in (False, True)
    for random in (False, True)
}


_READABLE = frozenset(
    {"_name", "_context", "_kind", "_instrumentation_info", "_instrumentation_scope", "_parent", "_start_time"}
    | {"_end_time", "_attributes", "_events", "_links", "_resource", "_status"}
)
_SPAN = frozenset(
    {"_sampler", "_trace_config", "_record_exception", "_set_status_on_exception", "_span_processor", "_limits"}
    | {"_lock", "_record_end_metrics"}
)
_ATTRIBUTES = frozenset({"_dict", "maxlen", "dropped", "max_value_len", "_lock", "_immutable"})


class PlainSpan(SdkSpan):
    """A span that makes its lists of events and links when there are some, and is read with less work."""

    _events: Any = ()
    _links: Any = ()

    def _add_event(self, event: EventBase) -> None:
        self._begin("_events", self._limits.max_events)
        super()._add_event(event)

    def _add_link(self, link: Link) -> None:
        self._begin("_links", self._limits.max_links)
        super()._add_link(link)

    def _begin(self, name: str, limit: int | None) -> None:
        """Make a list unless it is there."""
        if name not in self.__dict__:
            self.__dict__.setdefault(name, BoundedList(limit))  # in one step: another thread may come first

    def get_span_context(self) -> SpanContext:
        """As every span."""
        return self._context  # type: ignore[return-value]  # which a span always has

    def _readable_span(self) -> ReadableSpan:
        readable = object.__new__(ReadableSpan)
        readable._name = self._name
        readable._context = self._context
        readable._kind = self._kind
        readable._instrumentation_info = self._instrumentation_info
        readable._instrumentation_scope = self._instrumentation_scope
        readable._parent = self._parent
        readable._start_time = self._start_time
        readable._end_time = self._end_time
        readable._attributes = self._attributes
        readable._events = self._events
        readable._links = self._links
        readable._resource = self._resource
        readable._status = self._status
        return readable


def set_new_attribute(span: Span, key: str, value: Any) -> None:
    """Set an attribute that was not set before."""
    if type(span) is PlainSpan and type(value) in _PLAIN and span._end_time is None:
        attributes: Any = span._attributes
        known, maxlen = attributes._dict, attributes.maxlen
        if key not in known and (maxlen is None or len(known) < maxlen):
            known[key] = value
            return
    span.set_attribute(key, value)


def start_plain_span(tracer: Any, name: str, kind: SpanKind, attributes: dict[str, Any], context: Context) -> Span:
    """Start a span in ``context``. ``attributes`` become the span's; they must not be used any more."""
    parent = otel_trace.get_current_span(context).get_span_context()
    sampler = getattr(tracer, "sampler", None)
    if isinstance(sampler, HeadSampler) and is_plain(tracer, attributes):
        decision = sampler.decided_below(parent, context)
        if decision is not None and decision.outcome is not Decision.DROP:
            return start_decided(tracer, name, kind, attributes, context, parent, parent[0], decision)
    span: Span = tracer.start_span(name, context=context, kind=kind, attributes=attributes)
    return span


def is_plain(tracer: Any, attributes: dict[str, Any]) -> bool:
    """Whether a span with these can be made here."""
    if not _IS_KNOWN or type(tracer) is not Tracer or not _PLAIN.issuperset(map(type, attributes.values())):
        return False
    limits = tracer._span_limits
    return (
        limits.max_span_attribute_length is None
        and (limits.max_span_attributes is None or limits.max_span_attributes >= len(attributes))
        and tracer._tracer_config.is_enabled
    )


def start_decided(
    tracer: Any,
    name: str,
    kind: SpanKind,
    attributes: dict[str, Any],
    context: Context,
    parent: SpanContext,
    trace_id: int,
    decision: SamplingDecision,
) -> Span:
    """Start a span that is recorded, as ``decision`` says, in a tracer and with attributes that are plain."""
    caller = parent if parent.is_valid else None
    ids = tracer.id_generator
    is_random = bool(parent[3] & TraceFlags.RANDOM_TRACE_ID) if caller is not None else ids.is_trace_id_random()
    limits = tracer._span_limits
    span = object.__new__(PlainSpan)
    span._name = name
    flags = _FLAGS[decision.outcome is Decision.RECORD_AND_SAMPLE, is_random]
    span_id = ids.generate_span_id()
    is_valid = 0 < trace_id <= _TRACE_ID_MAX_VALUE and 0 < span_id <= _SPAN_ID_MAX_VALUE
    # What `SpanContext` itself makes of these, two calls later.
    span._context = tuple.__new__(SpanContext, (trace_id, span_id, False, flags, decision.state, is_valid))
    span._kind = kind
    span._instrumentation_info = tracer.instrumentation_info
    span._instrumentation_scope = tracer._instrumentation_scope
    span._parent = caller
    span._end_time = None
    span._attributes = _bounded(attributes, limits.max_span_attributes)
    span._resource = tracer.resource
    span._status = _UNSET
    span._sampler = tracer.sampler
    span._trace_config = None
    span._record_exception = span._set_status_on_exception = True
    span._span_processor = tracer.span_processor
    span._limits = limits
    span._lock = threading.Lock()
    span._record_end_metrics = tracer._tracer_metrics.start_span(caller, decision.outcome)
    span._start_time = time.time_ns()
    tracer.span_processor.on_start(span, parent_context=context)
    return span


def _bounded(attributes: dict[str, Any], maxlen: int | None) -> BoundedAttributes:
    made = object.__new__(BoundedAttributes)
    made._dict = attributes
    made.maxlen = maxlen
    made.dropped = 0
    made.max_value_len = None
    made._lock = threading.Lock()
    made._immutable = False
    return made


def _is_known() -> bool:
    """Whether the SDK's spans have the fields that are written here, and no others."""
    try:
        theirs = SdkSpan("", INVALID_SPAN_CONTEXT, resource=Resource.get_empty(), limits=SpanLimits())
        return (
            vars(theirs).keys() == _READABLE | _SPAN
            and vars(theirs._readable_span()).keys() == _READABLE
            and vars(theirs._attributes).keys() == _ATTRIBUTES
            and {"_add_event", "_add_link"} <= vars(RecordedSpan).keys()
        )
    except Exception:  # whatever a later SDK may have become
        return False


_IS_KNOWN = _is_known()
