"""The fast path of FastAPI creates the span that contrib's middleware creates."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.instrumentation import asgi
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from brain_otel.instrumentation.fastapi.attributes import _synthetic, patch_attributes, request_attributes
from brain_otel.instrumentation.fastapi.server_span import _headers_of
from brain_otel.instrumentation.propagation import GuardedPropagator
from brain_otel.runtime.patch import Patches
from brain_otel.sentry.propagator import SentryPropagator
from tests.support import ROOT
from tests.support.process import run_python

Json = dict[str, Any]

RATES = (1.0, 0.5, 0.0)
CONTRIBS = (
    "captured headers",
    "metrics",
    "send and receive spans",
    "send spans",
    "a span around",
)
"""Set-ups of which contrib does all."""


@cache
def answers(opt_in: str = "http,database", only_unusual: str = "") -> Json:
    """Ask both apps everything, once."""
    env = {
        "OTEL_SEMCONV_STABILITY_OPT_IN": opt_in,
        "ONLY_UNUSUAL": only_unusual,
        "PYTHONWARNINGS": "error",
    }
    done = run_python(ROOT / "tests/apps/server_spans.py", env, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    found: Json = json.loads(done.stdout)
    return found


def unequal(world: Json) -> Iterator[str]:
    for name, (contribs, ours) in world["answers"].items():
        for part in contribs:
            if contribs[part] != ours[part]:
                yield f"{name}, {part}:\n  contrib's {contribs[part]}\n  ours      {ours[part]}"


@pytest.mark.parametrize("rate", RATES)
def test_every_request_is_answered_and_traced_as_by_contrib(rate: float) -> None:
    """Messages, errors, ids, the endpoint's view and every part of every span are equal."""
    world = answers()[f"rate {rate}"]
    assert "\n".join(unequal(world)) == ""
    assert set(world["ways"].values()) == {"fast"}
    assert len(world["ways"]) > 70


def test_the_rate_and_the_caller_decide_what_is_recorded() -> None:
    """Everything but what a caller left out, about half, or only what a caller wants."""
    recorded = {
        rate: {name for name, (_, ours) in answers()[f"rate {rate}"]["answers"].items() if ours["spans"]}
        for rate in RATES
    }
    excluded = {"traceparent, unsampled", "sentry, unsampled"}
    everything = answers()["rate 1.0"]["answers"].keys()
    assert recorded[1.0] == everything - excluded
    wanted = {"traceparent", "tracestate", "sentry", "both, of one mind"}
    assert wanted < recorded[0.0] < recorded[0.5] < recorded[1.0]
    assert recorded[0.0] & {"GET /items/7", "sentry, deferred", "tracestate alone"} == set()


@pytest.mark.parametrize("name", ["GET /background/false", "GET /background/true"])
def test_a_background_task_does_not_lengthen_its_requests_span(name: str) -> None:
    """The span ends with the last of the body, before the task begins."""
    (_, ours) = answers()["rate 1.0"]["answers"][name]
    assert ours["ends before background work"]
    assert [span["name"] for span in ours["spans"]] == ["GET /background/{fails}", "BackgroundTask work"]


def test_the_server_is_the_one_that_the_client_names() -> None:
    """Contrib gives the path of the socket, and the missing port as text."""
    contribs, ours = answers()["differing"]["answers"]["unix socket"]
    assert contribs == ours
    attributes = ours["spans"][0]["attributes"]
    assert (attributes["server.address"], attributes["server.port"]) == (["str", "shop.test"], ["int", 80])


@pytest.mark.parametrize(
    ("host", "server", "address", "port"),
    [
        (b"shop.test", ("10.0.0.1", 8000), "shop.test", 443),
        (b"shop.test:8443", ("10.0.0.1", 8000), "shop.test", 8443),
        (b"[2001:db8::1]:8080", ("10.0.0.1", 8000), "2001:db8::1", 8080),
        (None, ("10.0.0.1", 8000), "10.0.0.1", 8000),
        (None, ("/run/shop.sock", None), "/run/shop.sock", None),
        (None, None, None, None),
        (b"shop:x", ("10.0.0.1", 8000), "10.0.0.1", 8000),
        (b"anna:hunter2@shop", ("10.0.0.1", 8000), "10.0.0.1", 8000),
        (b"shop" * 1_000, ("10.0.0.1", 8000), "10.0.0.1", 8000),
    ],
)
def test_the_servers_address_has_no_port(
    host: bytes | None, server: Any, address: str | None, port: int | None
) -> None:
    """It is the name in the header `Host`, else the socket's."""
    headers = [] if host is None else [(b"host", host)]
    found = request_attributes({"type": "http", "scheme": "https", "headers": headers, "server": server})
    assert (found.get("server.address"), found.get("server.port")) == (address, port)


