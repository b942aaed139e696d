"""Tests that a failure in brain_otel never affects the application: they break each part in turn."""

import builtins
import importlib
import logging
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from brain_otel.privacy import configure_privacy
from brain_otel.runtime import guard
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.services import Valkey
from tests.support.tiers import quick_one_of_each
from tests.support.waiting import until

LINE = re.compile(
    r"^ERROR brain_otel\.runtime\.guard brain_otel failed while (.*?); the application is not affected \((.*)$", re.M
)

#: Code that runs in a request or because of one; one of `REQUESTS` must call it.
TARGETS = [
    *(
        f"brain_otel.traces.collector:LocalTraceCollector.{name}"
        for name in ("_find", "_open", "_keep", "_is_complete", "_remove", "_finish", "close", "collected")
    ),
    *(
        f"brain_otel.sentry.span_processor:{name}"
        for name in (
            "SentrySpanProcessor.wants",
            "SentrySpanProcessor.hand_over",
        )
    ),
    *(
        f"brain_otel.sentry.{name}"
        for name in (
            "span_observer:start_profile",
            "span_observer:remember_thread",
            "span_observer:stop_profile",
            "transaction_sender:attach_profile",
            "transaction_sender:create_transaction",
            "transaction_sender:transaction_context_of",
            "transaction_sender:capture_with_scope_of",
        )
    ),
    *(
        f"brain_otel.sentry.fast_transactions:{name}"
        for name in (
            "FastPath.send",
            "_is_ours_alone",
            "_completed",
            "_data_of",
            "_constants",
            "mask",
            "filled_scopes_of",
        )
    ),
    "brain_otel.runtime.work_queue:WorkQueue.put",
    "brain_otel.telemetry:_state.destinations.0.span_processor._queue._work",
    "brain_otel.telemetry:_state.destinations.0.span_processor._queue._idle",
    *(
        f"brain_otel.sentry.listener:SentryListener.{name}"
        for name in (
            "on_trace_start",
            "on_trace_end",
            "on_exception",
            "on_message",
            "on_breadcrumb",
            "on_user",
            "on_tag",
            "on_context",
        )
    ),
    *(
        f"brain_otel.sentry.events:{name}"
        for name in (
            "_linked",
            "_link",
            "_add_request",
            "_add_trail",
            "_error_of",
            "request_interface",
            "breadcrumbs_of",
            "merged",
            "event_from_exception",
            "trace_context",
        )
    ),
    "brain_otel.sentry.request:policy",
    "brain_otel.sentry.transaction:MaskedSpan",
    "brain_otel.sentry.before_send:mask",
    *(
        f"brain_otel.sentry.scopes:{name}"
        for name in (
            "use_isolation_scope",
            "RequestScope.__init__",
            "RequestScope._fork",
            "EnteredScopes.__init__",
            "BaseScopes.enter",
            "BaseScopes.fork",
            "BaseScopes.end_session",
            "start_session",
            "SuccessfulSessions.count",
        )
    ),
    "brain_otel.sentry.dynamic_sampling_context:create_sampling_context",
    "brain_otel.sentry.dynamic_sampling_context:name_of",
    *(
        f"brain_otel.traces.conventions:{name}"
        for name in ("transaction_name", "name_of", "first", "db_system", "http_method", "is_websocket")
    ),
    *(f"brain_otel.traces.operations:{name}" for name in ("operation", "description", "convention_of")),
    *(f"brain_otel.sentry.span_fields:{name}" for name in ("status", "data", "links", "origin")),
    *(
        f"brain_otel.sentry.trace_headers:{name}"
        for name in (
            "_extract",
            "extract_sentrytrace_data",
            "_caller",
            "_incoming_baggage",
            "deferred",
            "_outgoing_baggage",
        )
    ),
    "brain_otel.sampling.head:decision_of",
    "brain_otel.sampling.head:HeadSampler.decide",
    "brain_otel.sdk.span_router:decision_of",
    "brain_otel.sdk.span_router:SpanRouter._recipients",
    "brain_otel.instrumentation.fastapi.serving:Serving._prepare",
    "brain_otel.instrumentation.fastapi.serving:RequestInProgress.__init__",
    *(
        f"brain_otel.instrumentation.fastapi.request:RequestInProgress.{name}"
        for name in ("name", "facts", "enter", "route", "_find_route", "span_name")
    ),
    "brain_otel.instrumentation.fastapi.request:find_route",
    *(
        f"brain_otel.instrumentation.fastapi.errors:{name}"
        for name in ("is_expected", "report_exception", "_cause_was_reported")
    ),
    "brain_otel.instrumentation.asyncio:AsyncioInstrumentation.on_trace_start",
    "brain_otel.instrumentation.asyncio:report_exception",
    "brain_otel.instrumentation.asyncio:local_trace",
    "brain_otel.instrumentation.sqlalchemy.instrumentor:_Tracer",
    "brain_otel.instrumentation.sqlalchemy.instrumentor:isinstance",
    "brain_otel.instrumentation.sqlalchemy.instrumentor:getattr",
    *(
        f"brain_otel.instrumentation.log_records:{name}"
        for name in ("ids_of_log", "_is_quiet", "logger_of", "_attributes")
    ),
    "brain_otel.privacy.processors:MaskedSpan",
    "brain_otel.sdk.span_router:local_trace",
    "brain_otel.traces.local_trace:current",
    "brain_otel.traces.local_trace:opened",
    "brain_otel.events.listeners:ended_traces.add",
    "brain_otel.traces.local_trace:LocalTrace.start",
    "brain_otel.events.deduplication:_add",
    "brain_otel.events.report:find_record",
    "brain_otel.sentry.events:find_record",
    *(
        f"brain_otel.capture:{name}"
        for name in ("attribute_value", "_level", "_set_on_spans", "_local_root", "emit_log")
    ),
    "brain_otel.tracing:_Starter._start",
]

