"""`trace_headers` and `continue_trace`: a trace through a queue or a template."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace

import brain_otel
from brain_otel.traces.headers import MAX_LENGTH
from tests.support.process import run_python
from tests.support.relay import assert_accepted

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.testing import Telemetry

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
SENTRY_TRACE = f"{TRACE}-{SPAN}-1"


def test_the_headers_are_those_of_both_families(telemetry: Telemetry) -> None:
    """Of the current span; `tracestate` if there is one, `baggage` with the application's entries."""
    assert brain_otel.trace_headers() == {}
    with brain_otel.start_transaction("work"), brain_otel.start_span("step"):
        token = otel_context.attach(otel_baggage.set_baggage("tenant", "acme"))
        headers = brain_otel.trace_headers()
        otel_context.detach(token)
    step = next(each for each in telemetry.spans if each["name"] == "step")
    ids = step["trace_id"], step["span_id"]
    assert headers["sentry-trace"] == "{}-{}-1".format(*ids)
    assert headers["traceparent"].split("-")[1:3] == [*ids]
    assert "tenant=acme" in headers["baggage"].split(",")
    assert f"sentry-trace_id={ids[0]}" in headers["baggage"].split(",")
    assert headers.keys() <= {"traceparent", "tracestate", "sentry-trace", "baggage"}


def send() -> dict[str, str]:
    with brain_otel.start_transaction("send", op="queue.publish"):
        return brain_otel.trace_headers()


