"""Hostile input raises nothing and leaks nothing: 100,000 header sets, bodies and attribute values."""

import gc
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace

from brain_otel.events.attributes import attribute_value
from brain_otel.privacy import Policy, configure_privacy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.runtime import guard
from brain_otel.runtime.text import MAX_TEXT
from brain_otel.sentry.before_send import masked_event
from brain_otel.sentry.propagator import SentryPropagator
from brain_otel.sentry.request import request_interface
from brain_otel.traces.local_trace import Request
from tests.support.tiers import quick_first, thorough

SEED = 20261124
HEADERS, BODIES, VALUES = 40_000, 25_000, 35_000
QUICK = 20
"""The quick tests divide these numbers by this one."""

SECRET = "hunter2hunter2"
WORDS = ["a", "password", "authorization", "cookie", "x-api-key", "user", "name", "traceparent", "sentry-trace", ""]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SNIPPETS = [
    f"00-{TRACE}-00f067aa0ba902b7-01",
    f"{TRACE}-00f067aa0ba902b7-1",
    f"{TRACE}-00f067aa0ba902b7",
    "00-" + "0" * 32 + "-" + "0" * 16 + "-00",
    f"sentry-trace_id={TRACE},sentry-sample_rand=0.5,a=b",
    "sentry-sample_rand=nan,sentry-sample_rate=-1,sentry-public_key=%",
    "Bearer abc.def.ghi",
    "password=" + SECRET,
    "postgresql://u:p@h/db?sslkey=1",
    "4111 1111 1111 1111",
    "\x00\x1b[31m\ud800\udfff",
    "%ff%00%",
    "=;,&?#[]{}",
    "\N{ZERO WIDTH SPACE}\u202e",
    "input_value='" + SECRET + "', input_type=str",
    "SELECT '" + SECRET + "' -- x",
]


class Broken:
    """Raises from every method."""

    def __str__(self) -> str:
        raise RuntimeError("str")

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        return 7

    def __len__(self) -> int:
        raise RuntimeError("len")


class BrokenDict(dict[Any, Any]):
    """A mapping that fails during iteration."""

    def items(self) -> Any:
        raise RuntimeError("items")


