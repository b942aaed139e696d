"""Errors are linked to their request, and each failure is one event.

`tests/apps/linking.py` has a route for every place in which an app can fail. The tests serve it three times: with
every trace sampled, with none, and bare. They request each route once; each test checks one route.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, run_python, uvicorn_command
from tests.support.relay import assert_accepted
from tests.support.tiers import quick_first
from tests.support.waiting import until

RATES = (1, 0)

Answer = tuple[object, ...]
"""The client's view: the status, the received part of the body, how it ended."""


# -- clients -------------------------------------------------------------------------------------------------


def get(server: Server, path: str) -> Answer:
    body = b""
    with httpx.stream("GET", server.url + path, timeout=10, trust_env=False, verify=False) as reply:  # 18 ms less CPU
        try:
            for chunk in reply.iter_bytes():
                body += chunk
        except httpx.RemoteProtocolError:
            return (reply.status_code, body, "broken off")
        return (reply.status_code, body, "complete")


def listen(server: Server, path: str) -> Answer:
    with connect(f"ws://127.0.0.1:{server.port}{path}") as client:
        first = client.recv()
        try:
            client.recv()
        except ConnectionClosed as closed:
            return (first, closed.rcvd.code if closed.rcvd is not None else None)
        return (first, "still open")


def leave_socket(server: Server, path: str) -> Answer:
    with connect(f"ws://127.0.0.1:{server.port}{path}") as client:
        first = client.recv()
    return (first, wait_until(server, lambda told: path in told["ended"]))


def leave_stream(server: Server, path: str) -> Answer:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        received = b""
        while b"more" not in received:
            received += client.recv(1024)
    return (received.split()[1], wait_until(server, lambda told: path in told["ended"]))


def leave_upload(server: Server, path: str) -> Answer:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nbegun".encode())
        wait_until(server, lambda told: f"{path}/begun" in told["seen"])
    return (wait_until(server, lambda told: path in told["ended"]),)


def wait_until(server: Server, holds: Callable[[Any], bool]) -> str:
    until(lambda: holds(server.get("/seen").json()))
    return "seen"


# -- cases ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """A route and the expected result of a request."""

    route: str
    events: tuple[str, ...]
    """The expected events: an exception's type and text, or a message."""
    status: str | None = "ok"
    """The transaction's status; None if the server's span cannot know it because the client has disconnected."""
    call: Callable[[Server, str], Answer] = get
    method: str = "GET "
    query: str = ""
    answer: Answer | None = None
    """The client's view, if the status alone does not show it."""
    in_child_span: bool = False
    """Whether it happens in a span below the request's span."""
    inner: str | None = None
    """The status of another transaction in the same trace, named `inner`."""
    named: str | None = None
    """The transaction that the event names, if it is not the request's."""

    @property
    def path(self) -> str:
        return f"/{self.route}/1"

    @property
    def transaction(self) -> str:
        return f"{self.method}/{self.route}/{{item}}"


def failing(route: str, *events: str, **more: Any) -> Case:
    """A case with the answer 500."""
    answer = (500, b"Internal Server Error", "complete")
    return Case(route=route, events=events or (f"AppError: {route}",), status="internal_error", answer=answer, **more)


def answered(route: str, code: int, status: str = "internal_error") -> Case:
    """A case whose exception a middleware answers."""
    answer = (code, b'"answered"', "complete")
    return Case(route=route, events=(f"AppError: {route}",), status=status, answer=answer)


def failing_later(route: str, **more: Any) -> Case:
    """A case that fails after a good response."""
    return Case(route=route, events=(f"AppError: {route}",), answer=(200, b'"done"', "complete"), **more)


def harmless(route: str, **more: Any) -> Case:
    """A case without an event."""
    return Case(route=route, events=(), **more)


