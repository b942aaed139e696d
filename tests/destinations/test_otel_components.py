"""Tests of OpenTelemetry's own `batch` and `simple`, with its exporters and a plugin's, behind our guard and mask."""

import inspect
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.configuration._logger_provider import _create_log_record_exporter
from opentelemetry.configuration._meter_provider import _create_push_metric_exporter
from opentelemetry.configuration._tracer_provider import _create_span_exporter
from opentelemetry.configuration.file._loader import _dict_to_model
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans as encode_json
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_protobuf
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, ConsoleLogRecordExporter
from opentelemetry.sdk._shared_internal import BatchProcessor
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

from brain_otel.configuration.error import ConfigurationError
from brain_otel.destinations.memory import MEMORY
from brain_otel.privacy import Policy
from brain_otel.privacy.processors import MaskingSpanProcessor
from brain_otel.privacy.spans import MaskedSpan
from tests.destinations.plugins import write_plugin
from tests.destinations.service import make_spans, options, serve, traced, write_config
from tests.support.otlp import OtlpReceiver
from tests.support.otlp_data import spans_of
from tests.support.tiers import quick_first

SECRETS = {
    "url.full": "https://joe:pw@host/path?token=abc&page=2",
    "url.query": "token=abc",
    "client.address": "10.0.0.1",
    "tenant.api_key": "abc",
    "plain": "seen",
}
MASKED = {
    "url.full": "https://[Filtered]@host/path?token=[Filtered]&page=2",
    "url.query": "token=[Filtered]",
    "tenant.api_key": "[Filtered]",
    "plain": "seen",
}


@pytest.fixture(autouse=True)
def _clean() -> None:
    MEMORY.clear()


@pytest.mark.parametrize("kind", quick_first(["batch", "simple"]))
@pytest.mark.parametrize("exporter", ["otlp_http", "otlp_grpc"])
def test_opentelemetrys_own_otlp_exporters_send_masked(kind: str, exporter: str, tmp_path: Path) -> None:
    """A file without any component of ours works, and secrets are masked."""
    with OtlpReceiver(grpc=True) as receiver:
        http = exporter == "otlp_http"
        address = receiver.endpoint if http else receiver.grpc_endpoint

        def component(signal: str) -> dict[str, Any]:
            endpoint = f"{address}/v1/{signal}" if http else address
            return {
                kind: {
                    "exporter": {exporter: {"endpoint": endpoint, **({} if http else {"tls": {"insecure": True}})}}
                }
            }

        config = write_config(tmp_path, traces=[component("traces")], logs=[component("logs")])
        with serve(config) as server:
            answer = server.get("/items/5?token=secret").json()
            server.terminate(timeout=4.0)
        request = receiver.span("GET /items/{item_id}")
        assert (request.trace_id, request.span_id) == (answer["trace_id"], answer["span_id"])
        assert request.attributes["url.query"] == "token=[Filtered]"
        assert len([span for span in receiver.spans if span.trace_id == request.trace_id]) == 2
        (message,) = [record for record in receiver.log_records if record.body == "found"]
        assert message.attributes["api_key"] == "[Filtered]"


def test_opentelemetrys_console_prints_masked_spans() -> None:
    """It reads the SDK's private attributes, where the encoders of OTLP read public properties."""
    printed = io.StringIO()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(MaskingSpanProcessor(SimpleSpanProcessor(ConsoleSpanExporter(out=printed))))
    make_spans(provider, 1, **SECRETS)
    assert json.loads(printed.getvalue())["attributes"] == MASKED


