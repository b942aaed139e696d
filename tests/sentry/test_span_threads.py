"""Each span names the thread in which it started."""

import contextvars
import threading

import pytest
from opentelemetry.context import Context

import brain_otel
from brain_otel.privacy import Policy, configure_privacy
from brain_otel.sentry.span_threads import Thread, remember_thread, thread_of, threads_of, with_thread
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Bridge


def run(name: str) -> int:
    """Run a span named like its thread in another thread, in this context; the thread's id."""
    started: list[int] = []

    def work() -> None:
        started.append(threading.get_ident())
        with brain_otel.start_span(op="step", name=name):
            pass

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name=name)
    thread.start()
    thread.join()
    return started[0]


@pytest.fixture
def tracer(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> Bridge:
    """Let the helpers use the bridge's tracer."""
    monkeypatch.setattr("opentelemetry.trace.get_tracer", lambda *_, **__: bridge.tracer)
    return bridge


def test_spans_and_the_root_name_their_threads(tracer: Bridge) -> None:
    """On the fast path and, with fast paths off, through sentry-sdk's pipeline; each with Sentry's types."""
    here = {"thread.id": str(threading.get_ident()), "thread.name": threading.current_thread().name}
    with brain_otel.start_transaction("job"):
        with brain_otel.start_span(op="step", name="here"):
            pass
        workers = {name: run(name) for name in ("worker-0", "worker-1")}
    transaction = tracer.transaction()
    root = transaction["contexts"]["trace"]["data"]
    assert {name: root[name] for name in here} == here
    found = {span["description"]: span["data"] for span in transaction["spans"]}
    assert {name: found["here"][name] for name in here} == here
    for name, number in workers.items():
        assert (found[name]["thread.id"], found[name]["thread.name"]) == (str(number), name)


def test_a_span_that_names_its_thread_itself_keeps_that(tracer: Bridge) -> None:
    """The conventions of OpenTelemetry have the same names; there is no second value."""
    with brain_otel.start_transaction("job"):
        tracer.tracer.start_span("step", attributes={"thread.name": "mine"}).end()
    (span,) = tracer.transaction()["spans"]
    assert span["data"]["thread.name"] == "mine"
    assert "thread.id" not in span["data"]


def test_a_trace_that_nobody_opened_names_the_thread_too(tracer: Bridge) -> None:
    """A root of the application's own tracer."""
    with tracer.tracer.start_as_current_span("job", context=Context()):
        pass
    assert tracer.transaction()["contexts"]["trace"]["data"]["thread.id"] == str(threading.get_ident())


def test_a_span_without_attributes_names_its_thread(tracer: Bridge) -> None:
    """Its data has nothing else; cached fields do not carry another span's thread."""
    with brain_otel.start_transaction("job"):
        for _ in range(3):
            tracer.tracer.start_span("step").end()
    spans = tracer.transaction()["spans"]
    assert [span["data"]["thread.id"] for span in spans] == [str(threading.get_ident())] * 3


def test_the_name_of_a_thread_is_masked() -> None:
    """An application names its threads; its own mask is asked each time."""
    thread = Thread(1, "worker password=hunter2-4Zq")
    assert thread.to_data() == {"thread.id": "1", "thread.name": "worker password=[Filtered]"}
    assert "hunter2" not in thread.to_json()
    answers = iter(["one", "two", "three", "four"])
    configure_privacy(Policy(mask=lambda _, __: next(answers)))
    assert [thread.to_data()["thread.name"] for _ in range(2)] == ["one", "two"]
    assert ["three" in thread.to_json(), "four" in Thread(1, thread.name).to_json()] == [True, True]
    configure_privacy(None)


def test_only_other_threads_are_remembered() -> None:
    """The root's thread stands for all spans of an async service."""
    trace = LocalTrace(kind="transaction")
    for span_id in range(100):
        remember_thread(trace, span_id)
    threads = threads_of(trace)
    assert threads is not None
    assert threads.others == {}
    other = threading.Thread(target=remember_thread, args=(trace, 7), name="other")
    other.start()
    other.join()
    found = {span_id: thread.name for span_id in (6, 7) if (thread := thread_of(trace, span_id)) is not None}
    assert found == {6: threading.current_thread().name, 7: "other"}
    assert with_thread({"a": 1}, None) == {"a": 1}
