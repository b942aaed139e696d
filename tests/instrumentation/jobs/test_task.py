"""A task's local trace and its message, without any library."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import baggage as otel_baggage
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace

import brain_otel
from brain_otel.instrumentation.jobs.task import (
    SENT_AT,
    Publication,
    Task,
    TaskRun,
    arguments_by_name,
    lost_task,
    report_failure,
    write_headers,
)
from brain_otel.instrumentation.jobs.taskiq import _kiq
from brain_otel.runtime.guard import reraise_failures
from brain_otel.runtime.patch import Patch
from brain_otel.testing import Telemetry
from brain_otel.traces import local_trace
from tests.support.yardstick import milliseconds

TASK = Task("celery", "tasks.add", task_id="1", retries=2, system="redis", destination="celery")


def sent() -> dict[str, Any]:
    """Headers of a message that a transaction has sent."""
    headers: dict[str, Any] = {"id": "1", "retries": 2, "eta": None}
    with brain_otel.start_transaction("GET /", op="http.server"), Publication(lambda: TASK):
        write_headers(headers)
    return headers


def test_a_message_has_both_families_of_headers(telemetry: Telemetry) -> None:
    """And the time at which it was sent."""
    headers = sent()
    assert {"traceparent", "sentry-trace", "baggage", SENT_AT} < headers.keys()
    assert time.time() - headers[SENT_AT] < 60


def test_a_task_is_a_local_root_whatever_is_current(telemetry: Telemetry) -> None:
    """A worker may run it where another trace is current; what was current before is so again."""
    headers = sent()
    (message,) = (span for span in telemetry.spans if span["name"] == "tasks.add")
    with brain_otel.start_transaction("worker"):
        around = otel_trace.get_current_span(), local_trace.current()
        run = TaskRun(TASK, headers)
        with brain_otel.start_span("work"):
            pass
        run.end()
        assert (otel_trace.get_current_span(), local_trace.current()) == around
    spans = {span["name"]: span for span in telemetry.spans}  # the task's, which ends later than its message
    assert spans["tasks.add"]["parent_span_id"] == message["span_id"]
    assert spans["work"]["parent_span_id"] == spans["tasks.add"]["span_id"]
    assert {span["trace_id"] for span in (message, spans["tasks.add"], spans["work"])} == {message["trace_id"]}
    assert spans["worker"]["trace_id"] != message["trace_id"]


@pytest.mark.parametrize(
    ("moment", "latency"),
    [
        (lambda: time.time() - 1, (1_000, 60_000)),
        (lambda: time.time() + 60, (0, 0)),
        (lambda: str(time.time() - 1), (1_000, 60_000)),
        (lambda: 0, None),
        (lambda: "soon", None),
        (lambda: float("nan"), None),
        (lambda: None, None),
        (lambda: 10**400, None),
    ],
)
def test_latency_is_the_time_since_the_message(
    telemetry: Telemetry, moment: Callable[[], Any], latency: tuple[float, float] | None
) -> None:
    """In milliseconds; another machine's clock may be ahead, and anything may stand in a header."""
    TaskRun(TASK, {SENT_AT: moment()}).end()
    found: Any = telemetry.spans[0]["attributes"].get("brain_otel.messaging.receive_latency")
    assert found is None if latency is None else latency[0] <= found <= latency[1]


def test_hostile_headers_start_a_trace(telemetry: Telemetry) -> None:
    """Of any type; none of them is an error of the task."""
    TaskRun(TASK, {"traceparent": b"\xff", "sentry-trace": 5, "baggage": "\n", "tracestate": ["x"]}).end()
    assert telemetry.spans[0]["parent_span_id"] is None


