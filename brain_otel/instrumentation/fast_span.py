"""Creates OpenTelemetry's spans without its tracer: the fast path of every span below a recorded one.

For each span the SDK's tracer asks the sampler, checks every attribute and creates five locks and two lists. Our
instrumentations know that their attributes are texts and numbers, as they mostly are in the application's own spans,
and below a recorded span the decision is made.
The result is a subclass of the SDK's span, in the state in which the tracer leaves its own spans; a test compares
each field. The tracer does the work if the SDK has other fields, or a limit or a value is unusual.
"""

import time
from threading import Lock
from types import FunctionType
from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import EventBase, ReadableSpan, SpanLimits, Tracer
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import caught
from brain_otel.sampling.context import decided_as
from brain_otel.sampling.decision import SamplingDecision
from brain_otel.sampling.head import HeadSampler
from brain_otel.traces.plain_span import PlainSpan

try:
    from opentelemetry.trace.propagation import _SPAN_KEY
except ImportError:  # then the public function finds the current span
    _SPAN_KEY = ""

_SIMPLE_TYPES = frozenset({str, int, float, bool})
"""The SDK stores values of these types unchanged."""

_MAX_TRACE_ID, _MAX_SPAN_ID = 2**128 - 1, 2**64 - 1

_SAMPLED, _RANDOM = Decision.RECORD_AND_SAMPLE, TraceFlags.RANDOM_TRACE_ID

_UNSET = Status(StatusCode.UNSET)

