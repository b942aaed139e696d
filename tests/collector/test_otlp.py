"""The `otlp` destination of a real service: a collector receives all spans, log records and metrics."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.collector import Record, Signal, Written, read_records, start_sink
from tests.support.process import Server, free_port, uvicorn_command

pytestmark = pytest.mark.collector


ORDERS = 20

CONFIG = """
file_format: "1.1"
resource:
  attributes:
    - {name: service.name, value: shop}
tracer_provider:
  processors:
    - file: {path: "${RECORD}/traces.jsonl"}
    - otlp: &otlp {endpoint: "${COLLECTOR}", protocol: "${PROTOCOL}", compression: gzip}
logger_provider:
  processors:
    - file: {path: "${RECORD}/logs.jsonl"}
    - otlp: *otlp
meter_provider:
  readers:
    - periodic: {interval: 3600000, exporter: {file: {path: "${RECORD}/metrics.jsonl"}}}
    - periodic: {interval: 3600000, exporter: {otlp: *otlp}}
propagator:
  composite: [tracecontext:]
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A service that has ended: what it recorded, what the collector wrote, and what its callers know."""

    record: Path
    written: Written
    trace_ids: list[str]
    output: str

    def recorded(self, signal: Signal) -> list[Record]:
        return read_records(self.record / f"{signal}.jsonl", signal)


@pytest.fixture(scope="module", params=["http/protobuf", "grpc"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    record = tmp_path_factory.mktemp("record")
    config = record / "brain_otel.yaml"
    config.write_text(CONFIG)
    port = free_port()
    with start_sink() as sink:
        env = {
            "OTEL_CONFIG_FILE": str(config),
            "RECORD": str(record),
            "COLLECTOR": sink.url if request.param == "http/protobuf" else f"http://{sink.grpc}",
            "PROTOCOL": request.param,
            "PYTHONWARNINGS": "error",
        }
        with Server(uvicorn_command("tests.collector.app:app", port), port, env=env, pythonpath=[ROOT]) as server:
            trace_ids = [server.get(f"/orders/{number}").json()["trace_id"] for number in range(ORDERS)]
            assert server.get("/boom").status_code == 500
            server.terminate()
            yield Run(record=record, written=sink.written, trace_ids=trace_ids, output=server.output)


def content(data: Any) -> Any:
    """Normalize OTLP JSON for a comparison.

    Encoders may leave out empty and zero values, order attributes freely, and write 64-bit integers as numbers.
    """
    if isinstance(data, dict):
        pairs = sorted((key, content(value)) for key, value in data.items())
        return tuple((key, value) for key, value in pairs if value not in ("", "0", ()))
    if isinstance(data, list):
        values = [content(each) for each in data]
        has_keys = all(isinstance(each, dict) and "key" in each for each in data)
        return tuple(sorted(values, key=repr) if has_keys else values)
    return str(data) if type(data) is int else data


def described(records: list[Record]) -> Counter[Any]:
    return Counter((content(each.data), each.scope, content(each.resource)) for each in records)


def assert_same(run: Run, signal: Signal, found: list[Record]) -> None:
    arrived, recorded = described(found), described(run.recorded(signal))
    assert arrived == recorded, f"missing: {recorded - arrived}\nunknown: {arrived - recorded}\n{run.output}"


def test_every_span_arrives_as_it_was_recorded(run: Run) -> None:
    """Each arrives once, with ids, times, attributes, events, status, scope and resource."""
    found = run.written.spans(len(run.recorded("traces")))
    prices = {span.trace_id: span.attributes for span in found if span.name == "price"}
    assert prices == {
        trace_id: {**prices[trace_id], "shop.number": number, "shop.tags": ["a", "b"]}
        for number, trace_id in enumerate(run.trace_ids)
    }
    assert {span.service for span in found} == {"shop"}
    assert_same(run, "traces", found)


def test_every_log_record_arrives_as_it_was_recorded(run: Run) -> None:
    """Each has its trace and its attributes, including the error."""
    found = run.written.log_records(len(run.recorded("logs")))
    traces = {
        record.data["body"]["stringValue"]: record.trace_id for record in found if record.scope.startswith("shop")
    }
    assert traces == {f"order {number}": trace_id for number, trace_id in enumerate(run.trace_ids)}
    assert any("RuntimeError" in repr(record.data) for record in found)
    assert_same(run, "logs", found)


def test_every_request_is_counted_in_the_metrics(run: Run) -> None:
    """Both readers have the same measurements, each at its own time."""
    recorded = dict(map(measured, run.recorded("metrics")))
    found = dict(map(measured, run.written.metrics(len(recorded))))
    assert found == recorded
    assert sum(int(count) for _, count, _ in found["http.server.request.duration"]) == ORDERS + 1


def measured(metric: Record) -> tuple[str, list[tuple[Any, str, Any]]]:
    """Return a metric's name, and the attributes, count and sum or value of each data point."""
    points = next(metric.data[kind]["dataPoints"] for kind in ("histogram", "sum", "gauge") if kind in metric.data)
    return metric.name, sorted(
        (
            content(point.get("attributes", [])),
            str(point.get("count", "")),
            str(point.get("sum", point.get("asInt", point.get("asDouble")))),
        )
        for point in points
    )
