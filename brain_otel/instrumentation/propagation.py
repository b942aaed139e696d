"""The global propagator: no header harms a request, and trust decides which headers are read and written.

:class:`GuardedPropagator` wraps the propagators of the configuration. :class:`TrustingPropagator` wraps it if
``distribution.brain_otel.propagation`` restricts whose trace headers a request continues, or which hosts get ours.
"""

import logging
from collections.abc import Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from itertools import islice
from typing import Any
from urllib.parse import quote_plus

from opentelemetry import baggage as otel_baggage
from opentelemetry import trace as otel_trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from brain_otel.configuration.sections.propagation import PropagationSettings, TrustedHeader
from brain_otel.instrumentation.targets import TargetMatcher
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.limited_log import CountLog
from brain_otel.sampling.client_calls import call_of
from brain_otel.sampling.context import started_anew
from brain_otel.sampling.trace_context import TraceContextPropagator
from brain_otel.traces import local_trace

logger = logging.getLogger(__name__)

Headers = Iterable[tuple[bytes, bytes]]

MAX_ENTRIES = 180
MAX_ENTRY = 4_096
MAX_BAGGAGE = 7_168
"""Bounds of a context's baggage as it is written, in characters: W3C's (8,192), less what Sentry's entries need."""

_MAX_QUOTED = 3
"""Characters that one ASCII character of an entry becomes at most."""

writes_headers: ContextVar[bool | None] = ContextVar("brain_otel.propagation.writes", default=None)
"""Whether the server of the request that is being made gets trace headers; None: its span tells."""


def parts_of(propagator: TextMapPropagator) -> tuple[TextMapPropagator, ...]:
    """The propagators that read and write for ``propagator``, in order; one that is not known stands for itself."""
    if isinstance(propagator, GuardedPropagator):
        return propagator.parts
    parts = getattr(propagator, "_propagators", None) if isinstance(propagator, CompositePropagator) else None
    return (propagator,) if parts is None else tuple(parts)


def _by_level_two(propagator: TextMapPropagator) -> TextMapPropagator:
    return TraceContextPropagator() if type(propagator) is TraceContextTextMapPropagator else propagator


class GuardedPropagator(TextMapPropagator):
    """Reads and writes headers with several propagators; one that fails loses its own headers and no others.

    Instrumentations call the global propagator unguarded, and OpenTelemetry's propagators raise for some headers. Its
    propagator of W3C's headers is replaced by ours.
    """

    def __init__(self, inner: TextMapPropagator) -> None:
        self.parts = tuple(map(_by_level_two, parts_of(inner)))
        self._without_baggage = tuple(part for part in self.parts if type(part) is not W3CBaggagePropagator)
        self._left_out = CountLog(logger, "Baggage is longer than its bounds and is not written: %s")

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """The caller's context; ``context``, or an empty one, without headers that can be read."""
        for part in self.parts:
            try:
                context = part.extract(carrier, context, getter)
            except Exception as error:
                caught(f"reading trace headers ({type(part).__name__})", error)
        return Context() if context is None else context

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Write the headers; ``baggage`` with the first entries that fit into its bounds."""
        if entries := otel_baggage.get_all(context):
            with guarded("bounding baggage"):
                context = self._bounded(entries, context)
        for part in self.parts if entries else self._without_baggage:
            try:
                part.inject(carrier, context, setter)
            except Exception as error:
                caught(f"writing trace headers ({type(part).__name__})", error)

    def _bounded(self, entries: Mapping[str, object], context: Context | None) -> Context | None:
        """``context`` with the entries that are written: propagators quote each before they look how long it is."""
        kept = bounded_baggage(entries)
        if kept is entries:
            return context
        self._left_out.add("entries", len(entries) - len(kept))
        context = otel_baggage.clear(context)
        for name, value in kept.items():
            context = otel_baggage.set_baggage(name, value, context)
        return context

    @property
    def fields(self) -> set[str]:
        """The names of the headers."""
        return {field for part in self.parts for field in part.fields}


def bounded_baggage(entries: Mapping[str, object]) -> Mapping[str, object]:
    """The first of ``entries`` that fit into the bounds of ``baggage``; ``entries`` itself if all do.

    An entry that has no text, or that UTF-8 cannot write, is left out.
    """
    if len(entries) <= MAX_ENTRIES and _is_surely_short(entries):
        return entries
    kept: dict[str, object] = {}
    left = MAX_BAGGAGE
    for name, value in islice(entries.items(), MAX_ENTRIES):
        try:
            text = str(value)
            length = _length(name, text)
        except Exception:  # the application's own text, or a lone surrogate
            length = MAX_BAGGAGE + 1
        if length <= min(left, MAX_ENTRY):
            left -= length
            kept[name] = text
    return entries if len(kept) == len(entries) else kept


def _length(name: str, text: str) -> int:
    """Characters of an entry as it is written, with ``=`` and a comma; a long one is not quoted to measure it."""
    if len(name) + len(text) > MAX_ENTRY:
        return len(name) + len(text)
    return len(quote_plus(name)) + len(quote_plus(text)) + 2


def _is_surely_short(entries: Mapping[str, object]) -> bool:
    length = 0
    for name, value in entries.items():
        if type(value) is not str or not (name.isascii() and value.isascii()):
            return False
        length += len(name) + len(value) + 2
    return length * _MAX_QUOTED <= MAX_ENTRY


class TrustingPropagator(GuardedPropagator):
    """Reads the headers of trusted callers as ``inner`` does; those of others become the link of a new trace.

    ASGI requests are judged, regardless of the code that reads their headers. Other carriers are not.
    """

    def __init__(self, inner: TextMapPropagator, settings: PropagationSettings) -> None:
        super().__init__(inner)
        self.targets = None if settings.targets is None else TargetMatcher(settings.targets)
        """The hosts that get headers; None: all of them."""
        self._trusts = None if settings.trust_incoming is None else TrustedCallers(settings).trusts

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """The caller's context; without its span and Sentry's entries if the caller is not trusted."""
        if self._trusts is None or self._is_trusted(carrier):
            return super().extract(carrier, context, getter)
        base = Context() if context is None else context
        with guarded("reading the headers of a caller that is not trusted"):
            found = super().extract(carrier, context, getter)
            caller = otel_trace.get_current_span(found).get_span_context()
            return started_anew(base, caller, otel_baggage.get_all(found))
        return base

    def _is_trusted(self, carrier: Any) -> bool:
        with guarded("deciding whether a caller is trusted"):
            caller = _caller_of(carrier)
            return self._trusts is None or caller is None or self._trusts(*caller)
        return False

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Write the headers, unless they are for a host that gets none.

        Where targets are restricted, each value that is written for a call is an :class:`OurHeader`, so that the
        headers can be taken out again when the server sends the client on to another host.
        """
        if not self.is_for_target(context):
            return
        if self.targets is not None and call_of(otel_trace.get_current_span(context).get_span_context()) is not None:
            setter = _MarkingSetter(setter)
        super().inject(carrier, context, setter)

    def is_for_target(self, context: Context | None = None) -> bool:
        """Whether the call that ``context`` belongs to gets trace headers.

        A client's span has to name a target. Other spans, such as the one of a message, are no calls of a host.
        """
        is_chosen = writes_headers.get()
        if self.targets is None or is_chosen is not None:
            return is_chosen is not False
        with guarded("choosing the hosts that get trace headers"):
            call = call_of(otel_trace.get_current_span(context).get_span_context())
            return call is None or self.targets.matches_call(call)
        return False


