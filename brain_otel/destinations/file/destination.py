"""Writes traces, logs and metrics to a rotating file as OTLP JSON lines.

Each line is one export request, as in the
`specification of the file exporter <https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>`_. The
collector's ``otlpjsonfile`` receiver reads such files. Several processes may write to one path.
"""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExportResult

from brain_otel.configuration.options import Options, Signal
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.batching import batch_options, create_batched
from brain_otel.destinations.destination import Destination, Unqueued
from brain_otel.destinations.file.rotating_file import RotatingFile
from brain_otel.runtime.guard import guarded

SIGNALS = ("traces", "logs", "metrics")

MAX_BYTES = 100_000_000
"""Bytes at which a file is rotated."""

BACKUPS = 5
"""Rotated files that are kept; ``path.1`` is the latest."""


_ENCODERS: dict[Signal, tuple[str, str, Any]] = {
    "traces": ("trace_encoder", "encode_spans", SpanExportResult.SUCCESS),
    "logs": ("_log_encoder", "encode_logs", LogRecordExportResult.SUCCESS),
    "metrics": ("metrics_encoder", "encode_metrics", MetricExportResult.SUCCESS),
}
"""Module of upstream's encoder, its function, and the result to return; for logs no module is public yet."""


class FileExporter(Unqueued, MetricExporter):
    """Writes spans, log records or metrics to a file. A metric reader asks more of an exporter than the others do."""

    def __init__(self, file: RotatingFile, signal: Signal) -> None:
        super().__init__()
        self._file = file
        self._module, self._encode, self._success = _ENCODERS[signal]

    def export(self, batch: Any, timeout_millis: float = 10_000, **kwargs: Any) -> Any:  # type: ignore[override]  # noqa: ARG002
        """Write ``batch`` as one line, or as several lines that each fit into a file.

        A single item that is longer than a file is lost, with a line in the log.
        """
        module = importlib.import_module(f"opentelemetry.exporter.otlp.json.common.{self._module}")
        encode = getattr(module, self._encode)
        batches = [batch]
        while batches:
            each = batches.pop()
            line = _line(encode(each).to_dict())
            if len(line) <= self._file.max_bytes:
                if line:
                    self._file.write(line)
            elif len(parts := _split(each)) > 1:
                batches += reversed(parts)
            else:
                with guarded(f"writing to {self._file.path}"):
                    self._file.write(line)
        return self._success


def create_destination(options: Options, settings: Settings) -> Destination:  # noqa: ARG001
    """Create the destination that writes to ``path``, at most ``backups`` + 1 files of ``max_bytes``."""
    file, batch = _read(options), batch_options(options)
    try:
        file.write(b"")
    except OSError as error:
        raise options.error("path", f"a file that can be written ({error.strerror})") from error
    return create_batched("file", options.signal, FileExporter(file, options.signal), batch)


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The path and the limits."""
    file = _read(options)
    return f"{file.path}, {file.backups + 1} files of {file.max_bytes:,} bytes"


def probe(options: Options, settings: Settings, timeout: float) -> str:  # noqa: ARG001
    """Check whether the file can be written, without creating it."""
    from brain_otel.delivery import DeliveryError

    file = _read(options)
    try:
        file.check()
    except OSError as error:
        raise DeliveryError(f"{file.path} cannot be written ({error.strerror})") from error
    return f"{file.path} can be written"


def _read(options: Options) -> RotatingFile:
    path = options.text("path")
    if not path:
        raise options.error("path", "a file's path")
    return RotatingFile(
        Path(path).absolute(),  # the application may change its working directory
        max_bytes=options.integer("max_bytes", MAX_BYTES, 10_000, 1_000_000_000_000),
        backups=options.integer("backups", BACKUPS, 0, 1_000),
    )


def _split(batch: Any) -> list[Any]:
    """``batch`` in smaller batches: halves of spans or log records, single metrics, halves of a metric's points."""
    if isinstance(batch, (list, tuple)):
        middle = len(batch) // 2
        return [batch[:middle], batch[middle:]] if middle else [batch]
    found = [
        (of_resource, of_scope, metric)
        for of_resource in batch.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    ]
    if len(found) == 1:
        of_resource, of_scope, metric = found[0]
        found = [
            (of_resource, of_scope, replace(metric, data=replace(metric.data, data_points=points)))
            for points in _split(metric.data.data_points)
        ]
    return [
        replace(batch, resource_metrics=[replace(of_resource, scope_metrics=[replace(of_scope, metrics=[metric])])])
        for of_resource, of_scope, metric in found
    ]


def _line(encoded: dict[str, Any]) -> bytes:
    return json.dumps(encoded, separators=(",", ":"), allow_nan=False).encode() + b"\n" if encoded else b""
