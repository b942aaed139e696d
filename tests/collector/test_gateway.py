"""config/collector: an agent and two gateways that keep or drop whole traces."""

import random
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, StatusCode, format_span_id, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.support.collector import (
    AGENT,
    GATEWAY,
    Collector,
    Record,
    Sink,
    find_collector,
    start_collector,
    start_sink,
)
from tests.support.process import environment

pytestmark = pytest.mark.collector

SERVICES = ("front", "middle", "back")

DECISION_WAIT = 3
"""Seconds. The tests send all spans of a trace in less."""

TRACES_OF_A_KIND = 15

MS = 1_000_000
START = 1_700_000_000_000 * MS

Kind = str
Traces = dict[str, set[str]]
"""Span ids by trace id."""


def gateway_environment(backend: Sink, share: float = 0) -> dict[str, str]:
    return {
        "COLLECTOR_BACKEND_ENDPOINT": backend.url,
        "COLLECTOR_DECISION_WAIT": f"{DECISION_WAIT}s",
        "COLLECTOR_SHARE_PERCENT": str(share),
    }


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """An agent with two gateways behind it, and the output of each gateway."""

    agent: Collector
    gateways: list[Collector]
    backends: list[Sink]

    def spans(self) -> list[list[Record]]:
        return [backend.written.spans(0) for backend in self.backends]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with ExitStack() as running:
        backends = [running.enter_context(start_sink()) for _ in range(2)]
        gateways = [
            running.enter_context(start_collector(GATEWAY, gateway_environment(backend))) for backend in backends
        ]
        hosts = ", ".join(gateway.grpc for gateway in gateways)
        agent = running.enter_context(start_collector(AGENT, {"COLLECTOR_GATEWAYS": f"[{hosts}]"}))
        yield Fleet(agent=agent, gateways=gateways, backends=backends)


class Services:
    """Three services, each with its own SDK and exporter; every trace has spans of all three."""

    def __init__(self, url: str) -> None:
        self._providers = {name: self._provider(name, f"{url}/v1/traces") for name in SERVICES}

    @staticmethod
    def _provider(name: str, endpoint: str) -> TracerProvider:
        provider = TracerProvider(resource=Resource({"service.name": name}), shutdown_on_exit=False)
        # Large, slow batches: only `send` sends.
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint), schedule_delay_millis=60_000))
        return provider

    def trace(self, kind: Kind) -> tuple[str, set[str]]:
        """Record a trace that is `ordinary`, has an `error` in its last service, or is `slow` only in total."""
        front = self._span("front", None, 0, 600)
        middle = self._span("middle", front, 100, 500)
        back = self._span("back", middle, *((900, 1400) if kind == "slow" else (200, 400)), failed=kind == "error")
        statement = self._span("back", back, 250, 300)
        spans = [span.get_span_context() for span in (front, middle, back, statement)]
        return format_trace_id(spans[0].trace_id), {format_span_id(span.span_id) for span in spans}

    def _span(self, service: str, parent: Span | None, start: int, end: int, *, failed: bool = False) -> Span:
        context = set_span_in_context(parent) if parent else Context()
        tracer = self._providers[service].get_tracer("test")
        span = tracer.start_span(service, context, start_time=START + start * MS)
        span.set_status(StatusCode.ERROR if failed else StatusCode.UNSET)
        span.end(START + end * MS)
        return span

    def send(self) -> None:
        """Send the spans of each service, the last service first."""
        for name in reversed(SERVICES):
            assert self._providers[name].force_flush()

    def shutdown(self) -> None:
        for provider in self._providers.values():
            provider.shutdown()


@pytest.fixture(scope="module")
def sent(fleet: Fleet) -> dict[Kind, Traces]:
    """Send traces of each kind, mixed and in two parts, and wait for those that the gateways keep."""
    services = Services(fleet.agent.url)
    kinds = [*["ordinary"] * TRACES_OF_A_KIND, *["error"] * TRACES_OF_A_KIND, *["slow"] * TRACES_OF_A_KIND]
    random.Random(5).shuffle(kinds)
    traces: dict[Kind, Traces] = {kind: {} for kind in ("ordinary", "error", "slow")}
    # The gateways keep the last trace: when it arrives, they have decided about all earlier traces.
    for half in (kinds[::2], [*kinds[1::2], "error", "slow"]):
        for kind in half:
            trace_id, span_ids = services.trace(kind)
            traces[kind][trace_id] = span_ids
        services.send()
    services.shutdown()
    wait_for_spans(fleet, {**traces["error"], **traces["slow"]})
    return traces


def wait_for_spans(fleet: Fleet, expected: Traces) -> None:
    """Wait until the gateways have forwarded all these spans."""

    def are_there(_: list[Record]) -> bool:
        found = arrived(fleet)
        return all(span_ids <= found[trace_id] for trace_id, span_ids in expected.items())

    fleet.backends[0].written.spans(are_there)


def arrived(fleet: Fleet) -> Traces:
    found: Traces = defaultdict(set)
    for backend in fleet.spans():
        for span in backend:
            found[span.trace_id].add(span.span_id)
    return found


def test_one_gateway_gets_all_spans_of_a_trace(fleet: Fleet, sent: Mapping[Kind, Traces]) -> None:
    """The order of sending does not matter, and each gateway gets some traces."""
    gateways: list[dict[str, set[str]]] = [defaultdict(set) for _ in fleet.gateways]
    for services, spans in zip(gateways, fleet.spans(), strict=True):
        for span in spans:
            services[span.trace_id].add(span.service)
    assert all(gateways)
    for trace_id in {**sent["error"], **sent["slow"]}:
        assert [services[trace_id] for services in gateways if trace_id in services] == [set(SERVICES)]


