"""HTTPX: one span a request, with the trace's headers on the wire."""

from typing import Any

import httpx
import pytest
from opentelemetry.instrumentation import httpx as contrib
from opentelemetry.instrumentation._semconv import _StabilityMode

from brain_otel.instrumentation.httpx.instrumentor import _with_server
from brain_otel.runtime.patch import Patches
from tests.instrumentation.process import Outcome, run_traced
from tests.instrumentation.target import HttpTarget
from tests.support.otlp import refusing

SCRIPT = """
import asyncio, contextlib, os
import brain_otel
brain_otel.setup()
import httpx
from brain_otel import start_transaction

URL, DEAD = os.environ["URL"], os.environ["DEAD"]

def main():
    with httpx.Client(base_url=URL, trust_env=False, verify=False) as client:
        with start_transaction("sync"):
            client.get("/sync?token=secret")
        with start_transaction("sync stream"), client.stream("GET", "/stream") as response:
            assert response.read() == b"one two three"
        with start_transaction("sync 500"):
            assert client.get("/status/500").status_code == 500
        with start_transaction("sync 404"):
            assert client.get("/status/404").status_code == 404
        with start_transaction("sync refused"), contextlib.suppress(httpx.ConnectError):
            client.get(DEAD)
    with start_transaction("sync retries"), contextlib.suppress(httpx.ConnectError):
        with httpx.Client(transport=httpx.HTTPTransport(retries=2)) as client:
            client.get(DEAD)
    with start_transaction("sync function"):
        httpx.get(URL + "/function", trust_env=False)

async def main_async():
    async with httpx.AsyncClient(base_url=URL, trust_env=False, verify=False) as client:
        with start_transaction("async"):
            await client.get("/async?token=secret")
        with start_transaction("async stream"):
            async with client.stream("GET", "/stream") as response:
                assert await response.aread() == b"one two three"
        with start_transaction("async 500"):
            assert (await client.get("/status/500")).status_code == 500
        with start_transaction("async 404"):
            assert (await client.get("/status/404")).status_code == 404
        with start_transaction("async refused"), contextlib.suppress(httpx.ConnectError):
            await client.get(DEAD)
    with start_transaction("async retries"), contextlib.suppress(httpx.ConnectError):
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=2)) as client:
            await client.get(DEAD)

main()
asyncio.run(main_async())
"""

WORLDS = ("sync", "async")


@pytest.fixture(scope="module")
def outcome(target: HttpTarget) -> Outcome:
    """Run the script once for all tests of this module."""
    with refusing() as dead:
        return run_traced(SCRIPT, {"URL": target.url, "DEAD": dead})


@pytest.mark.parametrize("world", WORLDS)
def test_a_request_is_one_span(outcome: Outcome, target: HttpTarget, world: str) -> None:
    """It has Sentry's op and description and the attributes of the stable conventions."""
    span = outcome.span(world)
    assert (span["op"], span["origin"]) == ("http.client", "auto.http.otel.httpx")
    assert span["description"] == f"GET {target.url}/{world}"
    assert span["status"] == "ok"
    assert span["data"]["http.request.method"] == "GET"
    assert span["data"]["http.response.status_code"] == 200
    assert span["data"]["server.port"] == target.server_port


@pytest.mark.parametrize("world", WORLDS)
def test_a_streamed_response_is_one_span(outcome: Outcome, world: str) -> None:
    """Reading the body later adds none."""
    assert outcome.span(f"{world} stream")["status"] == "ok"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("code", "status"), [(500, "internal_error"), (404, "not_found")])
def test_an_error_status_is_no_event(outcome: Outcome, world: str, code: int, status: str) -> None:
    """The HTTP status becomes the span's status."""
    span = outcome.span(f"{world} {code}")
    assert span["status"] == status
    assert span["data"]["http.response.status_code"] == code
    assert outcome.events == []


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", ["refused", "retries"])
def test_a_refused_connection_is_one_failed_span(outcome: Outcome, world: str, case: str) -> None:
    """Even if the transport tries several times: it is one request."""
    span = outcome.span(f"{world} {case}")
    assert span["status"] == "internal_error"
    assert span["data"]["error.type"].endswith("ConnectError")


@pytest.mark.parametrize("world", WORLDS)
def test_the_headers_on_the_wire_name_the_requests_span(outcome: Outcome, target: HttpTarget, world: str) -> None:
    """W3C's and Sentry's headers have its trace and span; baggage has the sampling context."""
    span, headers = outcome.span(world), target.headers[f"/{world}"]
    traceparent, _, flags = headers["traceparent"].rpartition("-")
    assert traceparent == f"00-{span['trace_id']}-{span['span_id']}"
    assert int(flags, 16) & 1  # sampled; OpenTelemetry also sets the flag for a random trace id
    assert headers["sentry-trace"] == f"{span['trace_id']}-{span['span_id']}-1"
    assert f"sentry-trace_id={span['trace_id']}" in headers["baggage"]


def test_module_level_functions_are_traced(outcome: Outcome, target: HttpTarget) -> None:
    """`httpx.get` creates a client of its own."""
    assert outcome.span("sync function")["description"] == f"GET {target.url}/function"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://shop.test/a", {"server.address": "shop.test", "server.port": 80}),
        ("https://shop.test/a", {"server.address": "shop.test", "server.port": 443}),
        ("https://[2001:db8::1]:8443/a", {"server.address": "2001:db8::1", "server.port": 8443}),
        ("ftp://shop.test/a", {"server.address": "shop.test"}),
    ],
)
def test_a_default_port_is_the_servers_port(url: str, server: dict[str, Any]) -> None:
    """On the span and on the metric; a server's name is no address of the network's peer."""
    patches = Patches()
    patches.replace(contrib, "_apply_request_client_attributes_to_span", _with_server)
    on_span: dict[str, Any] = {}
    on_metric: dict[str, Any] = {}
    module: Any = httpx
    try:
        contrib._apply_request_client_attributes_to_span(on_span, on_metric, url, "GET", _StabilityMode.HTTP, module)
    finally:
        patches.undo()
    assert on_span == {"http.request.method": "GET", "url.full": url, **server}
    assert on_metric == {"http.request.method": "GET", **server}