FORMS: dict[str, Callable[[dict[str, str]], Any]] = {
    "as they are": lambda headers: headers,
    "of W3C": lambda headers: {"traceparent": headers["traceparent"]},
    "of Sentry": lambda headers: {name: headers[name] for name in ("sentry-trace", "baggage")},
    "in capitals": lambda headers: {name.title(): each for name, each in headers.items()},
    "bytes": lambda headers: {name.encode(): each.encode() for name, each in headers.items()},
    "pairs": lambda headers: [("x", "y"), *headers.items()],
    "lists": lambda headers: {name: [each] for name, each in headers.items()},
    "among others": lambda headers: {"id": 7, "body": object(), None: None, **headers},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_transaction_continues_the_senders_trace(telemetry: Telemetry, form: str) -> None:
    """Headers in every form; its spans and errors are in that trace too."""
    headers = FORMS[form](send())
    receive, step = brain_otel.start_transaction("receive", op="queue.process"), brain_otel.start_span("step")
    with brain_otel.continue_trace(headers), receive, step:
        brain_otel.capture_message("hello")
    sent, received = telemetry.transactions
    trace = received["contexts"]["trace"]
    caller = sent["contexts"]["trace"]
    assert (trace["trace_id"], trace["parent_span_id"]) == (caller["trace_id"], caller["span_id"])
    assert telemetry.events[0]["contexts"]["trace"]["trace_id"] == trace["trace_id"]
    assert_accepted(received)


def test_a_trace_inside_another_is_not_its_child(telemetry: Telemetry) -> None:
    """Nothing of the work around is in the block; all of it is there again afterwards."""
    headers = send()
    with brain_otel.start_transaction("around"):
        brain_otel.set_user_context(user_id="around")
        token = otel_context.attach(otel_baggage.set_baggage("tenant", "acme", otel_context.set_value("mine", 1)))
        before = brain_otel.trace_headers()
        with brain_otel.continue_trace(headers):
            assert otel_context.get_value("mine") == 1
            assert otel_baggage.get_baggage("tenant") is None
            with brain_otel.start_transaction("inside"):
                pass
        assert brain_otel.trace_headers() == before
        otel_context.detach(token)
        with brain_otel.start_span("after"):
            pass
    sent, inside, around = telemetry.transactions
    assert inside["contexts"]["trace"]["parent_span_id"] == sent["contexts"]["trace"]["span_id"]
    assert around["contexts"]["trace"]["trace_id"] != inside["contexts"]["trace"]["trace_id"]
    assert [span["description"] for span in around["spans"]] == ["after"]
    spans = {each["name"]: each["attributes"] for each in telemetry.spans}
    assert (spans["around"]["user.id"], spans["inside"].get("user.id")) == ("around", None)


MALFORMED: list[Any] = [
    None,
    {},
    7,
    "traceparent",
    [1, 2],
    [("traceparent",)],
    {"traceparent": "00-zz-zz-01"},
    {"traceparent": None, "sentry-trace": object()},
    {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
    {"sentry-trace": "-".join("x" * 40)},
    {"traceparent": TRACEPARENT + "-" + "x" * MAX_LENGTH},
    {"baggage": "sentry-trace_id=" + TRACE},
    {b"\xff": b"\xff"},
]


@pytest.mark.parametrize("headers", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_headers_start_a_new_trace(telemetry: Telemetry, headers: Any) -> None:
    """Also inside of other work."""
    work = brain_otel.start_transaction("inside")
    with brain_otel.start_transaction("around"), brain_otel.continue_trace(headers), work:
        pass
    inside, around = telemetry.transactions
    assert "parent_span_id" not in inside["contexts"]["trace"]
    assert inside["contexts"]["trace"]["trace_id"] not in (TRACE, around["contexts"]["trace"]["trace_id"])


def test_a_decision_is_kept() -> None:
    """The sender's, as that of a request's caller; in a process of its own, whose rate is 0."""
    program = (
        "import brain_otel; brain_otel.setup(); from brain_otel import *\n"
        "from brain_otel.destinations.memory import MEMORY\n"
        f"for flag in '10':\n"
        f"    with continue_trace({{'sentry-trace': '{TRACE}-{SPAN}-' + flag}}), start_transaction('receive'): pass\n"
        "with start_transaction('own'): pass\n"
        "print([span.name for span in MEMORY.spans])"
    )
    result = run_python(
        program, {"ENVIRONMENT": "test", "SENTRY_TRACES_SAMPLE_RATE": "0", "SENTRY_DSN": "http://k@127.0.0.1:9/1"}
    )
    assert result.stdout == "['receive']\n", result.stderr


def test_both_work_without_a_set_up() -> None:
    """Before `setup()` with W3C's headers, which the API reads; after `shutdown()` nothing fails."""
    program = (
        "import brain_otel; from brain_otel import *\n"
        f"headers = {{'traceparent': '{TRACEPARENT}'}}\n"
        "def work():\n"
        "    print(trace_headers())\n"
        "    with continue_trace(headers), start_transaction('work'): print(trace_headers() == headers)\n"
        "    print(capture_feedback('good') is not None, measurement('rows', 1))\n"
        "work(); brain_otel.setup(environment='test'); brain_otel.shutdown(); work()"
    )
    result = run_python(program)
    assert result.stdout.splitlines()[:3] == ["{}", "True", "True None"], result.stderr
    assert result.stdout.splitlines()[3] == "{}"
    assert result.stderr == ""


def test_the_headers_of_ended_work_are_those_of_its_root(telemetry: Telemetry) -> None:
    """A background task's, after the response."""
    headers: list[dict[str, str]] = []
    with brain_otel.start_transaction("work") as transaction:
        transaction.end()
        with otel_trace.use_span(otel_trace.INVALID_SPAN):
            headers.append(brain_otel.trace_headers())
    (event,) = telemetry.transactions
    assert headers[0]["traceparent"].split("-")[2] == event["contexts"]["trace"]["span_id"]


def test_a_block_may_be_left_elsewhere(telemetry: Telemetry) -> None:
    """In async code, in a thread, by another task than it was entered by, twice by one object; errors pass."""
    headers = send()
    kept = brain_otel.continue_trace(headers)

    async def work() -> None:
        async with kept, kept, brain_otel.start_transaction("async"):
            await asyncio.sleep(0)

    async def elsewhere() -> None:
        other = brain_otel.continue_trace(headers)
        await asyncio.create_task(asyncio.to_thread(other.__enter__))
        other.__exit__(None, None, None)

    asyncio.run(work())
    asyncio.run(elsewhere())
    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join()
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, kept:
        raise error
    assert caught.value is error
    assert otel_trace.get_current_span() is otel_trace.INVALID_SPAN
    assert brain_otel.trace_headers() == {}
    sent, *received = telemetry.transactions
    assert {each["contexts"]["trace"]["parent_span_id"] for each in received} == {
        sent["contexts"]["trace"]["span_id"]
    }
    assert len(received) == 2
