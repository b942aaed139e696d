"""Tests of which headers are read, who is trusted, and which hosts get headers."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import asgi_getter
from opentelemetry.propagate import inject
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import brain_otel
from brain_otel.configuration.sections.propagation import PropagationSettings, TrustedHeader
from brain_otel.configuration.sections.sentry import Secret
from brain_otel.configuration.values import BadValueError, read_fields
from brain_otel.instrumentation.fastapi.attributes import HEADERS
from brain_otel.instrumentation.propagation import GuardedPropagator
from brain_otel.instrumentation.targets import TargetMatcher
from brain_otel.instrumentation.trust import TrustedCallers
from brain_otel.runtime import guard
from brain_otel.sentry.propagator import SentryPropagator
from brain_otel.testing import Telemetry
from tests.support.yardstick import milliseconds

NETWORKS = ["10.0.0.0/8", "fd00::/8", "fe80::/10", "::1", "::ffff:192.0.2.0/120"]


def settings(**given: object) -> PropagationSettings:
    return PropagationSettings(**read_fields(PropagationSettings, given))


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("fd12:3456::7", True),
        ("::1", True),
        ("::2", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("fe80::1%eth0", True),
        ("testclient", False),
        ("", False),
        ("10.0.0.1:80", False),
        ("010.0.0.1", False),
        (None, False),
        (b"10.0.0.1", False),
        (167772161, False),
        ("192.0.2.9", True),
        ("::ffff:192.0.2.9", True),
        ("64:ff9b::10.0.0.1", False),
        ("2002:a00:1::", False),
    ],
)
def test_networks_hold_addresses_of_both_families(address: Any, trusted: bool) -> None:
    """An IPv4 address in IPv6's form is the IPv4 address. A Unix socket has no address."""
    assert TrustedCallers(settings(trust_incoming=NETWORKS)).trusts(address, ()) is trusted


def test_the_zero_network_holds_every_address_of_its_family() -> None:
    """It does not hold the other family's."""
    callers = TrustedCallers(settings(trust_incoming=["0.0.0.0/0"]))
    assert callers.trusts("8.8.8.8", ())
    assert not callers.trusts("2001:db8::1", ())


def test_a_header_is_trusted_by_its_whole_value() -> None:
    """Names are compared without case, values with it; of several values, one is enough."""
    callers = TrustedCallers(PropagationSettings(trust_incoming=(TrustedHeader("x-internal", Secret("s3cret")),)))
    assert callers.trusts(None, [(b"X-Internal", b"other"), (b"x-internal", b"s3cret")])
    for pairs in ([], [(b"x-internal", b"")], [(b"x-internal", b"S3cret")], [(b"x-internals", b"s3cret")]):
        assert not callers.trusts("127.0.0.1", pairs)
    assert not callers.trusts(None, [(b"x-internal", b"s3cret, s3cret")])
    assert not callers.trusts(None, [(b"x-forwarded-for", b"10.0.0.1"), (b"x-internal", "s3cr\u00e9t".encode())])


@pytest.mark.parametrize(
    ("target", "url", "matches"),
    [
        ("api.internal", "http://api.internal:8080/v1", True),
        ("api.internal", "https://API.internal/", True),
        ("api.internal", "https://elsewhere.example/?host=api.internal", False),
        ("api.internal", "https://api.internal.example/", False),
        ("api.internal", "https://api.internal@elsewhere.example/", False),
        ("api.internal", "https://apixinternal/", False),
        ("*.internal", "https://a.b.internal/", True),
        ("*.internal", "https://internal/", False),
        ("api.internal:8443", "https://api.internal:8443/", True),
        ("api.internal:443", "https://api.internal/", True),
        ("api.internal:443", "http://api.internal/", False),
        ("https://api.internal", "http://api.internal/", False),
        ("https://api.internal", "https://api.internal:8443/", False),
        ("https://api.internal:*", "https://api.internal:8443/", True),
        ("*://*:*", "https://anything.example/", True),
        ("[::1]:8000", "http://[::1]:8000/", True),
        ("[::1]", "http://[::2]/", False),
        ("127.0.0.*", "http://127.0.0.7/", True),
        ("bücher.example", "http://bücher.example/", True),
        ("xn--bcher-kva.example", "http://bücher.example/", True),
        ("api.internal", "http://api.internal./", True),
        ("api.internal", "http://api.internal.evil.example./", False),
        ("*.internal", "http://a.internal.evil.example/", False),
        ("10.0.0.1", "http://167772161/", False),
    ],
)
def test_a_target_matches_a_whole_host(target: str, url: str, matches: bool) -> None:
    """Neither a part of it nor another part of the URL."""
    found = settings(targets=[target]).targets
    assert found is not None
    assert TargetMatcher(found).matches_url(url) is matches


@pytest.mark.parametrize("target", ["", "a/b", "http://", "user@host", "host:port", "[::1", "host:123456"])
def test_a_target_is_a_host(target: str) -> None:
    """Neither a path nor an address with a user."""
    with pytest.raises(BadValueError):
        settings(targets=[target])


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01".encode()
NAMES = st.sampled_from([b"baggage", b"tracestate", b"sentry-trace", b"x", b"\xff"])
ESCAPES = st.sampled_from(
    [b"\\ud800", b"\\x", b"\xff", b"\xed\xa0\x80", b"%ff", b"sentry-trace_id=", b",", b"=", b";"]
)
VALUES = st.lists(st.one_of(ESCAPES, st.binary(max_size=8)), max_size=6).map(b"".join)
COMPOSITE = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator(), SentryPropagator()])


