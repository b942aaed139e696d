"""OTLP's requests become rows: https://opentelemetry.io/docs/specs/otlp/."""

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1 import trace_pb2

from brain_otel.viewer.grouping import group_of, title_of
from brain_otel.viewer.ingest.conventions import kind_of, level_of
from brain_otel.viewer.ingest.sentry_events import twin_of
from brain_otel.viewer.ingest.stacktraces import frames_of_text
from brain_otel.viewer.rows import FEEDBACK_EVENT, OTLP, Batch, Error, Json, Log, Span, as_json, clip, origin_fields

Request = TypeVar("Request", bound=Message)

MAX_DEPTH = 20
_FAILED = trace_pb2.Status.STATUS_CODE_ERROR
_ROOT_KINDS = (trace_pb2.Span.SPAN_KIND_SERVER, trace_pb2.Span.SPAN_KIND_CONSUMER)
_KINDS = {
    trace_pb2.Span.SPAN_KIND_SERVER: "server",
    trace_pb2.Span.SPAN_KIND_CLIENT: "client",
    trace_pb2.Span.SPAN_KIND_PRODUCER: "producer",
    trace_pb2.Span.SPAN_KIND_CONSUMER: "consumer",
}


def read_traces(body: bytes, *, is_json: bool) -> Batch:
    """The rows of a request to ``/v1/traces``.

    Raises:
        ValueError: the body is no such request.
    """
    batch = Batch()
    for group in _parsed(ExportTraceServiceRequest(), body, is_json).resource_spans:
        origin = _origin(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                _read_span(span, origin, batch)
    return batch


def read_logs(body: bytes, *, is_json: bool) -> Batch:
    """The rows of a request to ``/v1/logs``.

    Raises:
        ValueError: the body is no such request.
    """
    batch = Batch()
    for group in _parsed(ExportLogsServiceRequest(), body, is_json).resource_logs:
        origin = _origin(group.resource.attributes)
        for scope in group.scope_logs:
            for record in scope.log_records:
                _read_record(record, origin, batch)
    return batch


def read_metrics(body: bytes, *, is_json: bool) -> Batch:
    """Count the metrics of a request to ``/v1/metrics``; they are not kept.

    Raises:
        ValueError: the body is no such request.
    """
    batch = Batch()
    for group in _parsed(ExportMetricsServiceRequest(), body, is_json).resource_metrics:
        batch.accept("metric", sum(len(scope.metrics) for scope in group.scope_metrics))
    return batch


def _parsed(request: Request, body: bytes, is_json: bool) -> Request:
    try:
        if not is_json:
            request.ParseFromString(body)
            return request
        value = json.loads(body)
        if not isinstance(value, dict):
            raise ValueError("expected a JSON object")
        return ParseDict(_with_binary_ids(value), request, ignore_unknown_fields=True, max_recursion_depth=100)
    except (DecodeError, ParseError, RecursionError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise ValueError(f"not an OTLP request: {error!s:.200}") from error


_IDS = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")


def _with_binary_ids(value: Any) -> Any:
    """OTLP writes ids in hexadecimal digits, where protobuf's JSON expects base64."""
    if isinstance(value, list):
        return [_with_binary_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(each)).decode()
        if key in _IDS and isinstance(each, str)
        else _with_binary_ids(each)
        for key, each in value.items()
    }


def _attributes(pairs: Iterable[KeyValue]) -> Json:
    return {clip(each.key, 200): _value(each.value) for each in pairs}


def _value(value: AnyValue, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or depth > MAX_DEPTH:
        return None
    if kind == "array_value":
        return [_value(each, depth + 1) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: _value(each.value, depth + 1) for each in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)


def _origin(attributes: Iterable[KeyValue]) -> dict[str, str]:
    resource = _attributes(attributes)
    environment = resource.get("deployment.environment.name") or resource.get("deployment.environment")
    return origin_fields(resource.get("service.name"), environment, resource.get("service.version"))


def _read_span(span: trace_pb2.Span, origin: dict[str, str], batch: Batch) -> None:
    trace, span_id = span.trace_id.hex(), span.span_id.hex()
    start, end = span.start_time_unix_nano // 1_000, span.end_time_unix_nano // 1_000
    if len(trace) != 32 or len(span_id) != 16 or not 0 < start < 1e17 or not start <= end < 1e17:
        batch.drop("span", "damaged")
        return
    data = _attributes(span.attributes)
    op = _op(span, data)
    is_root = span.kind in _ROOT_KINDS or not span.parent_span_id
    events: list[Json] = [
        {"name": clip(each.name), "at": each.time_unix_nano // 1_000, "data": _attributes(each.attributes)}
        for each in span.events[:128]
    ]
    user = _user(data)
    row = Span(
        trace=trace,
        span=span_id,
        parent=span.parent_span_id.hex(),
        **origin,
        name=_name(span, data),
        op=op,
        kind=kind_of(op, data),
        start=start,
        duration=end - start,
        failed=int(span.status.code == _FAILED),
        root=int(is_root),
        user=user,
        source=OTLP,
        data=as_json({**data, **({"status.message": span.status.message} if span.status.message else {})}),
        events=as_json(events),
    )
    batch.spans.append(row)
    batch.accept("span")
    if is_root:
        batch.accept("transaction")
        batch.represented += 1
    for event in events:
        if event["name"] == "exception":
            _read_exception(event["data"], event["at"], row, origin, batch)


def _op(span: trace_pb2.Span, data: Json) -> str:
    kind = _KINDS.get(span.kind, "")
    if data.get("db.system.name") or data.get("db.system"):
        return "db"
    if data.get("http.request.method") or data.get("http.method"):
        return f"http.{kind}" if kind else "http"
    if data.get("messaging.system"):
        return f"queue.{kind}" if kind else "queue"
    return kind or "default"


def _name(span: trace_pb2.Span, data: Json) -> str:
    if span.kind == trace_pb2.Span.SPAN_KIND_SERVER:
        method = data.get("http.request.method") or data.get("http.method")
        route = data.get("http.route")
        if method and route:
            return clip(f"{method} {route}")
    return clip(data.get("db.query.text") or data.get("db.statement") or span.name)


def _user(data: Json) -> str:
    return clip(
        next((data[key] for key in ("user.id", "enduser.id", "user.email", "user.name") if data.get(key)), ""), 200
    )


def _read_exception(data: Json, at: int, span: Span, origin: dict[str, str], batch: Batch) -> None:
    event = {**_event_of(data, at), "contexts": {"span": json.loads(span.data)}}
    place = {"trace": span.trace, "span": span.span, "user": span.user, "culprit": span.name if span.root else ""}
    _add_error(event, data, {"at": at, **place}, origin, batch)


def _event_of(data: Json, at: int) -> Json:
    text = str(data.get("exception.stacktrace") or "")
    value: Json = {"type": data.get("exception.type"), "value": data.get("exception.message")}
    if frames := frames_of_text(text):
        value["stacktrace"] = {"frames": frames}
    return {"timestamp": at / 1e6, "exception": {"values": [value]}, "stacktrace_text": text[:50_000]}


def _add_error(event: Json, data: Json, place: Json, origin: dict[str, str], batch: Batch) -> None:
    fields = {**place, **origin}
    title, given = title_of(event), data.get("sentry.event_id") or data.get("brain_otel.event_id")
    key = f"{place['trace'], place['span']}{place['at']}{title}".encode("utf-8", "replace")
    batch.errors.append(
        Error(
            event_id=clip(given or hashlib.blake2b(key, digest_size=16).hexdigest(), 64),
            **fields,
            level=event.get("level", "error"),
            title=clip(title),
            group=group_of(event),
            twin=twin_of(place["trace"], event),
            source=OTLP,
            body={**event, **origin},
        )
    )
    batch.accept("error")


def _read_record(record: LogRecord, origin: dict[str, str], batch: Batch) -> None:
    at = (record.time_unix_nano or record.observed_time_unix_nano) // 1_000
    if not 0 < at < 1e17:
        batch.drop("log", "damaged")
        return
    data = _attributes(record.attributes)
    if record.event_name == FEEDBACK_EVENT:
        data = {FEEDBACK_EVENT: data.get("brain_otel.event_id") or "", **data}
    body = _value(record.body)
    message = body if isinstance(body, str) else as_json(body, 8_192) if body is not None else record.event_name
    trace, span = record.trace_id.hex(), record.span_id.hex()
    level = level_of(record.severity_number)
    batch.logs.append(
        Log(
            at=at,
            trace=trace,
            span=span,
            **origin,
            level=level,
            severity=record.severity_number or 9,
            message=clip(message or data.get("exception.message"), 8_192),
            data=as_json(data),
        )
    )
    batch.accept("log")
    if data.get("exception.type"):
        event = {**_event_of(data, at), "level": level, "extra": data}
        place = {"at": at, "trace": trace, "span": span, "user": _user(data), "culprit": ""}
        _add_error(event, data, place, origin, batch)
