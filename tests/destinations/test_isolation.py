"""Tests of isolated destinations: one that hangs, fails or is slow affects neither the application nor the others."""

import itertools
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from brain_otel.destinations.destination import Destination
from brain_otel.destinations.isolation import MAX_QUEUED, IsolatedDestination
from brain_otel.runtime.guard import forget_logged_places
from brain_otel.runtime.limited_log import log_counts
from brain_otel.runtime.thread_pool import side_by_side
from tests.destinations.service import environment_of, in_child, make_spans, options, serve, traced, write_config
from tests.destinations.test_third_party import widget
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver, refusing
from tests.support.otlp_data import metrics_of, read_lines, spans_of
from tests.support.process import SLACK, Server, run_python
from tests.support.tiers import quick_first, thorough

REQUESTS = 30


@pytest.fixture(autouse=True)
def _clean() -> None:
    forget_logged_places()


def latencies(client: httpx.Client, number: int) -> list[float]:
    seconds = []
    for _ in range(number):
        started = time.perf_counter()
        assert client.get("/items/1").status_code == 200
        seconds.append(time.perf_counter() - started)
    return seconds


@thorough
@pytest.mark.parametrize("rounds", [2, 10])
def test_bad_destinations_affect_neither_the_others_nor_the_requests(
    tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str], rounds: int
) -> None:
    """Every transaction and span arrives where it can, and a request takes as long as without the bad ones."""
    with ExitStack() as stack:
        hanging = stack.enter_context(OtlpReceiver(grpc=True))
        hanging.hanging = True
        resetting = stack.enter_context(OtlpReceiver())
        resetting.resetting = True
        healthy = stack.enter_context(OtlpReceiver())
        nobody = stack.enter_context(refusing())
        bad: list[Any] = [
            {"otlp": {"endpoint": hanging.endpoint}},
            {"otlp": {"endpoint": hanging.grpc_endpoint, "protocol": "grpc"}},
            {"otlp": {"endpoint": nobody}},
            {"batch": {"exporter": {"otlp_http": {"endpoint": f"{resetting.endpoint}/v1/traces"}}}},
            {"widget": {"mode": "end is slow"}},
        ]
        servers: list[tuple[Server, SentryIngest, Path]] = []
        for name, others in {"good": [], "bad": bad}.items():
            ingest = stack.enter_context(SentryIngest())
            folder = tmp_path / name
            folder.mkdir()
            kept = folder / "kept.jsonl"
            good: list[Any] = [
                {"sentry": {}},
                {"file": {"path": str(kept)}},
                {"otlp": {"endpoint": healthy.endpoint}},
            ]
            config = write_config(folder, traces=[*others, *good], dsn=ingest.dsn)
            path = [widget(folder)] if others else []
            servers.append((stack.enter_context(serve(config, pythonpath=path)), ingest, kept))
        clients = [
            stack.enter_context(httpx.Client(base_url=each.url, trust_env=False, verify=False))
            for each, _, _ in servers
        ]
        taken: list[list[float]] = [[], []]
        for number in range(rounds + 1):
            for client, seconds in zip(clients, taken, strict=True):
                found = latencies(client, REQUESTS)
                seconds += found if number else []  # the first round warms up
        for server, _, _ in servers:
            server.terminate(timeout=5.0)
        number = (rounds + 1) * REQUESTS
        for _, ingest, kept in servers:
            names = [each["transaction"] for each in ingest.transactions]
            assert names.count("GET /items/{item_id}") == number, ingest.describe()
            spans = [span for request in read_lines(kept) for span in spans_of(request)]
            assert sum(span.name == "SELECT" for span in spans) == number
        assert sum(span.name == "SELECT" for span in healthy.spans) == 2 * number
    without, with_them = (statistics.median(seconds) for seconds in taken)
    p95 = [statistics.quantiles(seconds, n=20)[-1] for seconds in taken]
    figures = {
        "median_without_ms": without * 1e3,
        "median_with_ms": with_them * 1e3,
        "median_ratio": with_them / without,
        "p95_ratio": p95[1] / p95[0],
    }
    for key, value in figures.items():
        record_property(key, round(value, 3))
    with capsys.disabled():
        print("\nbad destinations:", ", ".join(f"{key} {value:.2f}" for key, value in figures.items()))
    assert with_them / without < 3


