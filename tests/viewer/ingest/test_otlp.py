"""OTLP's requests become rows, in protobuf and in JSON."""

import base64
import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from brain_otel.viewer.ingest.envelopes import read_envelope
from brain_otel.viewer.ingest.otlp import read_logs, read_metrics, read_traces
from brain_otel.viewer.rows import Category
from tests.support.viewer import attributes, envelope, error, otlp_span, otlp_traces

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NOW = 1_700_000_000.5


def server_span(**more: Any) -> dict[str, Any]:
    given = attributes({"http__request__method": "GET", "http__route": "/a/{b}", "user__id": "ada"})
    return otlp_span("GET", trace=TRACE, span=SPAN, kind=2, start=NOW, seconds=0.25, attributes=given, **more)


def test_protobuf_and_json_are_the_same_rows() -> None:
    """Ids are hexadecimal in OTLP's JSON, unlike in protobuf's."""
    request = otlp_traces([server_span()], service__name="shop", service__version="1.2")
    in_json = read_traces(json.dumps(request).encode(), is_json=True)
    (span,) = in_json.spans
    for each in request["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId", "parentSpanId"):
            each[key] = base64.b64encode(bytes.fromhex(each[key])).decode()
    body = ParseDict(request, ExportTraceServiceRequest()).SerializeToString()
    assert read_traces(body, is_json=False) == in_json
    assert (span.trace, span.span, span.name, span.op) == (TRACE, SPAN, "GET /a/{b}", "http.server")
    assert (span.start, span.duration, span.root) == (1_700_000_000_500_000, 250_000, 1)
    assert (span.service, span.release, span.user) == ("shop", "1.2", "ada")


TRACEBACK = """Traceback (most recent call last):
  File "/srv/.venv/lib/python3.11/site-packages/lib/server.py", line 5, in serve
    handle()
  File "/srv/app/main.py", line 7, in work
    raise ValueError("no")
ValueError: no
"""


def test_an_exception_is_an_error_in_the_same_issue_as_sentrys() -> None:
    """And it is the same failure, if the trace is the same."""
    exception = {"exception__type": "ValueError", "exception__message": "no", "exception__stacktrace": TRACEBACK}
    event = {"name": "exception", "timeUnixNano": str(int(NOW * 1e9)), "attributes": attributes(exception)}
    body = json.dumps(otlp_traces([server_span(events=[event])])).encode()
    (found,) = read_traces(body, is_json=True).errors
    sentrys = error("ValueError", "no", contexts={"trace": {"trace_id": TRACE, "span_id": SPAN}})
    (other,) = read_envelope(envelope([("event", sentrys)])).errors
    assert (found.title, found.group, found.twin) == (other.title, other.group, other.twin)
    assert found.twin


def log_request(**record: Any) -> bytes:
    record = {"timeUnixNano": str(int(NOW * 1e9)), "body": {"stringValue": "hello"}, **record}
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()


@pytest.mark.parametrize(
    ("severity", "level"), [(0, "info"), (5, "debug"), (9, "info"), (13, "warning"), (17, "error"), (24, "fatal")]
)
def test_a_log_record_has_a_level(severity: int, level: str) -> None:
    (line,) = read_logs(log_request(severityNumber=severity), is_json=True).logs
    assert (line.level, line.message, line.at) == (level, "hello", 1_700_000_000_500_000)


def test_a_log_record_of_an_exception_is_an_error_too() -> None:
    given = attributes({"exception__type": "ValueError", "exception__message": "no"})
    batch = read_logs(log_request(attributes=given, traceId=TRACE, spanId=SPAN, severityNumber=17), is_json=True)
    assert [(each.title, each.level, each.span) for each in batch.errors] == [("ValueError: no", "error", SPAN)]


@pytest.mark.parametrize(
    "more", [{"traceId": "00"}, {"spanId": ""}, {"endTimeUnixNano": "1"}, {"startTimeUnixNano": "0"}]
)
def test_a_damaged_span_is_counted_and_the_next_is_kept(more: dict[str, Any]) -> None:
    body = json.dumps(otlp_traces([{**server_span(), **more}, server_span()])).encode()
    batch = read_traces(body, is_json=True)
    assert len(batch.spans) == 1
    assert batch.counts[Category("span", "dropped", "viewer", "damaged")] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"resourceSpans": 3}',
        b"[" * 100_000,
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}',
    ],
)
def test_what_is_no_request_is_rejected(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_traces(body, is_json=True)
    with pytest.raises(ValueError, match=r".*"):
        read_traces(b"\xff" + body, is_json=False)


def test_metrics_are_counted() -> None:
    metrics = [{"name": "a", "gauge": {"dataPoints": []}}, {"name": "b"}]
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).encode()
    assert read_metrics(body, is_json=True).counts == {Category("metric", "accepted", "", ""): 2}