@given(headers=st.lists(st.tuples(NAMES, VALUES), max_size=6), getter=st.sampled_from([HEADERS, asgi_getter]))
def test_no_header_costs_a_request_its_trace(headers: list[tuple[bytes, bytes]], getter: Getter[Any]) -> None:
    """The caller's trace is continued, whatever the other headers are; contrib's getter may raise for one of them."""
    guard.reraise_failures(False)
    scope = {"type": "http", "headers": [(b"traceparent", TRACEPARENT), *headers]}
    context = GuardedPropagator(COMPOSITE).extract(scope, None, getter)
    carrier: dict[str, str] = {}
    GuardedPropagator(COMPOSITE).inject(carrier, context)
    if getter is HEADERS:
        assert otel_trace.get_current_span(context).get_span_context().trace_id == int(TRACE, 16)
        assert carrier["traceparent"] == TRACEPARENT.decode()


class Failing(TextMapPropagator):
    """Raises whatever it is asked."""

    @property
    def fields(self) -> set[str]:
        return {"x-failing"}

    def extract(self, *_: Any, **__: Any) -> Any:
        raise ValueError("extract")

    def inject(self, *_: Any, **__: Any) -> None:
        raise ValueError("inject")


@pytest.mark.parametrize("place", [0, 1])
def test_a_propagator_that_fails_loses_its_own_headers_alone(place: int, caplog: pytest.LogCaptureFixture) -> None:
    """Before another or after it; each direction is logged once."""
    guard.reraise_failures(False)
    guard.forget_logged_places()
    parts: list[TextMapPropagator] = [TraceContextTextMapPropagator()]
    parts.insert(place, Failing())
    propagator = GuardedPropagator(CompositePropagator(parts))
    for _ in range(2):
        context = propagator.extract({"traceparent": TRACEPARENT.decode()})
        carrier: dict[str, str] = {}
        propagator.inject(carrier, context)
        assert carrier["traceparent"] == TRACEPARENT.decode()
    assert propagator.fields == {"traceparent", "tracestate", "x-failing"}
    assert len([record for record in caplog.records if "trace headers (Failing)" in record.getMessage()]) == 2
    guard.forget_logged_places()


class Textless:
    def __str__(self) -> str:
        raise RuntimeError("no text")


BAGGAGE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "short": ({"a": "1", "b": "\u00fc "}, ["a=1", "b=%C3%BC+"]),
    "an entry of 900 KB": ({"a": "x" * 900_000, "b": "1"}, ["b=1"]),
    "an entry that is long when quoted": ({"a": "\u00fc" * 1_000, "b": "1"}, ["b=1"]),
    "a name of 900 KB": ({"x" * 900_000: "1", "b": "1"}, ["b=1"]),
    "many entries": ({f"k{i}": "v" for i in range(90_000)}, [f"k{i}=v" for i in range(180)]),
    "entries of 900 KB": ({f"k{i}": "v" * 90 for i in range(9_000)}, [f"k{i}=" + "v" * 90 for i in range(75)]),
    "a lone surrogate": ({"a": "\ud800", "b": "1"}, ["b=1"]),
    "bytes": ({"a": b"x" * 900_000, "b": 2}, ["b=2"]),
    "no text": ({"a": Textless(), "b": 10**5_000, "c": None}, ["c=None"]),
}


@pytest.mark.parametrize("case", BAGGAGE)
def test_baggage_is_written_up_to_its_bounds(case: str, telemetry: Telemetry) -> None:
    """To any carrier, such as an HTTPX request; what is left out is counted in a line, and Sentry's entries stay."""
    given, expected = BAGGAGE[case]
    context = otel_context.set_value(baggage._BAGGAGE_KEY, given, Context())
    headers = httpx.Headers()
    with brain_otel.start_transaction("work"):
        context = otel_trace.set_span_in_context(otel_trace.get_current_span(), context)
        assert milliseconds(lambda: inject(httpx.Headers(), context), 8) < 8  # unbounded: 60 and more
        inject(headers, context)
    members = headers["baggage"].split(",")
    assert [each for each in members if not each.startswith("sentry-")] == expected
    assert any(each.startswith("sentry-trace_id=") for each in members)
    assert len(headers["baggage"]) <= 8_192


def test_a_header_of_the_application_that_is_too_long_stays(telemetry: Telemetry) -> None:
    """Receivers ignore it, with what we would add."""
    headers = httpx.Headers({"baggage": "a=b," * 225_000})
    with brain_otel.start_transaction("work"):
        assert milliseconds(lambda: inject(headers), 8) < 8  # split: 40
    assert headers["baggage"] == "a=b," * 225_000
    assert "sentry-trace" in headers


def test_without_propagators_the_context_stays() -> None:
    """Upstream's empty composite returns None, which instrumentations then attach."""
    propagator = GuardedPropagator(CompositePropagator([]))
    context = otel_context.set_value("key", "value", Context())
    assert propagator.extract({}, context) is context
    assert propagator.extract({}) == Context()