def test_a_masked_span_differs_only_in_its_private_parts() -> None:
    """For every encoder; and the original span does not change."""
    with traced(options("memory")) as (provider, _):
        tracer = provider.get_tracer("scope", "1.0", attributes={"s": 1})
        with tracer.start_as_current_span("parent") as parent:
            link = parent.get_span_context()
        with tracer.start_as_current_span("plain", attributes={"a": 1, "b": ["x"]}, links=[]) as span:
            span.add_event("event", {"b": 2})
            span.add_link(link, {"c": 3})
            span.record_exception(ValueError("no"))
    plain = MEMORY.spans[-1]
    masked = MaskedSpan(plain)
    assert encode_protobuf([masked]) == encode_protobuf([plain])
    assert encode_json([masked]).to_dict() == encode_json([plain]).to_dict()
    assert masked.to_json() == plain.to_json()
    public = [name for name, value in inspect.getmembers(ReadableSpan, lambda each: isinstance(each, property))]
    for name in (name for name in public if name != "instrumentation_info"):
        assert getattr(masked, name) == getattr(plain, name), name
    with traced(options("memory")) as (provider, _):
        span = provider.get_tracer("scope").start_span("secret", attributes=SECRETS)
        span.add_event("breadcrumb", {"password": "hunter2", "shelf": 7})
        span.end()
    secret = MEMORY.spans[-1]
    (found,) = spans_of(encode_protobuf([MaskedSpan(secret)]))
    assert found.attributes == MASKED
    assert found.events[0].attributes == {"password": "[Filtered]", "shelf": 7}
    personal = MaskedSpan(secret, Policy(send_default_pii=True))
    assert dict(personal.attributes or {}) == {**MASKED, "client.address": "10.0.0.1"}
    assert dict(secret.attributes or {}) == SECRETS
    assert dict(secret.events[0].attributes or {}) == {"password": "hunter2", "shelf": 7}


PLUGIN = """
import os, time
from pathlib import Path
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

class Exporter(SpanExporter):
    def __init__(self, path="", fails=False, seconds=0.0):
        if path == "refused":
            raise RuntimeError("path is refused")
        self.path, self.fails, self.seconds = path, fails, seconds

    def export(self, spans):
        time.sleep(self.seconds)
        with open(self.path, "a") as file:
            file.writelines(f"{span.name} {span.attributes.get('url.query')}\\n" for span in spans)
        if self.fails:
            raise RuntimeError("no")
        return SpanExportResult.SUCCESS
"""


def plugin(folder: Path) -> Path:
    return write_plugin(folder, "noter", PLUGIN, group="opentelemetry_traces_exporter", value="noter:Exporter")


@pytest.mark.parametrize("kind", quick_first(["batch", "simple"]))
def test_an_exporter_of_another_package_may_raise(kind: str, tmp_path: Path) -> None:
    """It gets its arguments and masked spans, and its exceptions affect nobody else."""
    out = tmp_path / "out"
    given: list[Any] = [
        {kind: {"exporter": {"noter": {"path": str(out), "fails": True}}}},
        {"file": {"path": f"{out}.jsonl"}},
    ]
    with serve(write_config(tmp_path, traces=given), pythonpath=[plugin(tmp_path)]) as server:
        assert server.get("/items/5?token=abc").status_code == 200
        assert server.get("/fast").status_code == 200
        server.terminate(timeout=4.0)
    assert "GET /items/{item_id} token=[Filtered]\n" in out.read_text()
    assert "GET /fast" in Path(f"{out}.jsonl").read_text()


def test_a_slow_simple_exporter_delays_no_request(tmp_path: Path) -> None:
    """OpenTelemetry would export on the thread that ends the span, which is the event loop's here."""
    given = [{"simple": {"exporter": {"noter": {"path": str(tmp_path / "out"), "seconds": 1.0}}}}]
    with serve(write_config(tmp_path, traces=given), pythonpath=[plugin(tmp_path)]) as server:
        started = time.monotonic()
        for _ in range(10):
            assert server.get("/fast").status_code == 200
        assert time.monotonic() - started < 5.0  # ten exports take ten seconds
        assert server.terminate(timeout=4.0) < 3.0


@pytest.mark.parametrize(
    ("exporter", "words"),
    [
        ({"nowhere": {}}, "nowhere"),
        ({"otlp_file/nowhere": {}}, "nowhere"),
    ],
)
def test_an_unknown_exporter_is_an_error(exporter: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words), traced(options("batch", exporter=exporter)):
        pass


