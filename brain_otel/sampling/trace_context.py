"""Reads ``traceparent`` and ``tracestate`` by level 2 of W3C's specification.

OpenTelemetry's propagator takes the first of two ``traceparent`` headers, knows only the keys of level 1, and drops
the whole trace state for a key that occurs twice: https://www.w3.org/TR/trace-context-2/.
"""

from collections.abc import Iterable

from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import CarrierT, Getter, Setter, default_getter, default_setter
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import TraceState

from brain_otel.runtime.lazy_regex import expression

MAX_PARENT_LENGTH = 512
"""Characters of ``traceparent``; later versions may append fields."""

MAX_STATE_LENGTH = 8_192
"""Characters of all ``tracestate`` headers; a longer state is dropped. OpenTelemetry's limit."""

MAX_MEMBERS = 32
"""Members of a trace state; a state with more is dropped."""

_PARENT = expression(
    r"[ \t]*(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*"
)
_KEY = r"[a-z0-9][a-z0-9_\-*/@]{0,255}"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = expression(f"({_KEY})=({_VALUE})")


class LevelTwoState(TraceState):
    """A trace state with keys of level 2, which OpenTelemetry's class would drop."""

    def __init__(self, entries: Iterable[tuple[str, str]] | None = None) -> None:
        super().__init__()
        if entries is not None:
            try:
                self._dict.update(entries)
            except AttributeError:  # upstream has renamed it
                super().__init__(list(entries))


class TraceContextPropagator(TraceContextTextMapPropagator):
    """Replaces OpenTelemetry's propagator; it writes what that one writes."""

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """``context``, or an empty one, with the caller's span; without it unless exactly one header names it."""
        context = Context() if context is None else context
        headers = getter.get(carrier, "traceparent") or ()
        caller = _caller(headers[0]) if len(headers) == 1 else None
        if caller is None:
            return context
        state = _state(getter.get(carrier, "tracestate") or ())
        trace_id, span_id, flags = caller
        span = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=state)
        return otel_trace.set_span_in_context(NonRecordingSpan(span), context)

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Write what OpenTelemetry's propagator writes, in fewer calls."""
        span = otel_trace.get_current_span(context).get_span_context()
        if span == INVALID_SPAN_CONTEXT:
            return
        trace_id, span_id, _, flags, state, _ = span
        setter.set(carrier, "traceparent", f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
        if state:
            setter.set(carrier, "tracestate", state.to_header())


def _caller(header: str) -> tuple[int, int, TraceFlags] | None:
    """The ids and flags in ``traceparent``; None if it is malformed."""
    found = _PARENT.fullmatch(header) if len(header) <= MAX_PARENT_LENGTH else None
    if found is None or (found[1] == "00" and found[5]):
        return None
    return int(found[2], 16), int(found[3], 16), TraceFlags(int(found[4], 16))


def _state(headers: Iterable[str]) -> LevelTwoState | None:
    """The members of all headers; None if one is malformed. Of two members with one key the first stays."""
    text = ",".join(headers)
    if not text or len(text) > MAX_STATE_LENGTH:
        return None
    entries: dict[str, str] = {}
    members = [stripped for member in text.split(",") if (stripped := member.strip(" \t"))]
    if len(members) > MAX_MEMBERS:
        return None
    for member in members:
        found = _MEMBER.fullmatch(member)
        if found is None:
            return None
        entries.setdefault(found[1], found[2])
    return LevelTwoState(entries.items())
