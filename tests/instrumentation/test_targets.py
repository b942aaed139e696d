"""Tests of the hosts that get trace headers, by URL and by the attributes of a client's span."""

from typing import Any

import pytest

from brain_otel.configuration.sections.propagation import Target
from brain_otel.instrumentation.targets import TargetMatcher

TARGETS = (
    Target("*", "*.internal", "*"),
    Target("https", "api.example", "8443"),
    Target("http", "plain.example", "80"),
    Target("*", "::1", "*"),
    Target("*", "bücher.example", "*"),
)

CALLS: list[tuple[dict[str, Any], bool]] = [
    ({"url.full": "http://pay.internal/x"}, True),
    ({"url.full": "http://PAY.Internal.:8080/x"}, True),
    ({"url.full": "http://internal/x"}, False),
    ({"url.full": "http://pay.internal.evil.example/"}, False),
    ({"url.full": "http://pay.internal@evil.example/"}, False),
    ({"url.full": "http://evil.example/pay.internal"}, False),
    ({"url.full": "http://evil.example#.internal"}, False),
    ({"url.full": "https://api.example:8443/"}, True),
    ({"url.full": "https://api.example/"}, False),
    ({"url.full": "http://api.example:8443/"}, False),
    ({"url.full": "http://plain.example/"}, True),
    ({"url.full": "http://[::1]:50051/"}, True),
    ({"url.full": "http://xn--bcher-kva.example/"}, True),
    ({"url.full": "http://bücher.example/"}, True),
    ({"url.full": "http:///x"}, False),
    ({"url.full": "/x"}, False),
    ({"http.url": "http://pay.internal/x", "net.peer.name": "evil.example"}, True),
    ({"url.full": "http://evil.example/x", "server.address": "pay.internal"}, False),
    ({"server.address": "pay.internal", "server.port": 50051}, True),
    ({"server.address": "api.example", "server.port": 8443}, False),
    ({"server.address": "api.example", "server.port": 8443, "url.scheme": "https"}, True),
    ({"net.peer.name": "pay.internal", "net.peer.port": 80}, True),
    ({"url.full": "http://[broken/"}, False),
    ({"url.full": "http://pay.internal:port/"}, False),
    ({"server.port": 80}, False),
    ({}, False),
]


@pytest.mark.parametrize(("call", "matches"), CALLS, ids=str)
def test_a_call_matches_by_its_whole_host(call: dict[str, Any], matches: bool) -> None:
    assert TargetMatcher(TARGETS).matches_call(call) is matches
