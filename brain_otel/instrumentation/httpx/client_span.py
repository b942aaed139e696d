"""The span of a request that HTTPX makes: contrib's wrappers, less what nobody asks for.

Contrib's parse the URL twice, copy the headers three times and gather the attributes of metrics, for every request,
recorded or not. Where no metrics are read, no headers captured and no hooks set, the same span is made here, of which
a test compares each attribute; within a request that is not recorded, only the trace headers are written.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.metrics import _internal as _metrics
from opentelemetry.propagate import inject
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.http import redact_url, sanitize_method

from brain_otel.instrumentation.fast_span import set_new_attribute, start_plain_span
from brain_otel.instrumentation.span_scope import current, is_excluded_call, is_http_enabled
from brain_otel.runtime.guard import caught, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from brain_otel.runtime.patch import Patch

_NOT_SIMPLE = (
    "request_hook",
    "response_hook",
    "async_request_hook",
    "async_response_hook",
    "captured_request_headers",
    "captured_response_headers",
)
"""Options of contrib's wrappers; with one of them set, contrib does all of it."""


def plain_wrappers() -> tuple[tuple[str, Callable[[Patch], Any]], ...]:
    """What takes the place of contrib's wrappers, by the names that these have in its instrumentor."""
    return (("_handle_request_wrapper", _sync), ("_handle_async_request_wrapper", _async))


def _sync(patch: Patch) -> Any:
    @functools.wraps(patch.original)
    def handle_request_wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any, **options: Any) -> Any:
        context = otel_context.get_current()
        if not _is_plain(args, options, context):
            return patch.original(wrapped, instance, args, kwargs, **options)
        request = args[0]
        if is_excluded_call(context):
            _write_headers(request)
            return wrapped(*args, **kwargs)
        started = _start(request, options["tracer"], context)
        if started is None:
            return patch.original(wrapped, instance, args, kwargs, **options)
        with started as span:
            _write_headers(request)
            try:
                response = wrapped(*args, **kwargs)
            except Exception as error:
                _note_error(span, error)
                raise
            _note_response(span, response)
        return response

    return staticmethod(handle_request_wrapper)


def _async(patch: Patch) -> Any:
    @functools.wraps(patch.original)
    async def handle_async_request_wrapper(
        wrapped: Any, instance: Any, args: Any, kwargs: Any, **options: Any
    ) -> Any:
        context = otel_context.get_current()
        if not _is_plain(args, options, context):
            return await patch.original(wrapped, instance, args, kwargs, **options)
        request = args[0]
        if is_excluded_call(context):
            _write_headers(request)
            return await wrapped(*args, **kwargs)
        started = _start(request, options["tracer"], context)
        if started is None:
            return await patch.original(wrapped, instance, args, kwargs, **options)
        with started as span:
            _write_headers(request)
            try:
                response = await wrapped(*args, **kwargs)
            except Exception as error:
                _note_error(span, error)
                raise
            _note_response(span, response)
        return response

    return staticmethod(handle_async_request_wrapper)


def _is_plain(args: tuple[Any, ...], options: Mapping[str, Any], context: Context) -> bool:
    try:
        return (
            isinstance(args[0], options["module"].Request)
            and options["sem_conv_opt_in_mode"] is _StabilityMode.HTTP
            and is_http_enabled(context)
            and not any(map(options.get, _NOT_SIMPLE))
            # Contrib's own name for the expressions; a test excludes an address.
            and not getattr(options["excluded_urls"], "_excluded_urls", None)
            # Past its getter, which looks into the environment first: contrib has asked that for its histogram.
            and not isinstance(_metrics._METER_PROVIDER, MeterProvider)
            and not isinstance(options.get("duration_histogram_new"), Histogram)  # of a provider of its own
        )
    except Exception as error:
        caught("looking at a request of HTTPX", error)
        return False


def _start(request: httpx.Request, tracer: Tracer, context: Context) -> current | None:
    """Start the span of a request, to be entered; None where contrib is to make it.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
    """
    try:
        method, url = sanitize_method(request.method), request.url
        attributes: dict[str, Any] = {"http.request.method": method, "url.full": _redacted(str(url))}
        if method != request.method:
            attributes["http.request.method_original"] = request.method
        if url.host:
            attributes["server.address"] = attributes["network.peer.address"] = url.host
        if url.port:
            attributes["server.port"] = attributes["network.peer.port"] = url.port
        name = "HTTP" if method == "_OTHER" else method
        return current(start_plain_span(tracer, name, SpanKind.CLIENT, attributes, context), context)
    except Exception as error:
        caught("starting the span of a request of HTTPX", error)
        return None


def _redacted(url: str) -> str:
    """What contrib writes of ``url``; where there is nothing to take out it need not be parsed, twice."""
    return redact_url(url) if "@" in url or "?" in url else url


def _write_headers(request: httpx.Request) -> None:
    with guarded("writing trace headers"):
        inject(request.headers)


def _note_error(span: Span, error: Exception) -> None:
    with guarded("noting what HTTPX has raised"):
        span.set_attribute("error.type", type(error).__qualname__)


def _note_response(span: Span, response: Any) -> None:
    with guarded("noting a response of HTTPX"):
        if not span.is_recording():
            return
        status: int = response.status_code
        set_new_attribute(span, "http.response.status_code", status)
        if status < 100 or status >= 400:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", str(status))
        version = response.extensions.get("http_version", b"HTTP/1.1").decode("ascii", "ignore")
        set_new_attribute(span, "network.protocol.version", version.replace("HTTP/", ""))
