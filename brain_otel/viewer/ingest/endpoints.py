"""The addresses to which SDKs send. An answer of 200 means that the rows are in the file."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from brain_otel.viewer.ingest.bodies import BodyError, read_body
from brain_otel.viewer.ingest.envelopes import read_envelope
from brain_otel.viewer.ingest.otlp import read_logs, read_metrics, read_traces
from brain_otel.viewer.rows import Batch, Category
from brain_otel.viewer.store.writer import FullError, Writer

MAX_READING = 8
"""Bodies that are in memory at once; more wait."""

_LOCAL = 20_000
"""Bytes of a body that is read at once instead of on another thread, which would cost more."""

_PROTOBUF = "application/x-protobuf"
_RESPONSES: dict[str, type[Message]] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}


class Ingest:
    """Reads bodies and hands their rows to the writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._reading = asyncio.Semaphore(MAX_READING)

    def routes(self) -> list[Route]:
        """The addresses of Sentry's and of OpenTelemetry's protocol."""
        methods = ["POST"]
        return [
            Route("/api/{project:int}/envelope/", self.take_envelope, methods=methods),
            Route("/api/{project:int}/envelope", self.take_envelope, methods=methods),
            Route("/stream", self.take_envelope, methods=methods),
            Route("/v1/{signal}", self.take_otlp, methods=methods),
        ]

    async def take_envelope(self, request: Request) -> Response:
        """Take what one of Sentry's SDKs sends."""
        await self._taken(request, read_envelope, "other")
        return JSONResponse({})

    async def take_otlp(self, request: Request) -> Response:
        """Take traces, logs or metrics."""
        signal = request.path_params["signal"]
        if signal not in _RESPONSES:
            return PlainTextResponse("allowed: /v1/traces, /v1/logs, /v1/metrics", 404)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in (_PROTOBUF, "application/json"):
            return PlainTextResponse(f"allowed: {_PROTOBUF}, application/json", 415)
        is_json = kind != _PROTOBUF
        read = {"traces": read_traces, "logs": read_logs, "metrics": read_metrics}[signal]
        category = {"traces": "span", "logs": "log", "metrics": "metric"}[signal]
        batch = await self._taken(request, lambda body: read(body, is_json=is_json), category)
        rejected = batch.counts[Category(category, "dropped", "viewer", "damaged")]
        return _otlp_answer(signal, rejected, is_json)

    async def _taken(self, request: Request, read: Callable[[bytes], Batch], category: str) -> Batch:
        async with self._reading:
            try:
                body = await read_body(request)
                batch = read(body) if len(body) <= _LOCAL else await run_in_threadpool(read, body)
            except BodyError as error:
                self._writer.count_lost(category, error.reason)
                raise
            except ValueError:
                self._writer.count_lost(category, "damaged")
                raise BodyError(400, "damaged") from None
        try:
            await asyncio.wrap_future(self._writer.submit(batch))
        except FullError as error:
            raise BodyError(429, str(error)) from None
        except sqlite3.Error as error:
            raise BodyError(503, f"the viewer cannot write its file: {error}") from None
        return batch


def answer_to(_: Request, error: Any) -> Response:
    """The answer to a sender whose body is not taken, for now or ever."""
    headers = {"Retry-After": "2"} if error.status in (429, 503) else {}
    return PlainTextResponse(error.reason, error.status, headers)


def _otlp_answer(signal: str, rejected: int, is_json: bool) -> Response:
    field = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}[signal]
    partial = {"partialSuccess": {field: str(rejected), "errorMessage": "damaged"}} if rejected else {}
    if is_json:
        return JSONResponse(partial)
    message = _RESPONSES[signal]()
    if rejected:
        from google.protobuf.json_format import ParseDict

        ParseDict(partial, message)
    return Response(message.SerializeToString(), media_type=_PROTOBUF)
