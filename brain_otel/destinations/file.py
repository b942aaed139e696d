"""A file: traces, logs and metrics as OTLP JSON lines, bounded in size by rotation.

Each line is one export request, as the
`file exporter's specification <https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>`_ has it; a
collector's ``otlpjsonfile`` receiver reads it. Several processes may write to one path.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
import weakref
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from brain_otel.destinations.batching import batch_options, create_batched
from brain_otel.guard import guarded

try:
    import fcntl
except ImportError:
    _LOCKS = False  # Windows: one process a file
else:
    _LOCKS = True

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.trace import ReadableSpan

    from brain_otel.destinations import Destination
    from brain_otel.options import Options
    from brain_otel.settings import Settings

SIGNALS = ("traces", "logs", "metrics")

MAX_BYTES = 100_000_000
"""Bytes of one file, at which it is rotated."""

BACKUPS = 5
"""Rotated files that are kept: ``path.1`` is the latest."""


LOCK_TIMEOUT = 5.0
"""Seconds to wait for another process that writes to the same file, or has been stopped while it does."""


class RotatingFile:
    """Appends lines to a file of at most ``max_bytes``; what is full becomes ``path.1``, and so on to ``backups``.

    Only its owner can read it. Every line is written under a lock that other processes respect too (of
    ``path.lock``), and is whole: one that could be written in part is taken back.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.backups = backups
        self._reset()
        # A hook cannot be taken back; it must not keep the file's object alive for ever.
        alive = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset(alive()))

    def _reset(self) -> None:
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Append ``line``, which ends with a newline; a folder that is missing is made.

        Raises:
            OSError: it cannot be written.
            ValueError: it is longer than a whole file may be.
        """
        if len(line) > self.max_bytes:
            raise ValueError(f"a line of {len(line)} bytes is longer than max_bytes, {self.max_bytes}")
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                if self._size() + len(line) > self.max_bytes:
                    self._rotate()
                self._append(line)

    def check(self) -> None:
        """See whether it could be written by this user, and make nothing: it would belong to who asked.

        Raises:
            OSError: it could not.
        """
        if self.path.exists():
            os.close(os.open(self.path, os.O_WRONLY | os.O_APPEND))
            return
        folder = next(each for each in self.path.absolute().parents if each.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and line and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # after what a process that was killed wrote of its last line
            left = memoryview(line)
            try:
                while left:
                    left = left[os.write(descriptor, left) :]
            except OSError:
                if len(left) < len(line):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not _LOCKS:
            yield
            return
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
            try:
                yield
            finally:
                # Not left to close(): a child forked meanwhile has a copy of the descriptor, and would hold the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _rotate(self) -> None:
        for number in range(self.backups, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self.path
            if newer.exists():
                newer.replace(older)
        if self.backups == 0:
            self.path.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
        else:
            return


def _reset(file: RotatingFile | None) -> None:
    if file is not None:
        file._reset()


class FileSpanExporter(SpanExporter):
    """Writes spans."""

    def __init__(self, file: RotatingFile) -> None:
        self._file = file

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write a line."""
        from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans

        _write(self._file, encode_spans, spans)
        return SpanExportResult.SUCCESS


class FileLogRecordExporter(LogRecordExporter):
    """Writes log records."""

    def __init__(self, file: RotatingFile) -> None:
        self._file = file

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Write a line."""
        from opentelemetry.exporter.otlp.json.common._log_encoder import encode_logs

        _write(self._file, encode_logs, batch)
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 10_000) -> bool:  # noqa: ARG002
        """Nothing waits."""
        return True

    def shutdown(self) -> None:
        """Nothing is open."""


class FileMetricExporter(MetricExporter):
    """Writes metrics."""

    def __init__(self, file: RotatingFile) -> None:
        super().__init__()
        self._file = file

    def export(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> MetricExportResult:
        """Write a line."""
        from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics

        _write(self._file, encode_metrics, metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        """Nothing waits."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is open."""


_EXPORTERS = {"traces": FileSpanExporter, "logs": FileLogRecordExporter, "metrics": FileMetricExporter}


def create_destination(options: Options, settings: Settings) -> Destination:
    """Write to the file at ``path``; ``max_bytes`` and ``backups`` bound what is kept.

    Raises:
        ConfigurationError: an option is wrong, or the file cannot be written.
    """
    file, batch = _read(options), batch_options(options)
    try:
        file.write(b"")
    except OSError as error:
        raise options.error("path", f"a file that can be written ({error.strerror})") from error
    return create_batched("file", options.signal, _EXPORTERS[options.signal](file), batch, settings)


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The path and the bounds."""
    file = _read(options)
    return f"{file.path}, {file.backups + 1} files of {file.max_bytes:,} bytes"


def probe(options: Options, settings: Settings, timeout: float) -> str:  # noqa: ARG001
    """See whether the file could be written; what was found.

    Raises:
        DeliveryError: it could not.
    """
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
        Path(path).absolute(),  # the application may change its folder
        max_bytes=options.integer("max_bytes", MAX_BYTES, 10_000, 1_000_000_000_000),
        backups=options.integer("backups", BACKUPS, 0, 1_000),
    )


def _write(file: RotatingFile, encode: Any, items: Any) -> None:
    """Write ``items`` as one line, or as several that each fit into a file; a single one that does not is lost."""
    waiting = [items]
    while waiting:
        batch = waiting.pop()
        line = _line(encode(batch).to_dict())
        if len(line) <= file.max_bytes:
            if line:
                file.write(line)
        elif len(parts := _parts(batch)) > 1:
            waiting += reversed(parts)
        else:
            with guarded(f"writing to {file.path}"):
                file.write(line)


def _parts(batch: Any) -> list[Any]:
    """``batch`` in smaller pieces; of metrics each by itself, then half of its points."""
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
            for points in _parts(metric.data.data_points)
        ]
    return [
        replace(
            batch,
            resource_metrics=[replace(of_resource, scope_metrics=[replace(of_scope, metrics=[metric])])],
        )
        for of_resource, of_scope, metric in found
    ]


def _line(encoded: dict[str, Any]) -> bytes:
    return json.dumps(encoded, separators=(",", ":"), allow_nan=False).encode() + b"\n" if encoded else b""
