"""How :class:`.propagator.SentryPropagator` reads and writes headers. The first request, or first call, loads it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import CarrierT, Getter, Setter, default_getter, default_setter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from sentry_sdk.integrations.opentelemetry.consts import SENTRY_BAGGAGE_KEY, SENTRY_TRACE_KEY
from sentry_sdk.tracing import BAGGAGE_HEADER_NAME, SENTRY_TRACE_HEADER_NAME
from sentry_sdk.tracing_utils import Baggage, extract_sentrytrace_data

from brain_otel.runtime.context import get_current
from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import caught, guarded
from brain_otel.sampling.context import deferred, started_anew, with_sample_rand, with_sentry_decision
from brain_otel.sampling.decision import is_for_sentry
from brain_otel.sentry.dynamic_sampling_context import (
    continues,
    create_sampling_context,
    is_ours,
    sampling_context_of,
)
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace

MAX_BAGGAGE_LENGTH = 8192
"""Characters of ``baggage``: longer baggage is neither read nor added to. W3C's limit."""

_TRACEPARENT = "traceparent"

_EXTRAS_KEY = "sentry.baggage"

_PER_TRACE = frozenset(("trace_id", "sample_rand", "sampled"))

_MAX_CACHED = 256
"""Characters of a value whose quoted form is cached; values from outside may be long."""


def extract(carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter) -> Context:
    """The context with the caller's span and sampling context; unchanged without Sentry's headers."""
    found = get_current() if context is None else context
    with guarded("reading trace headers"):
        return _extract(carrier, found, getter)
    return found


def _extract(carrier: CarrierT, context: Context, getter: Getter[CarrierT]) -> Context:
    baggage = _incoming_baggage(carrier, getter)
    items = baggage.sentry_items if baggage is not None else {}
    header = getter.get(carrier, SENTRY_TRACE_HEADER_NAME)
    data = extract_sentrytrace_data(header[0]) if header and len(header) == 1 else None
    caller = _caller(data) if data else None
    nearer = otel_trace.get_current_span(context).get_span_context()
    if nearer.is_valid and nearer.is_remote and getter.get(carrier, _TRACEPARENT):
        agrees = caller is not None and caller.trace_id == nearer.trace_id
        if (agrees or items.get("trace_id") == f"{nearer.trace_id:032x}") and not continues(items):
            return started_anew(context, nearer, otel_baggage.get_all(context))
        if data is not None and agrees:
            context = _with_decision(context, data, nearer.trace_id)
        return _with_sampling_context(context, nearer, caller, baggage) if is_ours(items) else context
    if data is None or caller is None:
        return context
    if not continues(items):
        return started_anew(context, caller, otel_baggage.get_all(context))
    context = otel_context.set_value(SENTRY_TRACE_KEY, data, context)
    if is_ours(items):
        context = otel_context.set_value(SENTRY_BAGGAGE_KEY, baggage or _empty(), context)
        context = _with_sample_rand(context, caller, baggage)
    context = _with_decision(context, data, caller.trace_id)
    if data["parent_sampled"] is None:
        context = deferred(context)
    return otel_trace.set_span_in_context(NonRecordingSpan(caller), context)


def inject(carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter) -> None:
    """Write the headers for the current span of ``context``, if it is valid."""
    try:
        here = get_current() if context is None else context
        span = otel_trace.get_current_span(here).get_span_context()
        if not span[5]:  # it is not valid
            return
        sampled = "1" if is_for_sentry(span) else "0"
        value = f"{span[0]:032x}-{span[1]:016x}-{sampled}"
        setter.set(carrier, SENTRY_TRACE_HEADER_NAME, value)
        carried = _carried_baggage(carrier)
        if carried is not None and (baggage := _outgoing_baggage(span, here, carried)):
            setter.set(carrier, BAGGAGE_HEADER_NAME, baggage)
    except Exception as error:
        caught("writing trace headers", error)


def _caller(data: dict[str, str | bool | None]) -> SpanContext | None:
    """The span that ``sentry-trace`` names, or None if its ids are not valid ones."""
    trace_id, span_id = data["trace_id"], data["parent_span_id"]
    if not isinstance(trace_id, str) or not isinstance(span_id, str):
        return None
    flags = TraceFlags.SAMPLED if data["parent_sampled"] else TraceFlags.DEFAULT
    caller = SpanContext(
        trace_id=int(trace_id, 16), span_id=int(span_id, 16), is_remote=True, trace_flags=TraceFlags(flags)
    )
    return caller if caller.is_valid else None


