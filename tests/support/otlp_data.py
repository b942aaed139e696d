"""OTLP export requests as plain typed objects: ids in hexadecimal, attributes as Python values.

`read_lines` parses a file of OTLP JSON lines.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Attributes = dict[str, Any]

#: The request, the response and the gRPC service of each signal.
KINDS: dict[str, tuple[Any, Any, str]] = {
    "traces": (ExportTraceServiceRequest, ExportTraceServiceResponse, "trace.v1.TraceService"),
    "logs": (ExportLogsServiceRequest, ExportLogsServiceResponse, "logs.v1.LogsService"),
    "metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse, "metrics.v1.MetricsService"),
}

_SPAN_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUS_CODES = ("unset", "ok", "error")


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a span. The time is in nanoseconds."""

    name: str
    time: int
    attributes: Attributes


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span. A root's `parent_span_id` is empty; times are in nanoseconds; links are `<trace id>-<span id>`."""

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    kind: str
    status: str
    status_description: str
    attributes: Attributes
    events: list[Event]
    links: list[str]
    start_time: int
    end_time: int
    scope: str
    resource: Attributes


@dataclass(frozen=True, kw_only=True)
class LogRecord:
    """A log record. Without a span, its ids are empty."""

    body: Any
    severity: str
    severity_number: int
    trace_id: str
    span_id: str
    attributes: Attributes
    scope: str
    resource: Attributes


@dataclass(frozen=True, kw_only=True)
class Point:
    """A data point: a value and its attributes. For a histogram, the sum and the count of the measurements."""

    attributes: Attributes
    value: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric. Its kind is `gauge`, `sum`, `histogram` or `exponential_histogram`."""

    name: str
    unit: str
    kind: str
    points: list[Point]
    scope: str
    resource: Attributes


def spans_of(message: Any) -> list[Span]:
    """Return the spans of an `ExportTraceServiceRequest`."""
    return [
        Span(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_span_id=span.parent_span_id.hex(),
            kind=_SPAN_KINDS[span.kind],
            status=_STATUS_CODES[span.status.code],
            status_description=span.status.message,
            attributes=_attributes(span.attributes),
            events=[
                Event(name=each.name, time=each.time_unix_nano, attributes=_attributes(each.attributes))
                for each in span.events
            ],
            links=[f"{each.trace_id.hex()}-{each.span_id.hex()}" for each in span.links],
            start_time=span.start_time_unix_nano,
            end_time=span.end_time_unix_nano,
            scope=scope,
            resource=resource,
        )
        for span, scope, resource in _items(message.resource_spans, "scope_spans", "spans")
    ]


def log_records_of(message: Any) -> list[LogRecord]:
    """Return the log records of an `ExportLogsServiceRequest`."""
    return [
        LogRecord(
            body=_value(record.body),
            severity=record.severity_text,
            severity_number=record.severity_number,
            trace_id=record.trace_id.hex(),
            span_id=record.span_id.hex(),
            attributes=_attributes(record.attributes),
            scope=scope,
            resource=resource,
        )
        for record, scope, resource in _items(message.resource_logs, "scope_logs", "log_records")
    ]


def metrics_of(message: Any) -> list[Metric]:
    """Return the metrics of an `ExportMetricsServiceRequest`."""
    found = []
    for metric, scope, resource in _items(message.resource_metrics, "scope_metrics", "metrics"):
        kind = metric.WhichOneof("data") or ""
        points = [_point(each) for each in getattr(metric, kind).data_points] if kind else []
        found.append(
            Metric(name=metric.name, unit=metric.unit, kind=kind, points=points, scope=scope, resource=resource)
        )
    return found


def read_lines(*paths: Path) -> list[Any]:
    """Parse OTLP JSON lines as export requests; fail for a torn line or one that is not OTLP."""
    requests = []
    for path in paths:
        text = path.read_text()
        assert not text or text.endswith("\n"), f"the last line of {path} is torn"
        for line in text.splitlines():
            data = json.loads(line)
            (key,) = data
            signal = {"resourceSpans": "traces", "resourceLogs": "logs", "resourceMetrics": "metrics"}[key]
            requests.append(ParseDict(_with_base64_ids(data), KINDS[signal][0]()))
    return requests


def _with_base64_ids(value: Any) -> Any:
    """Convert ids: OTLP JSON writes them in hexadecimal, Protobuf's own JSON in base64."""
    if isinstance(value, list):
        return [_with_base64_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64encode(bytes.fromhex(each)).decode() if key in ids else _with_base64_ids(each)
        for key, each in value.items()
    }


def _items(resources: Iterable[Any], scopes: str, items: str) -> Iterator[tuple[Any, str, Attributes]]:
    for each in resources:
        resource = _attributes(each.resource.attributes)
        for scope in getattr(each, scopes):
            for item in getattr(scope, items):
                yield item, scope.scope.name, resource


def _point(point: Any) -> Point:
    attributes = _attributes(point.attributes)
    if hasattr(point, "count"):
        return Point(attributes=attributes, value=point.sum, count=point.count)
    value = point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
    return Point(attributes=attributes, value=float(value), count=1)


def _attributes(pairs: Iterable[Any]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
