"""HTTPX: contrib's instrumentation, which patches the classes of the transports at any time.

Contrib measures requests that got a response. Requests that failed (refused, timed out, cancelled) are measured here,
into the same metric, if the configuration has a ``meter_provider``.
"""

import functools
from contextlib import AbstractContextManager
from typing import Any

import httpx
from opentelemetry import context as otel_context
from opentelemetry.instrumentation import httpx as contrib
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled
from opentelemetry.propagate import get_global_textmap
from opentelemetry.semconv.attributes import error_attributes, http_attributes
from opentelemetry.semconv.metrics.http_metrics import HTTP_CLIENT_REQUEST_DURATION
from opentelemetry.util.http import get_excluded_urls, sanitize_method

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.events.attributes import class_name
from brain_otel.instrumentation.conflicts import warn_once
from brain_otel.instrumentation.first_use import WRAP, EntryPoints, wrapping
from brain_otel.instrumentation.httpx.repeated_calls import INSTRUMENTOR, is_traced_already
from brain_otel.instrumentation.httpx.targets import RestrictedTargets, server_of
from brain_otel.instrumentation.metrics import Durations, create_durations
from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patch, Patches, replacement, surrounding
from brain_otel.runtime.shield import shielded

_SCOPE = "brain_otel.instrumentation.httpx.instrumentor"

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds, from the semantic conventions for HTTP."""

_METHODS = ((httpx.HTTPTransport, "handle_request"), (httpx.AsyncHTTPTransport, "handle_async_request"))
"""The classes and methods that send requests."""


class _Instrumentor(HTTPXClientInstrumentor):
    """An instance of our own: the application's ``uninstrument()`` removes what the application has instrumented."""

    _instance = None

    def _uninstrument(self, **kwargs: Any) -> None:
        """Do nothing if the patches put back what stood there."""
        if not hasattr(contrib, WRAP):
            super()._uninstrument(**kwargs)


class HttpxInstrumentation:
    """Traces and measures every request of sync and async clients.

    Args:
        entry_points: Gets the patches of the methods that send requests; with it, nothing is measured.
    """

    def __init__(self, entry_points: EntryPoints | None = None) -> None:
        self._is_measured = entry_points is None
        self._entry_points = entry_points or Patches()
        self._measured = Patches()
        self._wrapped = Patches()
        self._restricted = Patches()
        self._contrib: HTTPXClientInstrumentor | None = None

    def instrument(self, settings: InstrumentationSettings) -> None:  # noqa: ARG002
        """Begin; leave the spans to contrib's instrumentor if the application has used it before."""
        if self._is_measured:
            self._measure()
        if HTTPXClientInstrumentor().is_instrumented_by_opentelemetry:
            warn_once("HTTPX", INSTRUMENTOR)
        else:
            for name in ("_handle_request_wrapper", "_handle_async_request_wrapper"):
                self._wrapped.replace(HTTPXClientInstrumentor, name, _shielded)
            self._wrapped.replace(contrib, "_apply_request_client_attributes_to_span", _with_server)
            with guarded("loading the fast path of HTTPX"):
                if fast_paths_enabled():
                    from brain_otel.instrumentation.httpx.client_span import patch_wrappers

                    patch_wrappers(HTTPXClientInstrumentor, self._wrapped)
            self._contrib = _Instrumentor()
            with wrapping(contrib, self._entry_points):
                self._contrib.instrument(skip_dep_check=True)
        targets = getattr(get_global_textmap(), "targets", None)
        if targets is not None:
            RestrictedTargets(targets, self._restricted, *_METHODS)

    def _measure(self) -> None:
        durations = create_durations(
            _SCOPE, HTTP_CLIENT_REQUEST_DURATION, "Duration of HTTP client requests.", _BUCKETS
        )
        if durations is not None:
            measuring = functools.partial(_Measuring, durations, get_excluded_urls("HTTPX"))
            for owner, name in _METHODS:
                self._measured.replace(owner, name, surrounding(measuring))

    def uninstrument(self) -> None:
        """Leave HTTPX as it was found."""
        self._restricted.undo()
        self._entry_points.undo()
        if self._contrib is not None:
            self._contrib.uninstrument()
            self._contrib = None
        self._wrapped.undo()
        self._measured.undo()


def _shielded(patch: Patch) -> Any:
    trace = shielded("tracing a request of HTTPX", patch.original)

    @functools.wraps(patch.original)
    def handle_request_wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any, **options: Any) -> Any:
        if is_traced_already(args, otel_context.get_current()):
            return wrapped(*args, **kwargs)
        return trace(wrapped, instance, args, kwargs, **options)

    return staticmethod(handle_request_wrapper)


@replacement
def _with_server(original: Original, /, on_span: Any, on_metric: Any, url: Any, *args: Any, **kwargs: Any) -> None:
    """Contrib leaves out a default port, and gives the server's name as the address of the network's peer."""
    original(on_span, on_metric, url, *args, **kwargs)
    with guarded("describing the server of a request of HTTPX"):
        for name in ("network.peer.address", "network.peer.port"):
            on_span.pop(name, None)
        if "server.address" in on_span:  # not in the old conventions
            server = server_of(httpx.URL(str(url)))  # may be one of httpx2's
            on_span |= server
            on_metric |= server


class _Measuring(AbstractContextManager[object]):
    """Measures a request that fails in the block."""

    def __init__(self, durations: Durations, excluded: Any, _transport: Any, request: httpx.Request) -> None:
        self._durations, self._excluded, self._request = durations, excluded, request
        self._started = durations.start()

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        if error is None:
            return
        with guarded("measuring a failed request"):
            url = self._request.url
            if not is_http_instrumentation_enabled() or self._excluded.url_disabled(str(url)):
                return
            attributes = {
                http_attributes.HTTP_REQUEST_METHOD: sanitize_method(self._request.method),
                **server_of(url),
                error_attributes.ERROR_TYPE: class_name(type(error)),
            }
            self._durations.record(self._started, attributes)