class Fuzz:
    """Generates texts and values of every kind, the same for a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self) -> str:
        pick = self.random.random()
        if pick < 0.5:
            return "".join(self.random.choices(SNIPPETS, k=self.random.randrange(1, 4)))
        if pick < 0.9:
            return "".join(chr(self.random.randrange(0x250)) for _ in range(self.random.randrange(40)))
        if pick < 0.999:
            return self.random.choice(SNIPPETS) * self.random.randrange(50)
        return self.random.choice(SNIPPETS) * 100_000

    def header(self) -> str:
        return self.text().encode("utf-8", "replace").decode("latin-1")

    def name(self) -> Any:
        pick = self.random.random()
        return self.random.choice(WORDS) if pick < 0.6 else self.text() if pick < 0.95 else self.value(6)

    def value(self, depth: int = 0) -> Any:
        pick = self.random.randrange(16 if depth < 5 else 11)
        if pick < 5:
            return self.text()
        if pick < 11:
            return self.random.choice(
                [
                    None,
                    True,
                    -1,
                    2**200,
                    float("nan"),
                    float("-inf"),
                    b"\xff\x00",
                    Broken(),
                    object(),
                    type,
                    4111111111111111,
                ]
            )
        size = self.random.randrange(5) if self.random.random() < 0.999 else 3_000
        if pick < 13:
            return [self.value(depth + 1) for _ in range(min(size, 5 if depth else size))]
        if pick < 15:
            made: dict[Any, Any] = {}
            for _ in range(size):
                name = self.name()
                made[name if isinstance(name, (str, bytes, int, float)) or name is None else "n"] = self.value(
                    depth + 1
                )
            if self.random.random() < 0.1:
                made["self"] = made  # a cycle
            return made
        return self.random.choice([BrokenDict(a=1), {1, 2}, frozenset("ab"), (1, "password"), bytearray(b"x")])


@pytest.fixture(autouse=True)
def _failures_are_raised() -> Iterator[None]:
    guard.reraise_failures(True)
    configure_privacy(Policy(send_default_pii=True))
    yield
    configure_privacy(None)
    guard.reraise_failures(False)


@pytest.mark.parametrize("count", quick_first([HEADERS // QUICK, HEADERS]))
def test_header_sets(count: int) -> None:
    """The propagator reads them and the request shows them; the resulting context is usable."""
    fuzz, propagator = Fuzz(SEED), SentryPropagator()
    for _ in range(count):
        headers = {
            str(
                fuzz.random.choice(["traceparent", "tracestate", "sentry-trace", "baggage", "cookie", "x"])
            ): fuzz.header()
            for _ in range(fuzz.random.randrange(5))
        }
        context = propagator.extract(headers, otel_context.Context())
        span = otel_trace.get_current_span(context).get_span_context()
        assert not span.is_valid or span.trace_id
        carrier: dict[str, str] = {}
        propagator.inject(carrier, context)
        assert all(len(value) <= 8192 for value in carrier.values())
        shown = Policy().headers(headers)
        assert shown.keys() == headers.keys()
        assert all(len(value) <= MAX_TEXT + 200 for value in shown.values())


KINDS = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
    "\xff/;=",
    "",
]


def create_body(fuzz: Fuzz, kind: str) -> bytes:
    if "json" in kind and fuzz.random.random() < 0.6:
        return json.dumps(fuzz.value(), default=lambda _: SECRET * 0, skipkeys=True, check_circular=False).encode()
    if "multipart" in kind and fuzz.random.random() < 0.8:
        part = f'--b\r\ncontent-disposition: form-data; name="{fuzz.header()[:50]}"\r\n\r\n{fuzz.header()[:500]}\r\n'
        return (part * fuzz.random.randrange(4) + "--b--").encode("utf-8", "replace")
    return fuzz.text().encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("count", quick_first([BODIES // QUICK, BODIES]))
def test_bodies(count: int) -> None:
    """Bodies of every content type, well-formed or not."""
    fuzz = Fuzz(SEED + 1)
    for _ in range(count):
        kind = fuzz.random.choice(KINDS)
        try:
            body = create_body(fuzz, kind)
        except (RuntimeError, TypeError, ValueError):  # not JSON: a cycle, a broken mapping
            continue
        request = Request(
            method="POST",
            url="http://h/" + fuzz.text()[:200],
            query_string=fuzz.header()[:500],
            headers={"content-type": kind, "cookie": fuzz.header()[:500]},
            client_address="10.0.0.1",
            body=body[:10_000] or None,
        )
        shown = masked_event({"request": request_interface(request)}, {})
        json.dumps(shown, default=repr, skipkeys=True)


@pytest.mark.parametrize("count", quick_first([VALUES // QUICK, VALUES]))
def test_attribute_values(count: int) -> None:
    """Huge, nested, cyclic and broken values, as an attribute and as a value of an event."""
    fuzz, policy = Fuzz(SEED + 2), Policy()
    for number in range(count):
        value = fuzz.value()
        made = attribute_value(value)
        assert isinstance(made, (str, bool, int, float, list))
        name = fuzz.name()
        masked = masked_attributes(policy, {name if isinstance(name, str) else "n": made})
        assert len(masked) == 1
        if number % 10 == 0:
            masked_event({"extra": {"value": value}, "message": fuzz.text()}, {})


@thorough
def test_hostile_values_leave_no_memory_behind() -> None:
    """The same hostile values a thousand times."""

    def once() -> None:
        fuzz = Fuzz(SEED + 3)
        for _ in range(1_000):
            attribute_value(fuzz.value())
            Policy.headers(policy, {"x": fuzz.header(), "cookie": fuzz.header()})

    policy = Policy()
    once()
    tracemalloc.start()
    try:
        once()
        gc.collect()
        first = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            once()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - first < 200_000
    finally:
        tracemalloc.stop()