def _incoming_baggage(carrier: CarrierT, getter: Getter[CarrierT]) -> Baggage | None:
    """Sentry's entries of the ``baggage`` headers, frozen, or None without any."""
    header = ",".join(getter.get(carrier, BAGGAGE_HEADER_NAME) or ())
    if "sentry-" not in header or len(header) > MAX_BAGGAGE_LENGTH:
        return None
    baggage = Baggage.from_incoming_header(header)
    baggage.freeze()
    return baggage if baggage.sentry_items else None


def _with_sampling_context(
    context: Context, nearer: SpanContext, caller: SpanContext | None, baggage: Baggage | None
) -> Context:
    """Keep the caller's sampling context if it belongs to the trace of ``traceparent``."""
    if baggage is not None and baggage.sentry_items.get("trace_id") == f"{nearer.trace_id:032x}":
        context = _with_sample_rand(context, nearer, baggage)
        return otel_context.set_value(SENTRY_BAGGAGE_KEY, baggage, context)
    if caller is not None and caller.trace_id == nearer.trace_id:
        return otel_context.set_value(SENTRY_BAGGAGE_KEY, _empty(), context)
    return context


def _with_sample_rand(context: Context, caller: SpanContext, baggage: Baggage | None) -> Context:
    """Keep the random number that earlier services decided by, if it belongs to the caller's trace."""
    items = baggage.sentry_items if baggage is not None else {}
    if items.get("trace_id", f"{caller.trace_id:032x}") != f"{caller.trace_id:032x}":
        return context
    return with_sample_rand(context, caller.trace_id, items.get("sample_rand"))


def _with_decision(context: Context, data: Mapping[str, Any], trace_id: int) -> Context:
    """Keep the caller's decision for Sentry, if there is one; it overrides Sentry's rate here."""
    sampled = data["parent_sampled"]
    return with_sentry_decision(context, trace_id, sampled) if isinstance(sampled, bool) else context


def _empty() -> Baggage:
    """The baggage of a caller that sent ``sentry-trace`` alone; frozen, because the caller owns it."""
    return Baggage({}, mutable=False)


def _carried_baggage(carrier: object) -> list[str] | None:
    """The members of ``baggage`` that the application or an earlier propagator has written, without Sentry's.

    None if it is so long that receivers ignore it: the application's header stays as it is then.
    """
    get = getattr(carrier, "get", None)
    header = get(BAGGAGE_HEADER_NAME) if callable(get) else None
    if not isinstance(header, str):
        return []
    if len(header) > MAX_BAGGAGE_LENGTH:
        return None
    members = header.split(",")
    return [member.strip() for member in members if member.strip() and not member.strip().startswith("sentry-")]


def _outgoing_baggage(span: SpanContext, context: Context | None, carried: list[str]) -> str:
    trace = local_trace.current(context)
    root = trace.span_context() if trace is not None else None
    if trace is not None and root is not None and root[0] == span[0]:
        members = _members_of(trace)
    else:
        members = _members(create_sampling_context(span, context))
    entries = carried
    others = otel_baggage.get_all(context)
    if others:
        ours = [
            f"{quote_plus(key)}={quote_plus(str(value))}"
            for key, value in others.items()
            if not key.startswith("sentry-")
        ]
        known = {member.partition("=")[0] for member in carried}
        entries = carried + [member for member in ours if member.partition("=")[0] not in known]
    return ",".join([*entries, members] if members else entries) if entries else members


def _members_of(trace: LocalTrace) -> str:
    """Sentry's members of the ``baggage`` of ``trace``, frozen with its sampling context."""
    members: str | None = trace.extras.get(_EXTRAS_KEY)
    if members is None:
        members = trace.extras[_EXTRAS_KEY] = _members(sampling_context_of(trace))
    return members


def _members(items: Mapping[str, str]) -> str:
    """Sentry's members of ``baggage``, with commas between them.

    The fast path caches quoted values, and writes ids and numbers, which differ between traces, without quoting.
    """
    if not fast_paths_enabled():
        return Baggage(dict(items)).serialize()
    members: list[str] = []
    for key, value in items.items():
        if key in _PER_TRACE and value.isascii() and value.replace(".", "").isalnum():
            members.append(f"{Baggage.SENTRY_PREFIX}{key}={value}")
        else:
            members.append((_quoted if len(value) <= _MAX_CACHED else _quoted.__wrapped__)(key, value))
    return ",".join(members)


@lru_cache(maxsize=1_024)
def _quoted(key: str, value: str) -> str:
    return f"{Baggage.SENTRY_PREFIX}{quote(key)}={quote(value)}"
