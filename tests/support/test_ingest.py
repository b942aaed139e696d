"""Tests of the Sentry server."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.hidden import hidden
from tests.support.ingest import SentryIngest
from tests.support.process import run_python
from tests.support.relay import assert_accepted

SENDER = """
import os
import sentry_sdk

client = sentry_sdk.Client(
    dsn=os.environ["DSN"], traces_sample_rate=1.0, release="shop@1.2.3", environment="test", server_name="web"
)
scope = sentry_sdk.get_global_scope()
scope.set_client(client)
scope.set_user({"id": 5, "email": "a@example.com", "plan": "gold"})
scope.set_tags({"number": 3, "truth": True, "text": "x y"})
scope.set_context("order", {"id": 7, "prices": [1.5, 2, None]})
scope.set_extra("cart", {"lines": [1, "2"]})
scope.add_event_processor(lambda event, hint: {**event, "request": {
    "url": "http://shop.test/orders?page=1",
    "method": "POST",
    "query_string": "page=1&q=%20z&flag",
    "headers": {"Host": "shop.test", "x-thing": "1", "cookie": "s=1", "content-type": "application/json"},
    "cookies": {"s": "1"},
    "data": {"lines": [1, {"count": 2}]},
    "env": {"SERVER_PORT": "80"},
}})

def fail(amount):
    details = {"amount": amount, "nested": [{"a": None}]}
    raise ValueError(f"bad {amount}")

with sentry_sdk.start_transaction(op="http.server", name="POST /orders", source="route") as transaction:
    transaction.set_data("http.route", "/orders")
    sentry_sdk.add_breadcrumb(message="paid", category="shop", level="warning", data={"k": 1})
    with sentry_sdk.start_span(op="db", name="SELECT 1") as span:
        span.set_data("rows", 3)
    try:
        try:
            fail(3)
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as error:
        sentry_sdk.capture_exception(error)
sentry_sdk.capture_message("hello")
client.close()
"""


def envelope_body(payload: bytes = b'{"a": 1}', **header: Any) -> bytes:
    return b"\n".join([b'{"event_id": "x"}', json.dumps({"type": "event", **header}).encode(), payload])


def post(ingest: SentryIngest, content: Any, **headers: str) -> httpx.Response:
    url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(url, content=content, headers=names, trust_env=False)


def test_events_of_the_sdk_arrive_and_are_accepted(ingest: SentryIngest, tmp_path: Path) -> None:
    """Events and transactions pass HTTP and gzip unchanged and in order."""
    done = run_python(SENDER, {"DSN": ingest.dsn}, pythonpath=[hidden(tmp_path)])
    assert done.returncode == 0, done.stderr
    ingest.wait_for(lambda it: len(it.events) == 2 and len(it.transactions) == 1)
    error, message = ingest.events
    assert [value["value"] for value in error["exception"]["values"]] == ["bad 3", "outer"]
    assert message["message"] == "hello"
    for event in (*ingest.events, *ingest.transactions):
        assert_accepted(event)
    assert ingest.envelopes[0].request_headers["content-encoding"] == "gzip"
    assert ingest.rejected == []


def test_all_encodings_and_framings_are_read(ingest: SentryIngest) -> None:
    """Payloads with newlines, NUL bytes or no length arrive unchanged in every transfer encoding."""
    binary = b"\x00\n\xff\n\n{"
    post(ingest, envelope_body(binary, length=len(binary)) + b"\n")
    post(ingest, gzip.compress(envelope_body()), Content_Encoding="gzip")
    post(ingest, zlib.compress(envelope_body()), Content_Encoding="deflate")
    post(ingest, iter([envelope_body()[:20], envelope_body()[20:]]))
    assert [item.payload for item in ingest.items("event")] == [binary, *[b'{"a": 1}'] * 3]
    assert ingest.envelopes[3].request_headers["transfer-encoding"] == "chunked"


def test_a_test_chooses_the_answer(ingest: SentryIngest) -> None:
    """The server keeps the envelope whatever the answer is."""
    ingest.respond = lambda: (429, {"Retry-After": "60"})
    ingest.delay = 0.1
    answer = post(ingest, envelope_body())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert answer.elapsed.total_seconds() >= 0.1
    assert len(ingest.events) == 1


def test_a_broken_envelope_is_rejected(ingest: SentryIngest) -> None:
    """A payload shorter than its header says gets the answer 400 and is named."""
    assert post(ingest, envelope_body(length=100)).status_code == 400
    assert ingest.envelopes == []
    assert "item says 100 bytes" in ingest.rejected[0]


def test_a_wait_that_fails_names_what_arrived(ingest: SentryIngest) -> None:
    """The error lists item types and exceptions."""
    event = {"exception": {"values": [{"type": "KeyError", "value": "gone"}]}}
    post(ingest, envelope_body(json.dumps(event).encode()))
    ingest.settle(quiet=0.05)
    with pytest.raises(AssertionError, match=r"no transaction within 0.05 s.*'event': 1.*KeyError: gone"):
        ingest.wait_for(lambda it: bool(it.transactions), timeout=0.05, message="no transaction")
