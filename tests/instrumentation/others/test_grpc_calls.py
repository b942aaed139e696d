"""Calls of gRPC's clients and servers end as without telemetry, whatever their metadata and statuses are."""

import inspect
import json
from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from brain_otel.instrumentation.others.conventions import Calls
from brain_otel.instrumentation.others.corrections import CorrectingTracer
from brain_otel.instrumentation.others.grpc_calls import shield_grpc, with_repeated
from brain_otel.runtime.patch import Patches
from tests.instrumentation.process import run_traced
from tests.support import ROOT

SCRIPT = ROOT / "tests" / "apps" / "hostile_grpc.py"


def test_odd_calls_end_as_without_telemetry() -> None:
    """In one process before `setup()`, with it and after `shutdown()`; a call that cannot be sent is not awaited."""
    lines = run_traced(SCRIPT, {"PYTHONWARNINGS": "ignore", "GRPC_VERBOSITY": "NONE"}).output.splitlines()
    result = json.loads(next(line for line in lines if line.startswith('{"asked"')))
    assert len(result["asked"]) > 230
    assert result["different"] == {}


def test_metadata_keeps_its_repeated_keys() -> None:
    """Ours come last, and in the place of those of an earlier call; the application's `baggage` stays."""
    given = (("k", "1"), ("k", "2"), ("traceparent", "old"), ("baggage", "a=1"), ("baggage", "b=2"))
    written = (("k", "2"), ("traceparent", "new"), ("baggage", "b=2,sentry-sampled=true"))
    expected = (("k", "1"), ("k", "2"), ("baggage", "a=1"), *written[1:])
    assert with_repeated(given, written) == expected
    assert with_repeated(None, written) == written
    assert with_repeated({"k": "v"}, written) == {"k": "v"}


PEERS = {
    "ipv4:10.0.0.1:5000": {"network.peer.address": "10.0.0.1", "network.peer.port": 5000},
    "unix:/run/shop.sock": {},
    "unix-abstract:shop": {},
    "vsock:2:1024": {"network.peer.address": "2", "network.peer.port": 1024},
    "unknown": {},
}


def test_a_server_describes_a_call_of_any_method_and_peer() -> None:
    """Contrib raises for a method without a service, and for a peer without a port."""
    from opentelemetry.instrumentation.grpc import _server

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer: Any = CorrectingTracer(provider.get_tracer("test"), Calls())
    interceptor: Any = _server.OpenTelemetryServerInterceptor(tracer)  # type: ignore[no-untyped-call]
    patches = Patches()
    shield_grpc(_server, patches)
    try:
        for method in ("/shop.Till/Sell", "served", "/served", ""):
            for peer in PEERS:
                context = SimpleNamespace(invocation_metadata=tuple, peer=lambda: peer)  # noqa: B023 - called at once
                with interceptor._start_span(SimpleNamespace(method=method), context):
                    pass
    finally:
        patches.undo()
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans[::5]] == ["shop.Till/Sell", "served", "served", "?"]
    assert all(span.attributes["rpc.response.status_code"] == "OK" for span in spans if span.attributes)
    assert {span.attributes["rpc.method"] for span in spans if span.attributes} == {"shop.Till/Sell", "served", "?"}
    for span, expected in zip(spans, PEERS.values(), strict=False):
        assert span.attributes is not None
        assert {key: value for key, value in span.attributes.items() if "peer" in key} == expected


def test_contrib_has_what_is_shielded() -> None:
    """The methods by name, and the attributes in which a server's call is kept."""
    from opentelemetry.instrumentation.grpc import _aio_client, _aio_server, _client, _server

    for name in ("_intercept", "_intercept_server_stream"):
        assert callable(getattr(_client.OpenTelemetryClientInterceptor, name))
    start = inspect.signature(_server.OpenTelemetryServerInterceptor._start_span)
    assert list(start.parameters) == ["self", "handler_call_details", "context", "set_status_on_exception"]
    called = inspect.signature(_client.OpenTelemetryClientInterceptor._start_span)
    assert list(called.parameters) == ["self", "method", "kwargs"]
    assert issubclass(_aio_server.OpenTelemetryAioServerInterceptor, _server.OpenTelemetryServerInterceptor)
    assert callable(_aio_client._BaseAioClientInterceptor._wrap_unary_response)
    given: Any = object()
    context: Any = _server._OpenTelemetryServicerContext(given, None)  # type: ignore[no-untyped-call]
    assert context._servicer_context is given
    assert {"abort", "set_code", "set_details"} <= vars(_aio_server._OpenTelemetryAioServicerContext).keys()
