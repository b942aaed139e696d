"""The span of a request: contrib's middleware, less what nobody asks for.

Contrib's works as hard for a request that is not recorded as for one that is, sets each attribute twice, and measures
for metrics that nobody may read. Here a request is first decided on: one that is not recorded gets its ids and goes
on. A recorded one gets the span that contrib would make, of which a test compares each attribute. What is not usual
(metrics that are read, headers to capture, the old conventions, WebSockets, a span around the request) is contrib's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import metrics
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.instrumentation._semconv import _report_old, _StabilityMode
from opentelemetry.instrumentation.asgi import (
    OpenTelemetryMiddleware,
    asgi_setter,
    get_host_port_url_tuple,
    set_status_code,
)
from opentelemetry.instrumentation.propagators import get_global_response_propagator
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter
from opentelemetry.sdk.metrics import Meter, MeterProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.util.http import detect_synthetic_user_agent

from brain_otel.instrumentation.exception_recording import status_of
from brain_otel.instrumentation.fast_span import is_plain, set_new_attribute, start_decided
from brain_otel.instrumentation.fastapi.request import SCOPE_KEY, RequestInProgress, sanitized_method
from brain_otel.instrumentation.span_scope import is_http_enabled
from brain_otel.runtime.guard import caught, guarded
from brain_otel.sampling.context import DecidedIds, decided_as
from brain_otel.sampling.head import HeadSampler
from brain_otel.traces import local_trace

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span
    from starlette.types import Message, Receive, Scope, Send

    from brain_otel.sampling.decision import SamplingDecision

    Opened = tuple[Span, Token[Context]]

_READ_BY = {
    "opentelemetry.trace.propagation.tracecontext": ("traceparent",),
    "opentelemetry.baggage.propagation": ("baggage",),
    "brain_otel.sentry.propagator": ("sentry-trace", "baggage"),
}
"""Propagators, by their modules, that find nothing in a request without these headers."""

_MAX_KEPT = 1_024
"""Characters of a user agent that is kept along with what it is; anyone may send long ones."""


class ServerSpanMiddleware(OpenTelemetryMiddleware):
    """Takes the place of contrib's class in contrib's own set-up of an app."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_plain = not (
            isinstance(metrics.get_meter_provider(), MeterProvider)
            or isinstance(self.meter, Meter)
            or not (self.exclude_receive_span and self.exclude_send_span)  # an application's own set-up
            or self.http_capture_headers_server_request
            or self.http_capture_headers_server_response
            or _report_old(self._sem_conv_opt_in_mode)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within its span, recorded or not."""
        opened = None
        if self._is_plain and scope["type"] == "http":
            with guarded("opening a request's span"):
                opened = self._open(scope)
        if opened is None:
            await super().__call__(scope, receive, send)
            return
        span, token = opened
        try:
            await self.app(scope, receive, self._sent(send, span, scope))
        except Exception as error:
            if span.is_recording():
                with guarded("recording an exception on a span"):
                    span.record_exception(error)
                    span.set_status(status_of(error))
            raise
        finally:
            otel_context.detach(token)
            if span.is_recording():
                _name(span, scope)
                span.end()

    @staticmethod
    def _sent(send: Send, span: Span, scope: Scope) -> Send:
        """``send``, observed where there is something to note, or to add to the response."""
        return _observed(send, span, scope) if span.is_recording() or _response_propagator() is not None else send

    def _open(self, scope: Scope) -> Opened | None:
        """Start the span and make it the current one; None where contrib is to do it."""
        here = otel_context.get_current()
        if not is_http_enabled(here) or otel_trace.get_current_span(here) is not otel_trace.INVALID_SPAN:
            return None
        # Contrib's own name for the expressions; without any there is nothing to make the address for.
        excluded = self.excluded_urls
        if excluded and getattr(excluded, "_excluded_urls", True) and excluded.url_disabled(_url(scope)):
            return None
        context = _extracted(scope)
        span = self._start(scope, context)
        trace = local_trace.current(here)
        token = otel_context.attach(otel_trace.set_span_in_context(span, local_trace.within(trace, context)))
        request = scope.get(SCOPE_KEY)
        if isinstance(request, RequestInProgress):
            request.trace.start(span, context)  # which, other than the current one, does not hold the trace itself
        if callable(self.server_request_hook):
            self.server_request_hook(span, scope)
        return span, token

    def _start(self, scope: Scope, context: Context) -> Span:
        sampler, ids = getattr(self.tracer, "sampler", None), getattr(self.tracer, "id_generator", None)
        if not isinstance(sampler, HeadSampler) or not isinstance(ids, DecidedIds) or sampler.needs_attributes:
            return self._start_as_asked(scope, context)
        parent = otel_trace.get_current_span(context).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else ids.generate_trace_id()
        decision = sampler.decide(context, parent, trace_id)
        if decision is None:
            return self._start_as_asked(scope, context)
        if decision.outcome is not Decision.DROP:
            return self._start_recorded(scope, context, parent, trace_id, decision)
        is_random = parent.trace_flags.random_trace_id if parent.is_valid else ids.is_trace_id_random()
        flags = TraceFlags(TraceFlags.RANDOM_TRACE_ID if is_random else TraceFlags.DEFAULT)
        return NonRecordingSpan(SpanContext(trace_id, ids.generate_span_id(), False, flags, decision.state))

    def _start_recorded(
        self, scope: Scope, context: Context, parent: SpanContext, trace_id: int, decision: SamplingDecision
    ) -> Span:
        """Start a span that gets the name of its route when that is known: to look for it now is to route twice."""
        request = scope.get(SCOPE_KEY)
        if not isinstance(request, RequestInProgress):
            with decided_as(trace_id, decision):
                return self._start_as_asked(scope, context)
        name, kind, attributes = request.method(), SpanKind.SERVER, request_attributes(scope)
        if is_plain(self.tracer, attributes):
            return start_decided(self.tracer, name, kind, attributes, context, parent, trace_id, decision)
        with decided_as(trace_id, decision):
            return self.tracer.start_span(name, context=context, kind=kind, attributes=attributes)

    def _start_as_asked(self, scope: Scope, context: Context) -> Span:
        name, route = self.default_span_details(dict(scope) if type(scope) is not dict else scope)
        attributes = {**request_attributes(scope), **route}
        return self.tracer.start_span(name, context=context, kind=SpanKind.SERVER, attributes=attributes)


def _response_propagator() -> Any:
    return get_global_response_propagator()  # type: ignore[no-untyped-call]  # contrib's has no types


def _name(span: Span, scope: Scope) -> None:
    request = scope.get(SCOPE_KEY)
    if isinstance(request, RequestInProgress):
        with guarded("naming a request's span"):
            request.name_span(span)


def _observed(send: Send, span: Span, scope: Scope) -> Send:
    """``send``, of which ``span`` gets the status, and with whose last message it ends."""

    async def observed_send(message: Message) -> None:
        kind = message["type"]
        try:
            if kind == "http.response.start":
                _name(span, scope)
                _note_status(span, message["status"])
            propagator = _response_propagator()
            if propagator is not None:
                propagator.inject(message, otel_trace.set_span_in_context(span, Context()), setter=asgi_setter)
        except Exception as error:
            caught("noting a response", error)
        await send(message)
        if kind == "http.response.body" and not message.get("more_body", False) and span.is_recording():
            with guarded("ending a request's span"):
                span.end()

    return observed_send


def _note_status(span: Span, status: Any) -> None:
    if not span.is_recording():
        return
    if isinstance(status, int) and 100 <= status < 500:
        set_new_attribute(span, "http.response.status_code", int(status))  # it may be an ``HTTPStatus``
    else:
        set_status_code(span, status, None, _StabilityMode.HTTP)  # type: ignore[no-untyped-call]  # contrib's has none


def request_attributes(scope: Scope) -> dict[str, Any]:
    """What contrib's ``collect_request_attributes`` finds, in the stable conventions alone.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
    """
    server = scope.get("server") or ("0.0.0.0", 80)  # noqa: S104 - contrib's word for an unknown one
    client = scope.get("client")
    query = scope.get("query_string")
    agents = _HEADERS.get(scope, "user-agent")
    found: dict[str, Any] = {
        "url.scheme": scope.get("scheme"),
        "server.address": server[0] if server[1] in (80, None) else f"{server[0]}:{server[1]}",
        "server.port": server[1],
        "network.protocol.version": scope.get("http_version"),
        "url.path": scope.get("path"),
        **_method(scope.get("method") or ""),
    }
    if query and found["url.path"]:
        found["url.query"] = query.decode("utf-8", "replace") if isinstance(query, bytes) else query
    if agents:
        found["user_agent.original"] = agents[0]
        found["user_agent.synthetic.type"] = (
            _synthetic(agents[0]) if len(agents[0]) <= _MAX_KEPT else detect_synthetic_user_agent(agents[0])
        )
    if client is not None:
        found["client.address"], found["client.port"] = client[0], client[1]
    return {name: value for name, value in found.items() if value}


@lru_cache(maxsize=64)
def _method(given: str) -> dict[str, str]:
    if not given:
        return {}
    original, method = given.strip(), sanitized_method(given)
    found = {"http.request.method": method}
    return found if original == method else {**found, "http.request.method_original": original}


@lru_cache(maxsize=1_024)
def _synthetic(agent: str) -> str | None:
    return detect_synthetic_user_agent(agent)


class _Headers(Getter["Scope"]):
    """The headers of an ASGI scope; contrib's getter decodes all of them each time it is asked for one."""

    def get(self, carrier: Scope, key: str) -> list[str] | None:
        """The values of one header, None if it is not there."""
        wanted = key.lower().encode()
        found = [_decoded(value) for name, value in carrier.get("headers") or () if name.lower() == wanted]
        return found or None

    def keys(self, carrier: Scope) -> list[str]:
        """The names of all headers."""
        return [_decoded(name) for name, _ in carrier.get("headers") or ()]


_HEADERS = _Headers()


def _decoded(text: bytes) -> str:
    """As contrib decodes it."""
    try:
        return text.decode()
    except ValueError:
        return text.decode("unicode_escape", "replace")


def _extracted(scope: Scope) -> Context:
    """What the caller has sent, in a context of its own."""
    textmap = get_global_textmap()
    wanted = _headers_read_by(textmap)
    if wanted is not None and not any(name.lower() in wanted for name, _ in scope.get("headers") or ()):
        return Context()
    return textmap.extract(scope, getter=_HEADERS)


@lru_cache(maxsize=8)
def _headers_read_by(textmap: TextMapPropagator) -> frozenset[bytes] | None:
    """The headers without which ``textmap`` finds nothing; None if that is not known of all its parts."""
    parts = textmap._propagators if isinstance(textmap, CompositePropagator) else (textmap,)
    modules = {type(part).__module__ for part in parts}
    if not modules <= _READ_BY.keys():
        return None
    return frozenset(name.encode() for module in modules for name in _READ_BY[module])


def _url(scope: Scope) -> str:
    """The address that contrib holds against the excluded ones."""
    url: str = get_host_port_url_tuple(scope)[2]  # type: ignore[no-untyped-call]  # contrib's has none
    return url