FAST_PATHS = [
    *(
        f"brain_otel.instrumentation.fastapi.server_span:{name}"
        for name in ("start_decided_span", "request_attributes", "set_new_attribute")
    ),
    *(
        f"brain_otel.instrumentation.sqlalchemy.statement_span:{name}"
        for name in ("start_fast_span", "is_enabled", "_Statements._describe")
    ),
    *(
        f"brain_otel.instrumentation.sqlalchemy.driver_calls:{name}"
        for name in ("DriverCalls._observes", "DriverCalls._tracer_of")
    ),
    *(
        f"brain_otel.instrumentation.httpx.client_span:{name}"
        for name in ("start_fast_span", "is_http_enabled", "inject", "set_new_attribute", "redact_url")
    ),
    *(f"brain_otel.instrumentation.redis.command_span:{name}" for name in ("start_fast_span", "_Spans._connection")),
    *(f"brain_otel.instrumentation.fast_span:{name}" for name in ("_bounded", "_create")),
]
"""Called in fast paths, which need a service that reads no metrics."""

SAMPLED = {"sentry-trace": f"{'a' * 32}-{'b' * 16}", "baggage": f"sentry-trace_id={'a' * 32},tenant=acme"}
UNSAMPLED = {"sentry-trace": f"{'a' * 32}-{'b' * 16}-0"}

REQUESTS = [
    ("/work/7", SAMPLED),
    ("/work/7", UNSAMPLED),
    ("/fails/7", {}),
    ("/fails/7", UNSAMPLED),
    ("/answered/7", {}),
    ("/refused/7", {}),
    ("/stream", {}),
    ("/task", {}),
    ("/mounted/items/7", {}),
    ("/nowhere", {}),
]

Answer = tuple[int, str, bytes]


