"""The span of a request that HTTPX makes: the fast path in the place of contrib's wrappers.

For every request, recorded or not, contrib parses the URL twice, copies the headers three times and collects the
attributes of metrics. Without metrics, captured headers and hooks, the same span is created here; a test compares
each attribute. In a request that is not recorded, only the trace headers are written.
"""

import functools
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx
from opentelemetry.context import Context
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.metrics import _internal as _metrics
from opentelemetry.propagate import inject
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.util.http import redact_url, sanitize_method

from brain_otel.events.attributes import class_name
from brain_otel.instrumentation.fast_span import set_new_attribute, start_fast_span
from brain_otel.instrumentation.httpx.repeated_calls import is_traced_already
from brain_otel.instrumentation.httpx.targets import server_of
from brain_otel.instrumentation.span_scope import (
    current,
    is_excluded_call,
    is_http_enabled,
    is_inside_call,
    unrecorded_call,
)
from brain_otel.runtime.context import settled_context
from brain_otel.runtime.guard import caught, guarded
from brain_otel.runtime.patch import Patch, Patches
from brain_otel.runtime.text import word_set

_CLIENT = SpanKind.CLIENT

_METHODS = word_set("GET HEAD POST PUT DELETE OPTIONS PATCH")
"""Methods that contrib keeps; of others it looks each time whether a variable has it keep them."""

_SLOW_OPTIONS = word_set("""
    request_hook response_hook async_request_hook async_response_hook captured_request_headers
    captured_response_headers
""")
"""Options of contrib's wrappers that only contrib implements."""


def patch_wrappers(instrumentor: type, patches: Patches) -> None:
    """Replace the wrappers of contrib's ``instrumentor``; each calls contrib's where it cannot do the work."""
    patches.replace(instrumentor, "_handle_request_wrapper", _sync)
    patches.replace(instrumentor, "_handle_async_request_wrapper", _async)


def _sync(patch: Patch) -> Any:
    @functools.wraps(patch.original)
    def handle_request_wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any, **options: Any) -> Any:
        context = settled_context()
        if is_inside_call(context) and is_traced_already(args, context):
            return wrapped(*args, **kwargs)
        if not _can_be_fast(args, options, context):
            return patch.original(wrapped, instance, args, kwargs, **options)
        request = args[0]
        if is_excluded_call(context):
            _write_headers(request, unrecorded_call(options["tracer"], context))
            return wrapped(*args, **kwargs)
        started = _start(request, options["tracer"], context)
        if started is None:
            return patch.original(wrapped, instance, args, kwargs, **options)
        with started as span:
            _write_headers(request, started.context)
            try:
                response = wrapped(*args, **kwargs)
            except Exception as error:
                _record_error_type(span, error)
                raise
            _record_response(span, response)
        return response

    return staticmethod(handle_request_wrapper)


def _async(patch: Patch) -> Any:
    @functools.wraps(patch.original)
    async def handle_async_request_wrapper(
        wrapped: Any, instance: Any, args: Any, kwargs: Any, **options: Any
    ) -> Any:
        context = settled_context()
        if is_inside_call(context) and is_traced_already(args, context):
            return await wrapped(*args, **kwargs)
        if not _can_be_fast(args, options, context):
            return await patch.original(wrapped, instance, args, kwargs, **options)
        request = args[0]
        if is_excluded_call(context):
            _write_headers(request, unrecorded_call(options["tracer"], context))
            return await wrapped(*args, **kwargs)
        started = _start(request, options["tracer"], context)
        if started is None:
            return await patch.original(wrapped, instance, args, kwargs, **options)
        with started as span:
            _write_headers(request, started.context)
            try:
                response = await wrapped(*args, **kwargs)
            except Exception as error:
                _record_error_type(span, error)
                raise
            _record_response(span, response)
        return response

    return staticmethod(handle_async_request_wrapper)


def _can_be_fast(args: tuple[Any, ...], options: Mapping[str, Any], context: Context) -> bool:
    try:
        kind: Any = type(options.get("duration_histogram_new"))
        return (
            isinstance(args[0], options["module"].Request)
            and options["sem_conv_opt_in_mode"] is _StabilityMode.HTTP
            and is_http_enabled(context)
            and not any(map(options.get, _SLOW_OPTIONS))
            and not _excludes(options["excluded_urls"])
            # The public getter reads the environment at each call; contrib has called it to create its histogram.
            and not isinstance(_metrics._METER_PROVIDER, MeterProvider)
            and not _is_histogram(kind)  # of the application's own provider
        )
    except Exception as error:
        caught("looking at a request of HTTPX", error)
        return False


@lru_cache(maxsize=16)
def _is_histogram(kind: type) -> bool:
    """Whether instances of ``kind`` are the SDK's; to ask Python for each request costs more than a dictionary."""
    return issubclass(kind, Histogram)


def _excludes(urls: Any) -> bool:
    return bool(urls) and bool(getattr(urls, "_excluded_urls", True))


def _start(request: httpx.Request, tracer: Tracer, context: Context) -> current | None:
    """Start the span of a request; None if contrib has to.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
    """
    try:
        given, url = request.method, request.url
        method = given if given in _METHODS else sanitize_method(given)
        attributes: dict[str, Any] = {"http.request.method": method, "url.full": _redacted(str(url))}
        if method != given:
            attributes["http.request.method_original"] = given
        attributes |= server_of(url)
        name = "HTTP" if method == "_OTHER" else method
        return current(start_fast_span(tracer, name, _CLIENT, attributes, context, are_simple=True), context)
    except Exception as error:
        caught("starting the span of a request of HTTPX", error)
        return None


def _redacted(url: str) -> str:
    """``url`` as contrib records it; without credentials and query it need not be parsed."""
    return redact_url(url) if "@" in url or "?" in url else url


def _write_headers(request: httpx.Request, context: Context) -> None:
    try:
        inject(request.headers, context)
    except Exception as error:
        caught("writing trace headers", error)


def _record_error_type(span: Span, error: Exception) -> None:
    with guarded("recording the error of a request of HTTPX"):
        span.set_attribute("error.type", class_name(type(error)))


def _record_response(span: Span, response: Any) -> None:
    try:
        if not span.is_recording():
            return
        status: int = response.status_code
        set_new_attribute(span, "http.response.status_code", status)
        if status < 100 or status >= 400:
            span.set_status(StatusCode.ERROR)
            span.set_attribute("error.type", str(status))
        given = response.extensions.get("http_version", b"HTTP/1.1")
        version = "1.1" if given == b"HTTP/1.1" else given.decode("ascii", "ignore").replace("HTTP/", "")
        set_new_attribute(span, "network.protocol.version", version)
    except Exception as error:
        caught("recording a response of HTTPX", error)