class OurHeader(str):
    """The value of a header that we have written."""

    __slots__ = ("original",)

    original: str | None
    """The value that the application had given the header; None if it had given none."""


class _MarkingSetter(Setter[Any]):
    """Writes each value as an :class:`OurHeader`."""

    def __init__(self, inner: Setter[Any]) -> None:
        self._inner = inner

    def set(self, carrier: Any, key: str, value: str) -> None:
        """Write a header."""
        marked = OurHeader(value)
        get = getattr(carrier, "get", None)
        before = get(key) if callable(get) else None
        marked.original = before.original if isinstance(before, OurHeader) else before
        self._inner.set(carrier, key, marked)


def remove_our_headers(headers: MutableMapping[str, Any]) -> None:
    """Take out the headers that we have written, and put back what the application had given."""
    for name, value in list(headers.items()):
        if isinstance(value, OurHeader):
            if value.original is None:
                headers.pop(name)
            else:
                headers[name] = value.original


def _caller_of(carrier: Any) -> tuple[str | None, Headers] | None:
    """The address and headers of the request whose headers are read; None if it is none.

    The address is the one in the ASGI scope. No header, such as ``X-Forwarded-For``, is believed.
    """
    if isinstance(carrier, dict) and carrier.get("type") in ("http", "websocket"):
        client = carrier.get("client")
        return client[0] if client else None, carrier.get("headers") or ()
    trace = local_trace.current()
    if trace is None or trace.kind != "request" or trace.root is not None or trace.describe_request is None:
        return None
    request = trace.describe_request()  # FastAPI's own telemetry reads headers without their scope
    pairs = ((name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items())
    return request.client_address, pairs


class TrustedCallers:
    """The callers that the settings trust."""

    def __init__(self, settings: PropagationSettings) -> None:
        given = settings.trust_incoming or ()
        self._headers = tuple(
            (each.name.encode(), str(each.value).encode()) for each in given if isinstance(each, TrustedHeader)
        )
        networks = tuple(each for each in given if not isinstance(each, TrustedHeader))

        @lru_cache(maxsize=1_024)
        def is_inside(address: str) -> bool:
            try:
                parsed = ip_address(address)
            except ValueError:  # a test client's name, the path of a socket
                return False
            mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
            return any((mapped or parsed) in network for network in networks)

        self._is_inside = is_inside

    def trusts(self, address: str | None, headers: Headers) -> bool:
        """Whether the caller's address is in a trusted network, or a header has a trusted value."""
        if isinstance(address, str) and self._is_inside(address):
            return True
        return bool(self._headers) and any(self._knows(name.lower(), value) for name, value in headers)

    def _knows(self, name: bytes, value: bytes) -> bool:
        return any(name == wanted and compare_digest(value, secret) for wanted, secret in self._headers)