# -- pins of private names: the table is in test_private_names.py ---------------------------------------------


def span_model(processor: dict[str, Any]) -> Any:
    return _dict_to_model({"file_format": "1.1", "tracer_provider": {"processors": [processor]}})


def test_an_exporter_can_be_created_without_its_processor() -> None:
    """`_create_span_exporter` and `_create_log_record_exporter` take the part of the model below a processor."""
    component: Any = {"simple": {"exporter": {"console": {}}}}
    spans = span_model(component).tracer_provider.processors[0].simple.exporter
    assert isinstance(_create_span_exporter(spans), ConsoleSpanExporter)
    model: Any = _dict_to_model({"file_format": "1.1", "logger_provider": {"processors": [component]}})
    logs = model.logger_provider.processors[0].simple.exporter
    assert isinstance(_create_log_record_exporter(logs), ConsoleLogRecordExporter)


def test_a_metric_exporter_can_be_created_without_its_reader() -> None:
    """`_create_push_metric_exporter` takes the exporter of a periodic reader, with its preferences."""
    reader: Any = {"periodic": {"exporter": {"console": {"temporality_preference": "delta"}}}}
    model: Any = _dict_to_model({"file_format": "1.1", "meter_provider": {"readers": [reader]}})
    exporter = _create_push_metric_exporter(model.meter_provider.readers[0].periodic.exporter)
    assert isinstance(exporter, ConsoleMetricExporter)
    assert (exporter._preferred_temporality or {})[Counter] is AggregationTemporality.DELTA


def test_a_batch_processor_has_a_shutdown_with_a_time_bound() -> None:
    """`_batch_processor` of both processors, and its `shutdown(timeout_millis)`."""
    assert "timeout_millis" in inspect.signature(BatchProcessor.shutdown).parameters
    for kind in (BatchSpanProcessor, BatchLogRecordProcessor):
        assert "timeout_millis" not in inspect.signature(kind.shutdown).parameters, "the public one will do"
        assert "self._batch_processor" in inspect.getsource(kind.__init__)


def test_on_ending_reaches_processors() -> None:
    """The SDK calls `_on_ending` on each processor, so wrappers pass it on."""
    heard: list[str] = []

    class Listening(SpanProcessor):
        def _on_ending(self, span: Any) -> None:
            heard.append(span.name)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Listening())
    provider.get_tracer("test").start_span("one").end()
    assert heard == ["one"]
    assert not hasattr(LogRecordProcessor, "_on_ending")


def test_a_reader_asks_an_exporter_for_its_preferences() -> None:
    """Under the names `_preferred_temporality` and `_preferred_aggregation`."""
    source = inspect.getsource(PeriodicExportingMetricReader.__init__)
    assert "exporter._preferred_temporality" in source
    assert "exporter._preferred_aggregation" in source


@pytest.mark.parametrize("kind", ["batch", "simple"])
@pytest.mark.parametrize("protocol", ["otlp_http", "otlp_grpc"])
def test_success_is_what_was_accepted(protocol: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """OpenTelemetry's own exporters, which ignore answers, are believed no more than ours."""
    with OtlpReceiver(grpc=True) as receiver:
        http = {"endpoint": f"{receiver.endpoint}/v1/traces"}
        exporter = {protocol: http if protocol == "otlp_http" else {"endpoint": receiver.grpc_endpoint}}
        with traced(options(kind, exporter=exporter)) as (provider, (used,)):
            make_spans(provider, 1)
            assert used.flush(5.0)
            receiver.answer = b"\x0a\x0b\x08\x01\x12\x07too old"
            make_spans(provider, 1)
            assert not used.flush(5.0)
            assert caplog.messages == [f"{protocol} rejected a part of what it accepted: 1 spans (too old)"]
            receiver.answer, receiver.status = None, 302
            make_spans(provider, 1)
            assert not used.flush(5.0)