METRICS = """
import time
from opentelemetry import metrics
import brain_otel
brain_otel.setup()
metrics.get_meter("test").create_counter("sold").add(3)
started = time.monotonic()
complete = brain_otel.flush(1.0)
print(complete, time.monotonic() - started)
print(time.monotonic())
"""


@pytest.mark.parametrize("kind", ["otlp", "otlp_http"])
def test_a_hanging_reader_does_not_delay_the_others(kind: str, tmp_path: Path) -> None:
    """OpenTelemetry flushes readers one after the other. The end of the process waits for none of them.

    Be the exporter ours or OpenTelemetry's own.
    """
    kept = tmp_path / "kept.jsonl"
    with OtlpReceiver() as hanging:
        hanging.hanging = True
        endpoint = hanging.endpoint if kind == "otlp" else f"{hanging.endpoint}/v1/metrics"
        given = [{kind: {"endpoint": endpoint}}, {"file": {"path": str(kept)}}]
        config = write_config(tmp_path, metrics=given, interval=60_000)
        done = run_python(METRICS, environment_of(config), pythonpath=[ROOT])
        ended = time.monotonic()
    assert done.returncode == 0, done.stderr
    complete, seconds, flushed = done.stdout.split()
    assert complete == "False"
    assert float(seconds) < 1.5 + SLACK
    assert ended - float(flushed) < 6.0 + SLACK
    names = [metric.name for request in read_lines(kept) for metric in metrics_of(request)]
    assert "sold" in names


TIMED = """
import time
import brain_otel
brain_otel.setup()
for number in range(3000):
    with brain_otel.start_span("task", "work"):
        pass
brain_otel.capture_message("said")
for call in (brain_otel.flush, brain_otel.shutdown):
    started = time.monotonic()
    complete = call(2.0)
    print(complete, time.monotonic() - started)
print(time.monotonic())
"""


@pytest.mark.parametrize("protocol", quick_first(["http/protobuf", "grpc"]))
def test_flush_and_shutdown_keep_their_time_bound(protocol: str, tmp_path: Path) -> None:
    """Even if every destination of every signal hangs."""
    with OtlpReceiver(grpc=True) as hanging, SentryIngest() as ingest:
        hanging.hanging, ingest.delay = True, 100.0
        endpoint = hanging.endpoint if protocol == "http/protobuf" else hanging.grpc_endpoint
        given = [{"otlp": {"endpoint": endpoint, "protocol": protocol}}]
        config = write_config(
            tmp_path, traces=[*given, *given, {"sentry": {}}], logs=given, metrics=given, dsn=ingest.dsn
        )
        done = run_python(TIMED, environment_of(config), pythonpath=[ROOT])
        ended = time.monotonic()
    assert done.returncode == 0, done.stderr
    *lines, shut_down = done.stdout.splitlines()
    assert ended - float(shut_down) < 6.0 + SLACK
    for line in lines:
        complete, seconds = line.split()
        assert complete == "False"
        assert float(seconds) < 2.5 + SLACK


def test_the_process_ends_in_time_while_everything_hangs(tmp_path: Path) -> None:
    """After SIGTERM, the exits of the server, the signal handler and the interpreter share one time bound."""
    with OtlpReceiver() as hanging:
        hanging.hanging = True
        given = [{"otlp": {"endpoint": hanging.endpoint}}]
        with serve(write_config(tmp_path, traces=given, logs=given, metrics=given)) as server:
            server.get("/items/1")
            assert server.terminate(timeout=3.5 + SLACK) < 3.5 + SLACK


# -- in this process -------------------------------------------------------------------------------------------