def test_a_query_that_is_not_utf_8_does_not_fail_its_request() -> None:
    """Contrib's middleware answers it with 500."""
    contribs, ours = answers()["differing"]["answers"]["undecodable query"]
    assert "UnicodeDecodeError" in contribs["raised"]
    assert ours["raised"] is None
    assert ours["spans"][0]["attributes"]["url.query"] == ["str", "a=\ufffd\ufffd"]


@pytest.mark.parametrize("rate", [1.0, 0.0])
@pytest.mark.parametrize(
    "name", [*CONTRIBS, "excluded", "response propagator", "a handler that fails", "a hook", "usual"]
)
def test_unusual_options_work_as_with_contrib(name: str, rate: float) -> None:
    """Excluded URLs, captured headers, metrics, trace headers on responses, hooks, spans around, WebSockets."""
    world = answers()[f"{name}, rate {rate}"]
    assert "\n".join(unequal(world)) == ""
    assert world["metrics"][0] == world["metrics"][1]
    assert (world["metrics"][0] != []) == (name == "metrics")
    ways = world["ways"]
    assert ways["websocket"] == "contrib"
    excluded = ("/items/7", "/boom") if name == "excluded" else ()
    for path in ways.keys() - {"websocket"}:
        assert ways[path] == ("contrib" if name in CONTRIBS or path in excluded else "fast")


@pytest.mark.parametrize("opt_in", ["", "http/dup"])
def test_the_old_conventions_are_left_to_contrib(opt_in: str) -> None:
    """Alone, and beside the stable ones."""
    world = answers(opt_in, "yes")["unusual"]
    assert "\n".join(unequal(world)) == ""
    assert set(world["ways"].values()) == {"contrib"}
    attributes = world["answers"]["/items/7"][1]["spans"][0]["attributes"]
    assert "http.method" in attributes
    assert ("http.request.method" in attributes) == (opt_in == "http/dup")


@pytest.mark.parametrize(("length", "kept"), [(1_000, 1), (60_000, 0)])
def test_a_long_user_agent_is_not_cached(length: int, kept: int) -> None:
    """A thousand of them would stay in memory."""
    agent = "Googlebot " + str(length) * (length // len(str(length)))
    before = _synthetic.cache_info().currsize
    found = request_attributes({"headers": [(b"user-agent", agent.encode())]})
    assert (found["user_agent.original"], found["user_agent.synthetic.type"]) == (agent, "bot")
    assert _synthetic.cache_info().currsize == before + kept


def texts(most: int = 20) -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8"), max_size=most)


METHODS = st.sampled_from(["GET", "post", "BREW", "", " GET", "QUERY"]) | texts(8)
ADDRESSES = st.sampled_from(["127.0.0.1", "::1", "shop", ""])
SERVERS = st.none() | st.tuples(ADDRESSES, st.sampled_from([80, 443, 8000, 0]))
CLIENTS = st.none() | st.tuples(ADDRESSES, st.integers(0, 65_535))
NAMES = st.sampled_from([b"user-agent", b"User-Agent", b"host", b"Host", b"x-a", b"x-\xe9", b"\xff"])
VALUES = texts(60).map(str.encode) | st.sampled_from(
    [b"Googlebot/2.1", b"alwayson", b"", b"Caf\xe9", b"[::1]:80", b"shop:x"]
)
SCOPES = st.fixed_dictionaries(
    {"type": st.just("http")},
    optional={
        "method": METHODS,
        "scheme": st.sampled_from(["http", "https", ""]),
        "path": texts().map(lambda text: "/" + text) | st.just(""),
        "query_string": texts().map(str.encode) | texts(),
        "http_version": st.sampled_from(["1.0", "1.1", "2", ""]),
        "headers": st.lists(st.tuples(NAMES, VALUES), max_size=4),
        "client": CLIENTS,
        "server": SERVERS,
    },
)


@given(SCOPES)
def test_a_requests_attributes_are_those_that_contrib_collects(scope: Json) -> None:
    """Of scopes that servers give, and of many that none gives."""
    patches = Patches()
    patch_attributes(patches)
    try:
        collected = asgi.collect_request_attributes(scope, _StabilityMode.HTTP)  # type: ignore[no-untyped-call]
    finally:
        patches.undo()
    assert request_attributes(scope) == collected


def test_a_request_without_trace_headers_is_not_searched_for_them() -> None:
    """The headers of each propagator that the packaged files name are known."""
    parts = [TraceContextTextMapPropagator(), W3CBaggagePropagator(), SentryPropagator()]
    for textmap in (CompositePropagator(parts), GuardedPropagator(CompositePropagator(parts))):
        assert _headers_of(textmap) == frozenset((b"traceparent", b"baggage", b"sentry-trace"))
