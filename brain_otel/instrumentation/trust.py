"""The global propagator of a file with ``distribution.brain_otel.propagation``.

The block restricts whose trace headers a request continues, or which hosts get ours.
"""

from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from typing import Any

from opentelemetry import baggage as otel_baggage
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from brain_otel.configuration.sections.propagation import PropagationSettings, TrustedHeader
from brain_otel.instrumentation.propagation import GuardedPropagator, writes_headers
from brain_otel.instrumentation.targets import TargetMatcher
from brain_otel.runtime.guard import guarded
from brain_otel.sampling.client_calls import call_of
from brain_otel.sampling.context import started_anew
from brain_otel.traces import local_trace

Headers = Iterable[tuple[bytes, bytes]]


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
