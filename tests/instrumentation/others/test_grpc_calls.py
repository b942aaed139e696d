"""Calls of gRPC's clients and servers end as without telemetry, whatever their metadata and statuses are."""

import json
from typing import Any

from opentelemetry.instrumentation.grpc import _aio_client, _aio_server, _client, _server

from brain_otel.instrumentation.others.grpc_calls import with_repeated
from tests.instrumentation.process import run_traced
from tests.support import ROOT

SCRIPT = ROOT / "tests" / "apps" / "hostile_grpc.py"


def test_odd_calls_end_as_without_telemetry() -> None:
    """In one process before `setup()`, with it and after `shutdown()`; a call that cannot be sent is not awaited."""
    lines = run_traced(SCRIPT, {"PYTHONWARNINGS": "ignore", "GRPC_VERBOSITY": "NONE"}).output.splitlines()
    result = json.loads(next(line for line in lines if line.startswith('{"asked"')))
    assert len(result["asked"]) > 150
    assert result["different"] == {}


def test_metadata_keeps_its_repeated_keys() -> None:
    """Ours come last, and in the place of those of an earlier call; the application's `baggage` stays."""
    given = (("k", "1"), ("k", "2"), ("traceparent", "old"), ("baggage", "a=1"), ("baggage", "b=2"))
    written = (("k", "2"), ("traceparent", "new"), ("baggage", "b=2,sentry-sampled=true"))
    expected = (("k", "1"), ("k", "2"), ("baggage", "a=1"), *written[1:])
    assert with_repeated(given, written) == expected
    assert with_repeated(None, written) == written
    assert with_repeated({"k": "v"}, written) == {"k": "v"}


def test_contrib_has_what_is_shielded() -> None:
    """The methods by name, and the attributes in which a server's call is kept."""
    for name in ("_intercept", "_intercept_server_stream"):
        assert callable(getattr(_client.OpenTelemetryClientInterceptor, name))
    assert callable(_aio_client._BaseAioClientInterceptor._wrap_unary_response)
    given: Any = object()
    context: Any = _server._OpenTelemetryServicerContext(given, None)  # type: ignore[no-untyped-call]
    assert context._servicer_context is given
    assert {"abort", "set_code", "set_details"} <= vars(_aio_server._OpenTelemetryAioServicerContext).keys()