@pytest.fixture(scope="module")
def sentry() -> Iterator[SentryIngest]:
    with SentryIngest() as running:
        yield running


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def server(sentry: SentryIngest, collector: OtlpReceiver) -> Iterator[Server]:
    port = free_port()
    env = {"SENTRY_DSN": sentry.dsn, "PORT": str(port), "SENTRY_TRACES_SAMPLE_RATE": "1"}
    # A transaction with a profile takes no fast path, and only a long request has a profile.
    env |= {"SENTRY_PROFILES_SAMPLE_RATE": "0", "SENTRY_ENVIRONMENT": "staging"}
    env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    with Server(uvicorn_command("tests.apps.injection:app", port), port, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def fast_server(sentry: SentryIngest, valkey: Valkey) -> Iterator[Server]:
    """The same service without metrics, so that requests and calls take the fast paths; and with a cache."""
    port = free_port()
    env = {"SENTRY_DSN": sentry.dsn, "PORT": str(port), "SENTRY_TRACES_SAMPLE_RATE": "1"}
    env |= {"SENTRY_ENVIRONMENT": "production", "REDIS_URL": valkey.url}
    with Server(uvicorn_command("tests.apps.injection:app", port), port, env=env) as running:
        yield running


def connected(server: Server) -> httpx.Client:
    # uvicorn closes a connection after an unhandled exception, so each request has one of its own.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(base_url=server.url, timeout=10.0, trust_env=False, verify=False, limits=limits)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with connected(server) as opened:
        yield opened


@pytest.fixture(scope="module")
def fast_client(fast_server: Server) -> Iterator[httpx.Client]:
    with connected(fast_server) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(client: httpx.Client) -> list[Answer]:
    """Give the answers while nothing is broken."""
    assert client.post("/control").status_code == 200
    return answers(client)


def answers(client: httpx.Client, requests: list[tuple[str, dict[str, str]]] = REQUESTS) -> list[Answer]:
    found = []
    for path, headers in requests:
        response = client.get(path, headers=headers)
        found.append((response.status_code, response.headers.get("content-type", ""), response.content))
    return found


def has_hits(client: httpx.Client, count: int) -> bool:
    return bool(client.get("/control").json()["hits"] >= count)


def module_of(target: str) -> str:
    return target.partition(":")[0]


@pytest.mark.parametrize("target", TARGETS + FAST_PATHS)
def test_the_code_to_break_exists(target: str) -> None:
    """A name that was renamed would break nothing, and its test would wait in vain."""
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    if (
        path in vars(builtins) or ".destinations." in target
    ):  # a built-in is shadowed; destinations exist after `setup()`
        return
    for name in path.split("."):
        found = getattr(found, name)


@pytest.mark.parametrize(
    "target", quick_one_of_each(module_of, TARGETS), ids=lambda target: target.removeprefix("brain_otel.")
)
def test_a_failure_of_ours_changes_no_answer(
    server: Server, client: httpx.Client, expected: list[Answer], target: str
) -> None:
    """The answers are the same, each place logs one line in two rounds, and then everything works again."""
    assert [status for status, _, _ in expected] == [200, 200, 500, 500, 503, 502, 200, 200, 200, 404]
    client.post("/control")
    before = len(server.output)
    client.post("/control", params={"target": target})
    is_counted = not target.endswith(("otel_context", ":local_trace"))  # the access fails, not the call
    for rounds in (1, 2):
        assert answers(client) == expected
        if is_counted:  # one batch may hold the traces of both rounds, and call some code once
            until(partial(has_hits, client, rounds))

    def places() -> list[str]:
        return [place for place, _ in LINE.findall(server.output[before:])]

    until(places)
    client.post("/control")
    assert max(Counter(places()).values()) == 1, places()
    after = len(server.output)
    assert answers(client, REQUESTS[:3]) == expected[:3]
    assert LINE.findall(server.output[after:]) == []


@pytest.mark.parametrize(
    "target", quick_one_of_each(module_of, FAST_PATHS), ids=lambda target: target.removeprefix("brain_otel.")
)
def test_a_failure_on_a_fast_path_changes_no_answer(
    fast_server: Server, fast_client: httpx.Client, target: str
) -> None:
    """The same for spans that are made without contrib and OpenTelemetry's tracer."""
    fast_client.post("/control")
    expected = answers(fast_client)
    assert [status for status, _, _ in expected] == [200, 200, 500, 500, 503, 502, 200, 200, 200, 404]
    before = len(fast_server.output)
    fast_client.post("/control", params={"target": target})
    assert answers(fast_client) == expected
    until(lambda: LINE.findall(fast_server.output[before:]))
    assert fast_client.post("/control").json()["hits"] >= 1
    after = len(fast_server.output)
    assert answers(fast_client) == expected
    assert LINE.findall(fast_server.output[after:]) == []


def test_telemetry_works_after_all_these_failures(client: httpx.Client, sentry: SentryIngest) -> None:
    """Later errors and transactions are sent, and linked."""
    client.post("/control", params={"target": "brain_otel.sentry.span_processor:create_transaction"})
    answers(client)
    client.post("/control", params={"target": "brain_otel.sentry.events:SentryListener.on_trace_start"})
    answers(client)
    client.post("/control")
    sentry.settle(0.3, timeout=10.0)
    sentry.clear()
    assert client.get("/fails/7").status_code == 500
    sentry.wait_for(lambda it: len(it.transactions) == 1 and len(it.events) == 1)
    (transaction,), (error,) = sentry.transactions, sentry.events
    assert transaction["transaction"] == error["transaction"] == "GET /fails/{number}"
    assert transaction["contexts"]["trace"]["trace_id"] == error["contexts"]["trace"]["trace_id"]


@pytest.fixture
def _forgotten() -> Iterator[None]:
    guard.forget_logged_places()
    yield
    guard.forget_logged_places()
    guard.reraise_failures(False)


def fail_at(place: str, error: BaseException) -> None:
    with guard.guarded(place):
        raise error


@pytest.mark.usefixtures("_forgotten")
class TestGuarded:
    def test_it_logs_the_first_failure_at_each_place(self, caplog: pytest.LogCaptureFixture) -> None:
        """One ERROR line for each place, with the exception and its origin; the traceback only at DEBUG."""
        caplog.set_level(logging.DEBUG, "brain_otel.runtime.guard")
        for _ in range(3):
            fail_at("here", ValueError("first\n  second"))
        fail_at("there", KeyError("k"))
        lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(lines) == 2
        assert lines[0].startswith(
            "brain_otel failed while here; the application is not affected (ValueError: first second at "
        )
        assert f"{__file__}:" in lines[0]
        traces = [record for record in caplog.records if "Traceback" in record.getMessage()]
        assert [record.levelno for record in traces] == [logging.DEBUG, logging.DEBUG]

    def test_the_text_of_an_exception_is_masked(self, caplog: pytest.LogCaptureFixture) -> None:
        """It may hold a value of the application's, also in the traceback."""
        configure_privacy(None)
        caplog.set_level(logging.DEBUG, "brain_otel.runtime.guard")
        fail_at("here", ValueError("cannot read\npassword: hunter2\ntoken=hunter2"))
        assert len(caplog.records) == 2
        assert "cannot read password: [Filtered] token=[Filtered]" in caplog.records[0].getMessage()
        assert "hunter2" not in caplog.text

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
    def test_it_lets_base_exceptions_pass(self, error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
        """It swallows no interrupt and no cancellation."""
        with pytest.raises(type(error)):
            fail_at("here", error)
        assert caplog.records == []

    def test_an_exception_with_a_broken_str_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """The failure of `str()` is swallowed too."""

        class BrokenStrError(Exception):
            def __str__(self) -> str:
                raise ValueError("no")

        fail_at("here", BrokenStrError())
        assert "(BrokenStrError: no message at " in caplog.text

    def test_a_failing_log_handler_is_swallowed(self) -> None:
        """A filter or handler of the application may raise on our line."""

        def refuse(record: logging.LogRecord) -> bool:
            raise RuntimeError("refused")

        guard.logger.addFilter(refuse)
        try:
            fail_at("here", ValueError("no"))
        finally:
            guard.logger.removeFilter(refuse)

    def test_a_test_can_ask_for_the_exception(self) -> None:
        """It gets the same object."""
        guard.reraise_failures(True)
        error = ValueError("no")
        with pytest.raises(ValueError, match="no") as raised:
            fail_at("here", error)
        assert raised.value is error

    def test_a_long_message_is_cut(self, caplog: pytest.LogCaptureFixture) -> None:
        """The log line stays readable."""
        fail_at("here", ValueError("x" * 5_000))
        assert len(caplog.records[0].getMessage()) < 600
