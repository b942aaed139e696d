"""The server span of a request: the fast path in the place of contrib's middleware.

Contrib's does the same work for a request that is not recorded, sets each attribute twice, and measures for metrics
that nobody may read. This middleware makes the sampling decision first: a request that is not recorded only gets its
ids. A recorded one gets the span that contrib would create; a test compares each attribute. Contrib still serves
metrics, captured headers, the old semantic conventions, WebSockets, and requests inside of another span.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

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
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.metrics import Meter, MeterProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    DEFAULT_TRACE_OPTIONS,
    INVALID_SPAN_CONTEXT,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
)
from starlette.types import Message, Receive, Scope, Send

from brain_otel.events.report import record_error
from brain_otel.instrumentation.fast_span import set_new_attribute, start_decided_span
from brain_otel.instrumentation.fastapi.attributes import HEADERS, headers_of, request_attributes
from brain_otel.instrumentation.fastapi.request import SCOPE_KEY, RequestInProgress, is_traced_by_parent, span_started
from brain_otel.instrumentation.propagation import parts_of
from brain_otel.instrumentation.span_scope import has_span, is_http_enabled, with_span
from brain_otel.runtime.context import attach, get_current, restore
from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import caught, guarded
from brain_otel.sampling.context import DecidedIds, decided_as
from brain_otel.sampling.decision import DroppedSpan
from brain_otel.sampling.head import HeadSampler
from brain_otel.traces import local_trace
from brain_otel.traces.conventions import first

Opened = tuple[Span, Context, Context]
"""The span, the context that holds it and the one before."""

_HEADERS_OF = {
    "opentelemetry.trace.propagation.tracecontext": ("traceparent",),
    "brain_otel.sampling.trace_context": ("traceparent",),
    "opentelemetry.baggage.propagation": ("baggage",),
    "brain_otel.sentry.propagator": ("sentry-trace", "baggage"),
}
"""Module of a propagator -> the headers without which it finds nothing in a request."""

_RANDOM = TraceFlags(TraceFlags.RANDOM_TRACE_ID)
"""The flags of a trace that is not sampled, and whose id is random."""

_STARTS = ("http.response.start", "websocket.accept", "websocket.close", "websocket.http.response.start")
"""Types of the messages that answer a request."""


class ServerSpanMiddleware(OpenTelemetryMiddleware):
    """Replaces contrib's class where contrib sets an app up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._has_hook = kwargs.get("server_request_hook") is not span_started
        """Whether somebody else than we wants the span; we have it."""
        self.default_span_details, self._contribs_details = self._details, self.default_span_details
        self._has_exclusions = bool(getattr(self.excluded_urls, "_excluded_urls", self.excluded_urls))
        """Whether any URL is excluded; without one, the URL of a request is not assembled."""
        self.is_fast = False
        """Whether requests need not contrib's middleware."""
        with guarded("preparing the fast path of FastAPI"):
            self.is_fast = fast_paths_enabled() and not (
                isinstance(metrics.get_meter_provider(), MeterProvider)
                or isinstance(self.meter, Meter)
                or not (self.exclude_receive_span and self.exclude_send_span)  # the application's own set-up
                or self.http_capture_headers_server_request
                or self.http_capture_headers_server_response
                or _report_old(self._sem_conv_opt_in_mode)
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within its span, recorded or not."""
        if is_traced_by_parent(scope):
            await self.app(scope, receive, send)
            return
        opened = None
        if self.is_fast and scope["type"] == "http":
            try:
                opened = self._open(scope)
            except Exception as failure:
                caught("starting a request's span", failure)
        if opened is None:
            await super().__call__(scope, receive, send)
            return
        span, entered, before = opened
        try:
            if self._has_hook and callable(self.server_request_hook):
                try:
                    self.server_request_hook(span, scope)
                except Exception as failure:
                    caught("calling a request's hook", failure)
            await self.app(scope, receive, _observed(send, span, scope))
        except Exception as error:
            record_error(span, error)
            raise
        finally:
            restore(entered, before)
            try:
                if span.is_recording():
                    _name(span, scope)
                    span.end()
            except Exception as failure:
                caught("ending a request's span", failure)

    def _details(self, scope: Scope) -> tuple[str, dict[str, Any]]:
        """The name and attributes with which a span starts; the route follows when the app has chosen it.

        Rules of the sampling need the route at once.
        """
        sampler, request = getattr(self.tracer, "sampler", None), scope.get(SCOPE_KEY)
        if not isinstance(request, RequestInProgress):
            return self._contribs_details(scope)
        if not isinstance(sampler, HeadSampler) or not sampler.needs_attributes:
            return request.method(), {}
        request.given_name, route = request.span_name(), request.route()
        return request.given_name, {} if route is None else {"http.route": route}

    def _get_otel_send(self, server_span: Span, name: Any, scope: Scope, send: Send, attributes: Any) -> Send:
        """Contrib's ``send``, which names the span, and the metrics of the request, by its route."""
        contribs: Send = super()._get_otel_send(server_span, name, scope, send, attributes)  # type: ignore[no-untyped-call]

        async def named_send(message: Message) -> None:
            if message["type"] in _STARTS:
                _name(server_span, scope)
                with guarded("naming a request's metrics"):
                    request = scope.get(SCOPE_KEY)
                    route = request.route() if isinstance(request, RequestInProgress) else None
                    if route is not None:
                        attributes["http.route"] = route
            await contribs(message)

        return named_send

    def _set_server_span(self, server_span: Any, message: Message, status_code: Any, attributes: Any) -> None:
        """Contrib takes 200 for the status of a WebSocket that sends: its handshake has one, when it is answered."""
        kind = message["type"]
        if kind.startswith("websocket."):
            is_refused = kind == "websocket.close" and not _has_status(server_span)
            status_code = message.get("status", 101 if kind == "websocket.accept" else 403 if is_refused else None)
        super()._set_server_span(server_span, message, status_code, attributes)  # type: ignore[no-untyped-call]

    def _open(self, scope: Scope) -> Opened | None:
        """Start the span and make it current; None if contrib has to."""
        here = get_current()
        if not is_http_enabled(here) or has_span(here):
            return None
        if self._has_exclusions and self._excludes(scope):
            return None
        headers, request = headers_of(scope), scope.get(SCOPE_KEY)
        request = request if isinstance(request, RequestInProgress) else None
        context = _extracted(scope, headers)
        span = self._start(scope, headers, request, context)
        if request is not None:
            request.trace.start(span, context)  # unlike the current context, this one does not hold the trace itself
        entered = with_span(span, local_trace.within(local_trace.current(here), context))
        attach(entered)
        return span, entered, here

    def _excludes(self, scope: Scope) -> bool:
        """Whether contrib's excluded URLs match."""
        excluded = self.excluded_urls
        return excluded is not None and excluded.url_disabled(get_host_port_url_tuple(scope)[2])  # type: ignore[no-untyped-call]  # contrib's

    def _start(
        self, scope: Scope, headers: dict[bytes, bytes], request: RequestInProgress | None, context: Context
    ) -> Span:
        sampler, ids = getattr(self.tracer, "sampler", None), getattr(self.tracer, "id_generator", None)
        if not isinstance(sampler, HeadSampler) or not isinstance(ids, DecidedIds) or sampler.needs_attributes:
            return self._start_with_tracer(scope, context)
        parent = otel_trace.get_current_span(context).get_span_context() if context else INVALID_SPAN_CONTEXT
        has_caller = parent[5]  # it is valid
        trace_id = parent[0] if has_caller else ids.generate_trace_id()
        decision = sampler.decide(context, parent, trace_id)
        if decision is None:
            return self._start_with_tracer(scope, context)
        if decision.outcome is not Decision.DROP:
            if request is None:
                with decided_as(trace_id, decision):
                    return self._start_with_tracer(scope, context)
            # It is named after its route later: looking for the route now would route twice.
            name, attributes, kind = request.method(), request_attributes(scope, headers), SpanKind.SERVER
            return start_decided_span(self.tracer, name, kind, attributes, context, parent, trace_id, decision)
        is_random = parent.trace_flags.random_trace_id if has_caller else ids.is_trace_id_random()
        flags = _RANDOM if is_random else DEFAULT_TRACE_OPTIONS
        return DroppedSpan(SpanContext(trace_id, ids.generate_span_id(), False, flags, decision.state))

    def _start_with_tracer(self, scope: Scope, context: Context) -> Span:
        """Start a span for which the tracer asks the sampler."""
        name, route = self._details(scope)
        attributes = {**request_attributes(scope), **route}
        return self.tracer.start_span(name, context=context, kind=SpanKind.SERVER, attributes=attributes)


def _name(span: Span, scope: Scope) -> None:
    request = scope.get(SCOPE_KEY)
    if isinstance(request, RequestInProgress):
        try:
            request.name_span(span)
        except Exception as error:
            caught("naming a request's span", error)


def _observed(send: Send, span: Span, scope: Scope) -> Send:
    """Wrap ``send``: record the status on ``span``, and end ``span`` with the last message.

    ``send`` itself if there is nothing to record or to add to the response.
    """
    propagator: Any = get_global_response_propagator()  # type: ignore[no-untyped-call]  # contrib's has no types
    if not span.is_recording() and propagator is None:
        return send

    async def observed_send(message: Message) -> None:
        kind = message["type"]
        try:
            if kind == "http.response.start" and span.is_recording():
                _name(span, scope)
                _record_status(span, message["status"])
            if propagator is not None:
                propagator.inject(message, otel_trace.set_span_in_context(span, Context()), setter=asgi_setter)
        except Exception as error:
            caught("recording a response", error)
        await send(message)
        if kind == "http.response.body" and not message.get("more_body", False) and span.is_recording():
            try:
                span.end()
            except Exception as error:
                caught("ending a request's span", error)

    return observed_send


def _has_status(span: Any) -> bool:
    attributes = getattr(span, "attributes", None) or {}
    return first(attributes, "http.response.status_code", "http.status_code") is not None


def _record_status(span: Span, status: Any) -> None:
    if isinstance(status, int) and 100 <= status < 500:
        set_new_attribute(span, "http.response.status_code", int(status))  # it may be an ``HTTPStatus``
    else:
        set_status_code(span, status, None, _StabilityMode.HTTP)  # type: ignore[no-untyped-call]  # contrib's has none


def _extracted(scope: Scope, headers: dict[bytes, bytes]) -> Context:
    """The context that the caller has sent."""
    textmap = get_global_textmap()
    wanted = _headers_of(textmap)
    if wanted is not None and wanted.isdisjoint(headers):
        return Context()
    return textmap.extract(scope, getter=HEADERS)


@lru_cache(maxsize=8)
def _headers_of(textmap: TextMapPropagator) -> frozenset[bytes] | None:
    """The headers without which ``textmap`` finds nothing; None if one of its parts is unknown."""
    modules = {type(part).__module__ for part in parts_of(textmap)}
    if not modules <= _HEADERS_OF.keys():
        return None
    return frozenset(name.encode() for module in modules for name in _HEADERS_OF[module])