class Ambiguous:
    """As an array, it is neither true nor false; it has no text."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Array(Ambiguous):
    """Has a text, which taskiq needs."""

    def __str__(self) -> str:
        return "[1 2]"


HOSTILE: dict[str, Any] = {
    "object": Ambiguous(),
    "superscript": "\u00b2",
    "digits": "9" * 5_000,
    "surrogate": "\ud800",
    "long": "x" * 1_000_000,
    "bytes": b"\xff",
    "huge": 10**400,
    "list": [1],
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_anything_may_stand_in_a_message(telemetry: Telemetry, value: Any) -> None:
    """As name, id, number of retries or header: the task has its span, and each text a bound."""
    task = Task("celery", value, task_id=value, retries=value)
    with Publication(lambda: task) as publication:
        publication.describe(task)
    TaskRun(task, {"baggage": value, "traceparent": value, SENT_AT: value}).end()
    sent, run = telemetry.spans
    assert task.retries == 0
    assert all(len(str(each)) < 40_000 for each in (sent["name"], run["name"], *run["attributes"].values()))


def test_a_message_that_cannot_be_described_is_sent(telemetry: Telemetry) -> None:
    """Without a span, and without an exception of ours."""
    reraise_failures(False)
    with Publication(lambda: Task("arq", "add", destination="x" if Ambiguous() else "y")) as publication:
        assert publication.task is None
        headers: dict[str, Any] = {}
        write_headers(headers)
    assert SENT_AT in headers
    assert telemetry.spans == []


def test_a_long_header_costs_nothing(telemetry: Telemetry) -> None:
    """Propagators split ``baggage`` before they look how long it is."""
    headers = {"baggage": "a=b," * 2_500_000}
    assert milliseconds(lambda: TaskRun(TASK, headers).end(), 20) < 20  # split: 60
    assert telemetry.spans


def test_long_baggage_costs_a_message_nothing(telemetry: Telemetry) -> None:
    """And is not in it."""
    context = otel_baggage.set_baggage("a", "x" * 900_000, otel_baggage.set_baggage("b", "1"))
    token = otel_context.attach(context)
    try:
        headers = sent()
        assert milliseconds(sent, 12) < 12  # quoted: 71 to 84
    finally:
        otel_context.detach(token)
    assert headers["baggage"].startswith("b=1,sentry-")
    assert len(headers["baggage"]) < 2_000


@pytest.mark.parametrize("name", ["baggage", "traceparent", "sentry-trace", "tracestate", SENT_AT])
@pytest.mark.parametrize("value", [Ambiguous(), b"\xff", [1], "x" * 900_000], ids=["object", "bytes", "list", "long"])
def test_a_value_that_is_not_telemetrys_stays(telemetry: Telemetry, name: str, value: Any) -> None:
    """A library that cannot send it raises as it does without telemetry; the other headers are written."""
    headers: dict[str, Any] = {name: value}
    with brain_otel.start_transaction("GET /"):
        write_headers(headers)
    assert headers[name] is value
    assert {"traceparent", "sentry-trace", "baggage", SENT_AT} <= headers.keys()


@pytest.mark.parametrize("name", ["baggage", "traceparent", SENT_AT, "other"])
def test_taskiq_raises_for_a_label_that_has_no_text(telemetry: Telemetry, name: str) -> None:
    """As it does without telemetry."""
    from taskiq import InMemoryBroker
    from taskiq.kicker import AsyncKicker

    async def send() -> None:
        broker = InMemoryBroker(await_inplace=True)
        broker.register_task(lambda: 1, task_name="add")
        kicker: Any = AsyncKicker(task_name="add", broker=broker, labels={name: Ambiguous()})
        await _kiq(Patch(AsyncKicker, "kiq"))(kicker)

    with pytest.raises(RuntimeError, match="no text"):
        asyncio.run(send())


@pytest.mark.parametrize("labels", [{"queue_name": Array()}, {"_retries": "\u00b2"}, {"_retries": "9" * 5_000}])
def test_taskiq_sends_whatever_the_labels_hold(telemetry: Telemetry, labels: dict[str, Any]) -> None:
    """As it does without telemetry."""
    from taskiq import InMemoryBroker
    from taskiq.kicker import AsyncKicker

    async def sent() -> Any:
        broker = InMemoryBroker(await_inplace=True)
        broker.register_task(lambda: 1, task_name="add")
        kicker: Any = AsyncKicker(task_name="add", broker=broker, labels={})
        kicker.labels = labels
        return await (await _kiq(Patch(AsyncKicker, "kiq"))(kicker)).wait_result()

    assert asyncio.run(sent()).return_value == 1


def test_a_failure_is_one_event(telemetry: Telemetry) -> None:
    """However often it is seen; the exception is the application's own object."""
    error = ValueError("no")
    run = TaskRun(TASK, {})
    run.fail(error, lambda: {"password": "hunter2", "to": "bob"})
    run.fail(error, dict)
    assert brain_otel.capture_exception(error) == telemetry.events[0]["event_id"]
    run.end()
    run.end()
    assert len(telemetry.events) == 1
    assert len(telemetry.spans) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(SystemExit(0), "ok"), (SystemExit("no"), "internal_error"), (asyncio.CancelledError(), "cancelled")],
    ids=repr,
)
def test_what_leaves_a_task_is_its_status(telemetry: Telemetry, error: BaseException, status: str) -> None:
    TaskRun(TASK, {}).end(error)
    (transaction,) = telemetry.transactions
    assert transaction["contexts"]["trace"]["status"] == status
    assert telemetry.events == []


def test_a_lost_task_is_an_event_in_its_trace(telemetry: Telemetry) -> None:
    """Without a span: the process that ran it may have sent one."""
    headers = sent()
    before = len(telemetry.spans)
    with lost_task(TASK, headers):
        report_failure(TASK, RuntimeError("killed"), dict)
    assert len(telemetry.spans) == before
    (event,) = telemetry.events
    assert event["transaction"] == "tasks.add"
    assert event["contexts"]["trace"]["trace_id"] == telemetry.spans[0]["trace_id"]
    assert event["tags"] == {"celery_task_id": "1"}


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        ((1, 2), {}, {"user": 1, "password": 2}),
        ((1,), {"password": 2}, {"user": 1, "password": 2}),
        ((1, 2, 3), {}, {"0": 1, "1": 2, "2": 3}),
        ((), {"unknown": 1}, {"unknown": 1}),
        (None, None, {}),
    ],
)
def test_arguments_have_the_names_of_parameters(args: Any, kwargs: Any, found: dict[str, Any]) -> None:
    """Or their places, if they do not fit."""

    def task(user: int, password: int) -> None: ...

    assert arguments_by_name(task, args, kwargs) == found


def test_a_message_that_cannot_be_sent_is_an_error_of_its_span(telemetry: Telemetry) -> None:
    """The exception passes, and nothing of the message stays current."""
    error = ConnectionError("away")
    with brain_otel.start_transaction("GET /"):
        around = otel_trace.get_current_span()
        with pytest.raises(ConnectionError) as raised, Publication(lambda: TASK):
            raise error
        assert otel_trace.get_current_span() is around
    assert raised.value is error
    assert telemetry.spans[0]["status"] == "error"
