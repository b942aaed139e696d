"""HTTPX: contrib's instrumentation, which patches the transports' classes, so import order does not matter.

Contrib measures the requests that got an answer. Those that failed (refused, timed out, cancelled) are measured here,
into the same metric, where the file has a ``meter_provider``.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.semconv.metrics.http_metrics import HTTP_CLIENT_REQUEST_DURATION
from opentelemetry.util.http import get_excluded_urls, sanitize_method

from brain_otel.instrumentation.httpx.client_span import plain_wrappers
from brain_otel.instrumentation.metrics import Durations, create_durations
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patch, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.configuration.settings import InstrumentationSettings

_SCOPE = "brain_otel.instrumentation.httpx.instrumentor"

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds, as the conventions for HTTP want."""

_ours: list[HTTPXClientInstrumentor] = []
"""The instrumentor, if it was not the application that used it first."""

_measuring: list[Patch] = []

_wrapping: list[Patch] = []


def instrument(settings: InstrumentationSettings) -> None:  # noqa: ARG001
    """Trace and measure every request of sync and async clients."""
    durations = create_durations(_SCOPE, HTTP_CLIENT_REQUEST_DURATION, "Duration of HTTP client requests.", _BUCKETS)
    if durations is not None:
        failed = functools.partial(_record_failure, durations, get_excluded_urls("HTTPX"))
        make = functools.partial(_measured, durations, failed)
        make_async = functools.partial(_measured_async, durations, failed)
        _measuring.append(replace(httpx.HTTPTransport, "handle_request", make))
        _measuring.append(replace(httpx.AsyncHTTPTransport, "handle_async_request", make_async))
    instrumentor = HTTPXClientInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        _wrapping.extend(replace(HTTPXClientInstrumentor, name, make) for name, make in plain_wrappers())
        instrumentor.instrument(skip_dep_check=True)
        _ours.append(instrumentor)


def uninstrument() -> None:
    """Trace and measure requests no more."""
    while _ours:
        _ours.pop().uninstrument()
    while _wrapping:
        _wrapping.pop().undo()
    while _measuring:
        _measuring.pop().undo()


def _measured(durations: Durations, failed: Callable[..., None], patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def handle_request(self: Any, request: Any) -> Any:
        started = durations.start() if patch.active else None
        try:
            return patch.original(self, request)
        except BaseException as error:
            failed(started, request, error)
            raise

    return handle_request


def _measured_async(durations: Durations, failed: Callable[..., None], patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    async def handle_async_request(self: Any, request: Any) -> Any:
        started = durations.start() if patch.active else None
        try:
            return await patch.original(self, request)
        except BaseException as error:
            failed(started, request, error)
            raise

    return handle_async_request


def _record_failure(
    durations: Durations, excluded: Any, started: float | None, request: httpx.Request, error: BaseException
) -> None:
    with guarded("measuring a failed request"):
        url = request.url
        if not is_http_instrumentation_enabled() or excluded.url_disabled(str(url)):
            return
        attributes = {
            http_attributes.HTTP_REQUEST_METHOD: sanitize_method(request.method),
            server_attributes.SERVER_ADDRESS: url.host,
            server_attributes.SERVER_PORT: url.port or (443 if url.scheme == "https" else 80),
            error_attributes.ERROR_TYPE: type(error).__qualname__,  # as contrib names it on the span
        }
        durations.record(started, attributes)