_FLAGS = {
    (sampled, random): TraceFlags(
        (TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        | (TraceFlags.RANDOM_TRACE_ID if random else TraceFlags.DEFAULT)
    )
    for sampled in (False, True)
    for random in (False, True)
}

_READABLE_FIELDS = frozenset(
    {"_name", "_context", "_kind", "_instrumentation_info", "_instrumentation_scope", "_parent", "_start_time"}
    | {"_end_time", "_attributes", "_events", "_links", "_resource", "_status"}
)
_SPAN_FIELDS = frozenset(
    {"_sampler", "_trace_config", "_record_exception", "_set_status_on_exception", "_span_processor", "_limits"}
    | {"_lock", "_record_end_metrics"}
)
_ATTRIBUTES_FIELDS = frozenset({"_dict", "maxlen", "dropped", "max_value_len", "_lock", "_immutable"})


class FastSpan(PlainSpan, SdkSpan):
    """The SDK's span, with lists of events and links that are created with their first item."""

    _events: Any = ()
    _links: Any = ()

    def _add_event(self, event: EventBase) -> None:
        self._create_list("_events", self._limits.max_events)
        super()._add_event(event)

    def _add_link(self, link: Link) -> None:
        self._create_list("_links", self._limits.max_links)
        super()._add_link(link)

    def _create_list(self, name: str, limit: int | None) -> None:
        if name not in self.__dict__:
            self.__dict__.setdefault(name, BoundedList(limit))  # atomic: another thread may add the first item

    def get_span_context(self) -> SpanContext:
        """As the base class, without its cast."""
        return self._context  # type: ignore[return-value]  # only a ReadableSpan may have none

    def _readable_span(self) -> ReadableSpan:
        readable = object.__new__(PlainSpan)
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
    """Set an attribute that has not been set before."""
    if type(span) is FastSpan and type(value) in _SIMPLE_TYPES and span._end_time is None:
        attributes: Any = span._attributes
        known, maxlen = attributes._dict, attributes.maxlen
        if key not in known and (maxlen is None or len(known) < maxlen):
            known[key] = value
            return
    span.set_attribute(key, value)


def start_fast_span(
    tracer: Any,
    name: str,
    kind: SpanKind,
    attributes: dict[str, Any],
    context: Context,
    *,
    are_simple: bool = False,
) -> Span:
    """Start a span in ``context``; ``attributes`` become the span's own, so do not use them afterwards.

    ``are_simple`` says that the attributes are texts and numbers, so that they are not checked.
    """
    span = create_below(tracer, name, kind, attributes, context, are_simple=are_simple)
    if span is None:
        slow: Span = tracer.start_span(name, context=context, kind=kind, attributes=attributes)
        return slow
    tracer.span_processor.on_start(span, parent_context=context)
    return span


def create_below(
    tracer: Any,
    name: str,
    kind: SpanKind,
    attributes: dict[str, Any],
    context: Context,
    *,
    are_simple: bool = False,
) -> FastSpan | None:
    """A span below the current one of ``context``; None if only the SDK's tracer can tell what to make."""
    try:
        sampler = getattr(tracer, "sampler", None)
        if isinstance(sampler, HeadSampler) and _can_be_fast(tracer, attributes, are_simple):
            caller = context.get(_SPAN_KEY)
            if type(caller) is FastSpan:
                parent: SpanContext = caller._context  # type: ignore[assignment]  # only a ReadableSpan may have none
            else:
                parent = otel_trace.get_current_span(context).get_span_context()
            state = sampler.state_below(parent, context)
            if state is not None:
                return _create(tracer, name, kind, attributes, parent, parent[0], state)
    except Exception as error:
        caught("creating a span without OpenTelemetry's tracer", error)
    return None


def start_decided_span(
    tracer: Any,
    name: str,
    kind: SpanKind,
    attributes: dict[str, Any],
    context: Context,
    parent: SpanContext,
    trace_id: int,
    decision: SamplingDecision,
) -> Span:
    """Start a local root of ``trace_id``, recorded as ``decision`` says; ``attributes`` become the span's own."""
    span = None
    try:
        if _can_be_fast(tracer, attributes):
            span = _create(tracer, name, kind, attributes, parent, trace_id, decision.state)
    except Exception as error:
        caught("creating a span without OpenTelemetry's tracer", error)
    if span is None:
        with decided_as(trace_id, decision):
            slow: Span = tracer.start_span(name, context=context, kind=kind, attributes=attributes)
            return slow
    tracer.span_processor.on_start(span, parent_context=context)
    return span


def _can_be_fast(tracer: Any, attributes: dict[str, Any], are_simple: bool = False) -> bool:
    if not _IS_KNOWN or type(tracer) is not Tracer or not fast_paths_enabled():
        return False
    if not are_simple and not _SIMPLE_TYPES.issuperset(map(type, attributes.values())):
        return False
    limits = tracer._span_limits
    return (
        limits.max_span_attribute_length is None
        and (limits.max_span_attributes is None or limits.max_span_attributes >= len(attributes))
        and tracer._tracer_config.is_enabled
    )


def _create(
    tracer: Any,
    name: str,
    kind: SpanKind,
    attributes: dict[str, Any],
    parent: SpanContext,
    trace_id: int,
    state: Any,
) -> FastSpan:
    """A span whose trace state holds the decision to record it."""
    caller = parent if parent[5] else None  # it is valid
    ids = tracer.id_generator
    is_random = bool(parent[3] & _RANDOM) if caller is not None else ids.is_trace_id_random()
    limits, decision = tracer._span_limits, state.decision
    span = object.__new__(FastSpan)
    span._name = name
    flags = _FLAGS[decision.outcome is _SAMPLED, is_random]
    span_id = ids.generate_span_id()
    is_valid = 0 < trace_id <= _MAX_TRACE_ID and 0 < span_id <= _MAX_SPAN_ID
    # `SpanContext.__new__` makes the same tuple, two calls later.
    span._context = tuple.__new__(SpanContext, (trace_id, span_id, False, flags, state, is_valid))
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
    span._lock = Lock()
    span._record_end_metrics = tracer._tracer_metrics.start_span(caller, decision.outcome)
    span._start_time = time.time_ns()
    return span


def _bounded(attributes: dict[str, Any], maxlen: int | None) -> BoundedAttributes:
    bounded = object.__new__(BoundedAttributes)
    bounded._dict = attributes
    bounded.maxlen = maxlen
    bounded.dropped = 0
    bounded.max_value_len = None
    bounded._lock = Lock()
    bounded._immutable = False
    return bounded


def _is_known() -> bool:
    """Whether the spans of the SDK's tracer have exactly the fields that this module writes."""
    try:
        # Its tracer creates spans of this class; `Span` itself cannot be created.
        sample = sdk_trace._Span("", INVALID_SPAN_CONTEXT, resource=Resource.get_empty(), limits=SpanLimits())
        return (
            vars(sample).keys() == _READABLE_FIELDS | _SPAN_FIELDS
            and not any(isinstance(each, FunctionType) for each in vars(type(sample)).values())
            and vars(sample._readable_span()).keys() == _READABLE_FIELDS
            and vars(sample._attributes).keys() == _ATTRIBUTES_FIELDS
            and {"_add_event", "_add_link"} <= vars(SdkSpan).keys()
        )
    except Exception:  # a later SDK may differ in any way
        return False


_IS_KNOWN = _is_known()