CASES = [
    failing("async-endpoint"),
    failing("sync-endpoint"),
    failing("dependency"),
    failing("sync-dependency"),
    failing_later("yield-dependency", status="internal_error"),
    failing_later("sync-yield-dependency", status="internal_error"),
    failing("asgi-middleware"),
    failing("base-middleware"),
    failing("base-middleware-afterwards"),
    failing("below-base-middleware"),
    answered("answering-middleware", 500),
    answered("answering-base-middleware", 503, "unavailable"),
    answered("answered-by-the-next-middleware", 500),
    harmless("falling-back-middleware"),
    harmless("refusing-middleware", status="not_found"),
    Case(
        route="streaming-below-base-middleware",
        events=("AppError: streaming-below-base-middleware",),
        status="internal_error",
        answer=(200, b"begun", "complete"),
    ),
    failing("failing-handler"),
    Case(
        route="handler-answers-500",
        events=("AnsweredByServerError: handler-answers-500",),
        status="internal_error",
        answer=(500, b'{"detail":"handler-answers-500"}', "complete"),
    ),
    Case(
        route="sync-handler-answers-500",
        events=("AnsweredBySyncServerError: sync-handler-answers-500",),
        status="internal_error",
        answer=(500, b'{"detail":"sync-handler-answers-500"}', "complete"),
    ),
    Case(
        route="streaming",
        events=("AppError: streaming",),
        status="internal_error",
        answer=(200, b"begun", "broken off"),
    ),
    Case(
        route="sync-streaming",
        events=("AppError: sync-streaming",),
        status="internal_error",
        answer=(200, b"begun", "broken off"),
    ),
    failing_later("sync-background", status="internal_error"),
    failing_later("async-background", status="internal_error"),
    Case(
        route="websocket",
        events=("AppError: websocket",),
        status="internal_error",
        call=listen,
        method="",
    ),
    failing_later("forgotten-task"),
    failing_later("held-task"),
    failing("awaited-task"),
    failing("task-group", "ExceptionGroup: unhandled errors in a TaskGroup"),
    failing("to-thread"),
    failing_later("thread-with-context"),
    failing_later("thread-without-context"),
    failing("span"),
    failing("transaction", inner="internal_error"),
    failing_later("captured-in-span", in_child_span=True),
    failing_later("captured-in-transaction", inner="ok", in_child_span=True, named="inner"),
    Case(route="logger-error", events=("logged: logger-error",)),
    failing_later("logger-exception"),
    failing("logged-then-raised"),
    failing_later("captured"),
    failing_later("captured-in-sync-endpoint"),
    failing_later("captured-then-logged"),
    failing("captured-then-raised"),
    failing("captured-in-thread-then-raised"),
    failing(
        "captured-beside-another-then-raised",
        "AppError: captured-beside-another-then-raised",
        "AppError: another",
    ),
    Case(route="captured-then-translated", events=("AppError: captured-then-translated",), status="unavailable"),
    Case(route="message", events=("message",)),
    failing("exception-group", "ExceptionGroup: exception-group"),
    Case(
        route="http-503",
        events=("HTTPException: http-503",),
        status="unavailable",
        answer=(503, b'{"detail":"http-503"}', "complete"),
    ),
    harmless("http-404", status="not_found", answer=(404, b'{"detail":"Not Found"}', "complete")),
    harmless("http-404-translated", status="not_found"),
    harmless("http-422", status="invalid_argument", query="?number=none"),
    harmless("handler-answers-400", status="invalid_argument"),
    harmless("gathered-with-exceptions"),
    harmless("handled-task"),
    harmless("timed-out"),
    harmless("cancelled-task"),
    harmless("cancelled", status=None),
    harmless("disconnect", call=leave_stream, status="cancelled"),
    harmless("disconnect-below-base-middleware", call=leave_stream),  # it completes the response for nobody
    harmless("disconnect-in-body", call=leave_upload, method="POST ", status="cancelled"),
    harmless("websocket-disconnect", call=leave_socket, method=""),
]


# -- what was served -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Served:
    """The observations of clients, the app and Sentry for one run."""

    answers: Mapping[str, Answer]
    seen: Mapping[str, tuple[str, str]]
    events: list[dict[str, Any]]
    transactions: list[dict[str, Any]]
    output: str

    def events_of(self, path: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["contexts"]["trace"]["trace_id"] == self.seen[path][0]]

    def transactions_of(self, path: str) -> list[dict[str, Any]]:
        trace_id = self.seen[path][0]
        return [each for each in self.transactions if each["contexts"]["trace"]["trace_id"] == trace_id]