@pytest.mark.parametrize("kind", ["error", "slow"])
def test_every_trace_worth_keeping_is_kept_with_all_its_spans(
    fleet: Fleet, sent: Mapping[Kind, Traces], kind: Kind
) -> None:
    """One span with an error is enough. The duration of a trace is from its first start to its last end."""
    found = arrived(fleet)
    assert {trace_id: found.get(trace_id) for trace_id in sent[kind]} == sent[kind]


def test_no_ordinary_trace_is_kept_at_a_share_of_zero(fleet: Fleet, sent: Mapping[Kind, Traces]) -> None:
    """Each span of a kept trace arrives once."""
    assert len(sent["ordinary"]) == TRACES_OF_A_KIND
    assert not arrived(fleet).keys() & sent["ordinary"].keys()
    ids = [span.span_id for spans in fleet.spans() for span in spans]
    assert len(ids) == len(set(ids))


def test_a_late_span_is_kept_or_dropped_like_its_trace(fleet: Fleet) -> None:
    """A span that arrives after the decision follows it."""
    services = Services(fleet.agent.url)
    first = {kind: services.trace(kind) for kind in ("ordinary", "error")}
    services.send()
    kept, span_ids = first["error"]
    wait_for_spans(fleet, {kept: span_ids})
    late = TracerProvider(resource=Resource({"service.name": "late"}), shutdown_on_exit=False)
    late.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{fleet.agent.url}/v1/traces")))
    for kind in ("ordinary", "error"):
        # Within its trace: if the ordinary trace's gateway has not decided yet, the trace is not slow.
        span = late.get_tracer("test").start_span("late", remote_parent(*first[kind]), start_time=START)
        span.end(START + MS)
    late.shutdown()
    services.shutdown()
    wait_for_spans(fleet, {kept: {*span_ids, format_span_id(span.get_span_context().span_id)}})
    assert first["ordinary"][0] not in arrived(fleet)


def remote_parent(trace_id: str, span_ids: set[str]) -> Context:
    parent = f"00-{trace_id}-{min(span_ids)}-01"
    return TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())


def test_the_share_of_ordinary_traces_is_kept() -> None:
    """At a share of 100 %, a gateway keeps an ordinary trace that it receives directly."""
    with start_sink() as backend, start_collector(GATEWAY, gateway_environment(backend, share=100)) as gateway:
        services = Services(gateway.url)
        trace_id, span_ids = services.trace("ordinary")
        services.send()
        services.shutdown()
        spans = backend.written.spans(len(span_ids))
    assert {(span.trace_id, span.span_id) for span in spans} == {(trace_id, span_id) for span_id in span_ids}


def test_logs_and_metrics_pass_unsampled(fleet: Fleet) -> None:
    """Each passes one of the gateways to the backend once."""
    resource = Resource({"service.name": "front"})
    logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{fleet.agent.url}/v1/logs")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{fleet.agent.url}/v1/metrics"), 60_000)
    metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    numbers = range(10)
    for number in numbers:
        logs.get_logger("test").emit(body=f"line {number}")
        metrics.get_meter("test").create_counter("requests").add(1)
    logs.shutdown()
    metrics.shutdown()

    first, second = (backend.written for backend in fleet.backends)
    first.log_records(lambda found: len(found) + len(second.log_records(0)) >= len(numbers))
    records = [*first.log_records(0), *second.log_records(0)]
    assert sorted(record.data["body"]["stringValue"] for record in records) == [f"line {n}" for n in numbers]
    first.metrics(lambda found: len(found) + len(second.metrics(0)) >= 1)
    (counter,) = [*first.metrics(0), *second.metrics(0)]
    (point,) = counter.data["sum"]["dataPoints"]
    assert (counter.name, counter.service, point["asInt"]) == ("requests", "front", "10")


def validate(config: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(find_collector()), "validate", "--config", str(config)]
    return subprocess.run(command, env=environment(env), capture_output=True, text=True, timeout=30, check=False)


BACKEND = {"COLLECTOR_BACKEND_ENDPOINT": "https://o1.ingest.sentry.io/api/2/integration/otlp"}


@pytest.mark.parametrize(
    ("config", "env"),
    [
        (AGENT, {}),
        (AGENT, {"COLLECTOR_GATEWAYS": "[one:4317, two:4317, three:4317]", "COLLECTOR_GATEWAY_INSECURE": "false"}),
        (GATEWAY, BACKEND),
        (GATEWAY, {**BACKEND, "COLLECTOR_BACKEND_HEADERS": "{x-sentry-auth: sentry sentry_key=abc}"}),
        (GATEWAY, {**BACKEND, "COLLECTOR_BACKEND_METRICS": "http://localhost:9090/api/v1/otlp/v1/metrics"}),
    ],
)
def test_the_files_are_valid_with_and_without_their_variables(config: Path, env: Mapping[str, str]) -> None:
    """The collector accepts them without a warning."""
    done = validate(config, env)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_gateway_without_a_backend_does_not_start() -> None:
    """It logs an error and ends, instead of dropping everything."""
    done = validate(GATEWAY)
    assert done.returncode != 0
    assert "at least one endpoint must be specified" in done.stderr