class Turnstile(SpanProcessor, LogRecordProcessor):
    """Blocks until it is opened, and keeps the spans and log records it got."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.names: list[str] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.begun.set()
        self.open.wait(20)
        self.names.append(span.name)

    def on_emit(self, log_record: Any) -> None:
        raise NotImplementedError

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True


@pytest.fixture
def gate() -> Iterator[Turnstile]:
    gate = Turnstile()
    yield gate
    gate.open.set()


def blocked(gate: Turnstile) -> tuple[TracerProvider, IsolatedDestination]:
    used = IsolatedDestination(
        Destination(
            name="gate",
            span_processor=gate,
            flush=lambda _timeout: gate.open.is_set(),
            shutdown=lambda _timeout: None,
        )
    )
    provider = TracerProvider(shutdown_on_exit=False)
    assert used.span_processor is not None
    provider.add_span_processor(used.span_processor)
    return provider, used


def test_the_queue_of_a_blocked_destination_is_bounded(gate: Turnstile, caplog: pytest.LogCaptureFixture) -> None:
    """Of 10,000 spans the latest are kept, and no caller waits; two lines count the others."""
    provider, used = blocked(gate)
    make_spans(provider, 1, "first")
    assert gate.begun.wait(5)
    started = time.monotonic()
    make_spans(provider, 10_000)
    assert time.monotonic() - started < 5
    assert not used.flush(0.1)
    gate.open.set()
    assert used.flush(10.0)
    assert gate.names == ["first 0", *(f"work {number}" for number in range(10_000 - MAX_QUEUED, 10_000))]
    log_counts()
    lines = [record.getMessage() for record in caplog.records if "loses the oldest" in record.getMessage()]
    assert lines == [
        "gate is too slow, and loses the oldest: 1 spans",
        f"gate is too slow, and loses the oldest: {10_000 - MAX_QUEUED - 1} spans",
    ]


def test_a_forked_child_has_an_empty_queue_and_a_thread_of_its_own(gate: Turnstile) -> None:
    """The parent sends its own queue."""
    provider, used = blocked(gate)
    make_spans(provider, 3, "parent")
    assert gate.begun.wait(5)

    def work() -> list[str]:
        gate.open.set()
        make_spans(provider, 2, "child")
        assert used.flush(5.0)
        return gate.names

    assert in_child(work) == "['child 0', 'child 1']"
    gate.open.set()
    assert used.flush(5.0)
    assert gate.names == ["parent 0", "parent 1", "parent 2"]


def test_a_forked_child_can_flush_while_the_parents_flush_hangs() -> None:
    """The fork happens in the middle of the parent's flush, which never ends in the child."""
    released, calls = threading.Event(), itertools.count()

    def respond() -> tuple[int, dict[str, str]]:
        if next(calls) == 0:
            released.wait(10)
        return 200, {}

    with OtlpReceiver() as receiver:
        receiver.respond = respond
        with traced(options("otlp", endpoint=receiver.endpoint, schedule_delay=60_000)) as (provider, (used,)):
            make_spans(provider, 1, "parent")
            flushing = threading.Thread(target=used.flush, args=(10.0,))
            flushing.start()
            receiver.wait_for(lambda it: len(it.requests) == 1)

            def work() -> bool:
                make_spans(provider, 1, "child")
                return used.flush(2.0)

            answer = in_child(work)
            released.set()
            flushing.join()
        assert answer == "True"
        assert sorted(span.name for span in receiver.spans) == ["child 0", "parent 0"]


def test_flushes_do_not_pile_up_behind_one_that_hangs(gate: Turnstile) -> None:
    """However often flush is called."""
    used = IsolatedDestination(
        Destination(name="gate", flush=lambda _timeout: gate.open.wait(20), shutdown=lambda _timeout: None)
    )
    before = threading.active_count()
    for _ in range(10):
        assert not side_by_side([("flushing", lambda _timeout: used.flush(0.05))], 0.2)
    assert threading.active_count() <= before + 2  # the one that hangs, and one of the pool


def test_a_destinations_own_requests_are_not_traced() -> None:
    """Otherwise each request would cause another one, without end."""
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    enabled: list[bool] = []

    class Sender(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:  # noqa: ARG002
            enabled.append(is_instrumentation_enabled())

    def flush(_timeout: float) -> bool:
        enabled.append(is_instrumentation_enabled())
        return True

    used = IsolatedDestination(
        Destination(name="sender", span_processor=Sender(), flush=flush, shutdown=lambda _timeout: None)
    )
    provider = TracerProvider(shutdown_on_exit=False)
    assert used.span_processor is not None
    provider.add_span_processor(used.span_processor)
    make_spans(provider, 1)
    assert side_by_side([("flushing", used.flush)], 3.0)
    assert enabled == [False, False]