def serve(env: Mapping[str, str]) -> Served:
    """Request every route once, stop the server, and return the observations."""
    port = free_port()
    command = uvicorn_command("tests.apps.linking:app", port)
    with SentryIngest() as ingest:
        dsn = {"SENTRY_DSN": ingest.dsn} if env else {}
        with Server(command, port, env={**env, **dsn}, pythonpath=[ROOT], ready_path="/seen") as server:
            answers = {case.route: case.call(server, case.path + case.query) for case in CASES}
            seen = server.get("/seen").json()["seen"]
            ingest.settle(1.0)
            server.terminate()
            ingest.settle(0.1)
            assert ingest.rejected == []
            return Served(
                answers=answers,
                seen={path: (ids[0], ids[1]) for path, ids in seen.items()},
                events=ingest.events,
                transactions=ingest.transactions,
                output=server.output,
            )


def sampled_at(rate: int) -> dict[str, str]:
    return {"SENTRY_ENVIRONMENT": "test", "SENTRY_TRACES_SAMPLE_RATE": str(rate)}


@pytest.fixture(scope="module")
def sampled() -> Served:
    return serve(sampled_at(1))


@pytest.fixture(scope="module")
def unsampled() -> Served:
    return serve(sampled_at(0))


@pytest.fixture(scope="module")
def bare() -> Served:
    return serve({})


@pytest.fixture(params=RATES, ids=["sampled", "unsampled"])
def served(request: pytest.FixtureRequest) -> Served:
    """Provide both runs without stopping one when a test asks for the other."""
    name = "sampled" if request.param else "unsampled"
    run: Served = request.getfixturevalue(name)
    return run


def title(event: Mapping[str, Any]) -> str:
    """Return Sentry's title of an event: the outermost exception, or the message."""
    if "exception" in event:
        outermost = event["exception"]["values"][-1]
        return f"{outermost['type']}: {outermost['value']}"
    message = event["logentry"]["formatted"] if "logentry" in event else event["message"]
    assert isinstance(message, str)
    return message


by_route = pytest.mark.parametrize("case", CASES, ids=lambda case: case.route)


@by_route
def test_a_failure_is_one_event_and_a_rejection_is_none(case: Case, served: Served) -> None:
    """A route that fails sends exactly one event; a route that rejects the request sends none."""
    assert sorted(title(event) for event in served.events_of(case.path)) == sorted(case.events)


@pytest.mark.parametrize("case", [case for case in CASES if case.events], ids=lambda case: case.route)
def test_an_event_is_linked_to_its_request(case: Case, served: Served) -> None:
    """An event has its request's trace, one of its spans, its transaction's name and its URL."""
    for event in served.events_of(case.path):
        link = event["contexts"]["trace"]
        transactions = served.transactions_of(case.path)
        spans = {span["span_id"] for each in transactions for span in (each["contexts"]["trace"], *each["spans"])}
        request_span = served.seen[case.path][1]
        if transactions:
            assert link["span_id"] in spans
        assert (link["span_id"] == request_span) is not case.in_child_span
        assert event["transaction"] == (case.named or case.transaction)
        assert event["transaction_info"] == {"source": "custom" if case.named else "route"}
        assert event["request"]["url"].endswith(case.path)


@by_route
def test_a_sampled_request_is_one_transaction(case: Case, sampled: Served) -> None:
    """A sampled request is one transaction with its route as name and its status."""
    found = {
        (each["transaction"], each["transaction_info"]["source"]): each["contexts"]["trace"]["status"]
        for each in sampled.transactions_of(case.path)
    }
    assert len(found) == len(sampled.transactions_of(case.path))
    assert found.pop(("inner", "custom"), None) == case.inner
    assert list(found) == [(case.transaction, "route")]
    if case.status is not None:
        assert list(found.values()) == [case.status]


@by_route
def test_the_answer_is_the_bare_apps(case: Case, served: Served, bare: Served) -> None:
    """A client sees the same status, body and end with and without brain_otel."""
    assert served.answers[case.route] == bare.answers[case.route]
    if case.answer is not None:
        assert served.answers[case.route] == case.answer


