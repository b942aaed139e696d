"""The global propagator: no header harms a request.

:class:`GuardedPropagator` wraps the propagators of the configuration. :mod:`.trust` has the one that wraps it if some
callers or hosts are not trusted.
"""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from itertools import islice
from urllib.parse import quote_plus

from opentelemetry import baggage as otel_baggage
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

from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.limited_log import CountLog
from brain_otel.sampling.trace_context import TraceContextPropagator

logger = logging.getLogger(__name__)

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
