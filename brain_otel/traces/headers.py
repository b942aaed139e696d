"""Carries a trace through a queue, a template or any other place that OpenTelemetry does not instrument."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan

from brain_otel.runtime.context import Attachment, settled_context
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.quiet import in_time, is_looking
from brain_otel.traces import local_trace

Headers = Mapping[Any, Any] | Iterable[tuple[Any, Any]]

MAX_HEADERS = 1_000
"""Headers of a message that are looked at."""

MAX_LENGTH = 16_384
"""Characters of a header that is read; W3C allows 8,192 in ``baggage``."""

_OF_A_TRACE = ("brain_otel.", "sentry-", "current-span", "baggage")
"""Beginnings of the keys in OpenTelemetry's context that belong to a trace; the others are the application's."""


def trace_headers() -> dict[str, str]:
    """Return the headers that continue the current trace elsewhere: in a queue's message, in a page's ``meta`` tags.

    Returns:
        What the configured propagators write: ``traceparent``, ``tracestate`` if there is one, ``sentry-trace`` and
        ``baggage``. Empty outside of a trace.
    """
    headers: dict[str, str] = {}
    with guarded("writing trace headers"):
        if not is_looking():
            propagate.inject(headers, _linked_context())
    return headers


class continue_trace:  # noqa: N801 - reads as a statement: `with continue_trace(headers):`
    """Continue the trace that ``headers`` name: work in the block, sync or async, belongs to it.

    ``with continue_trace(message.headers), start_transaction("process"):`` makes a transaction that is a child of the
    sender's span. Without headers that can be read, work in the block starts a new trace. Whoever calls this trusts
    the headers: ``distribution.brain_otel.propagation.trust_incoming`` is for requests.

    Args:
        headers: What :func:`trace_headers` returned: a mapping or pairs, names in any case, values text or bytes.
    """

    def __init__(self, headers: Headers | None) -> None:
        self._headers = headers
        self._entered: list[tuple[Attachment, local_trace.outside] | None] = []

    def __enter__(self) -> None:
        entered = None
        with guarded("continuing a trace"):
            context = _context_of(self._headers)
            outside = local_trace.outside()
            outside.__enter__()
            entered = (Attachment(context), outside)
        self._entered.append(entered)

    def __exit__(self, *_: object) -> None:
        entered = self._entered.pop() if self._entered else None
        if entered is not None:
            with guarded("leaving a continued trace"):
                entered[0].detach()
                entered[1].__exit__()

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()


def _linked_context() -> Context:
    """The current context, with the local root as its span if that has ended and the work goes on."""
    context = settled_context()
    span = local_trace.current_span_context(local_trace.current(context))
    if span is None or span == otel_trace.get_current_span(context).get_span_context():
        return context
    return otel_trace.set_span_in_context(NonRecordingSpan(span), context)


def _context_of(headers: Headers | None) -> Context:
    kept = {key: value for key, value in otel_context.get_current().items() if not key.startswith(_OF_A_TRACE)}
    found = Context(kept)
    with guarded("reading trace headers"):
        return propagate.extract(_carrier(headers), found)
    return found


def _carrier(headers: Headers | None) -> dict[str, list[str]]:
    """The headers that the propagators read, by name in lower case; those that an iterator has made in time."""
    wanted = {name.lower() for name in propagate.get_global_textmap().fields}
    carrier: dict[str, list[str]] = {}
    try:
        pairs: Iterable[Any] = headers.items() if isinstance(headers, Mapping) else () if headers is None else headers
        for pair in in_time(islice(pairs, MAX_HEADERS)):
            name, value = pair
            if (key := _text(name).lower()) in wanted:
                given = value if isinstance(value, (list, tuple)) else (value,)
                carrier.setdefault(key, []).extend(map(_text, given[:MAX_HEADERS]))
    except (TypeError, ValueError):  # neither a mapping nor pairs
        return {}
    return carrier


def _text(value: Any) -> str:
    """``value`` if it is text; bytes as HTTP decodes them, and nothing of what is too long or of another type."""
    kind = type(value)
    if issubclass(kind, bytes):
        return bytes.decode(value, "latin-1") if bytes.__len__(value) <= MAX_LENGTH else ""
    return str.__str__(value) if issubclass(kind, str) and str.__len__(value) <= MAX_LENGTH else ""