def test_an_unsampled_request_is_no_transaction(unsampled: Served) -> None:
    """At a sample rate of 0, Sentry gets errors and no transaction."""
    assert unsampled.transactions == []


def test_every_event_belongs_to_a_request(served: Served) -> None:
    """The only others belong to the app's start."""
    traces = {trace_id for trace_id, _ in served.seen.values()}
    strays = [title(event) for event in served.events if event["contexts"]["trace"]["trace_id"] not in traces]
    assert strays == []


def test_a_transaction_at_the_apps_start_links_its_error(served: Served) -> None:
    """An error in a transaction of the lifespan carries that transaction's ids and name."""
    (event,) = served.events_of("lifespan")
    assert title(event) == "AppError: lifespan"
    assert event["contexts"]["trace"]["span_id"] == served.seen["lifespan"][1]
    assert (event["transaction"], event["transaction_info"]["source"]) == ("start up", "custom")
    assert "request" not in event


def test_relay_accepts_every_event_and_transaction(served: Served) -> None:
    """Relay changes none of them."""
    for event in (*served.events, *served.transactions):
        entry = event.get("logentry", {})
        if entry.get("message") == entry.get("formatted"):
            entry.pop("message", None)  # Relay drops duplicates
        assert_accepted(event)


def test_the_log_has_no_failure_of_brain_otel(served: Served) -> None:
    """The guard has logged nothing."""
    assert "brain_otel failed" not in served.output


# -- outside of any request ----------------------------------------------------------------------------------

SCRIPT = """
import asyncio
import brain_otel
brain_otel.setup()

def fail(span):
    print(f"{span.get_span_context().trace_id:032x} {span.get_span_context().span_id:016x}")
    raise ValueError("job")

"""

CAPTURED = """
with brain_otel.start_transaction("job", op="task.run") as span:
    try:
        fail(span)
    except ValueError as error:
        brain_otel.capture_exception(error)
"""

UNHANDLED = """
with brain_otel.start_transaction("job", op="task.run") as span:
    fail(span)
"""

UNHANDLED_IN_LOOP = """
async def main():
    async with brain_otel.start_transaction("job", op="task.run") as span:
        await asyncio.sleep(0)
        fail(span)

asyncio.run(main())
"""

CAPTURED_IN_LOOP = """
async def main():
    async with brain_otel.start_transaction("job", op="task.run") as span:
        try:
            await asyncio.create_task(asyncio.to_thread(fail, span))
        except ValueError:
            brain_otel.capture_exception()

asyncio.run(main())
"""


JOBS = {
    "captured": (CAPTURED, 0),
    "captured in a loop": (CAPTURED_IN_LOOP, 0),
    "unhandled": (UNHANDLED, 1),
    "unhandled in a loop": (UNHANDLED_IN_LOOP, 1),
}


@pytest.mark.parametrize(
    ("job", "rate"), quick_first([*zip(JOBS, RATES * 2, strict=True), *zip(JOBS, RATES[::-1] * 2, strict=True)], 4)
)
def test_a_transaction_outside_of_any_request_links_its_error(job: str, rate: int, ingest: SentryIngest) -> None:
    """An error in a script's transaction, captured or left to the interpreter, is one event with a link to it."""
    code, returncode = JOBS[job]
    done = run_python(SCRIPT + code, {**sampled_at(rate), "SENTRY_DSN": ingest.dsn}, pythonpath=[ROOT])
    assert done.returncode == returncode, done.stderr
    assert ("ValueError: job" in done.stderr) is bool(returncode)
    ingest.settle(0.1)
    (event,) = ingest.events
    assert title(event) == "ValueError: job"
    link = event["contexts"]["trace"]
    assert [link["trace_id"], link["span_id"]] == done.stdout.split()
    assert (event["transaction"], event["transaction_info"]["source"]) == ("job", "custom")
    found = [(each["transaction"], each["contexts"]["trace"]["span_id"]) for each in ingest.transactions]
    assert found == ([("job", link["span_id"])] if rate else [])
    for sent in (event, *ingest.transactions):
        assert_accepted(sent)
