"""An exporter of OpenTelemetry's as a destination: in batches, on a thread of its own, bounded in number and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from brain_otel.destinations.destination import Destination
from brain_otel.destinations.outage_log import FAILURES, FailureLogger
from brain_otel.privacy.processors import MaskingLogRecordProcessor, MaskingSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.configuration.options import Options, Signal

MAX_QUEUE_SIZE = 2_048
"""Spans or log records that may wait; the oldest go first beyond it, and OpenTelemetry logs that they did."""

SCHEDULE_DELAY = 1_000
"""Milliseconds between two batches, unless one is full before."""

MAX_EXPORT_BATCH_SIZE = 512


def batch_options(options: Options) -> dict[str, Any]:
    """The options ``schedule_delay`` (milliseconds), ``max_queue_size`` and ``max_export_batch_size``.

    For metrics there are none: the reader in the file has the times.

    Raises:
        ConfigurationError: one of them is wrong, or there is an option that nobody asked for.
    """
    batch: dict[str, Any] = {}
    if options.signal != "metrics":
        size = options.integer("max_queue_size", MAX_QUEUE_SIZE, 1, 1_000_000)
        batch = {
            "max_queue_size": size,
            "schedule_delay_millis": options.number("schedule_delay", SCHEDULE_DELAY, 1, 3_600_000),
            "max_export_batch_size": options.integer(
                "max_export_batch_size", min(MAX_EXPORT_BATCH_SIZE, size), 1, size
            ),
        }
    options.reject_others()
    return batch


def create_batched(name: str, signal: Signal, exporter: Any, batch: Mapping[str, Any]) -> Destination:
    """The destination that hands batches of ``signal`` to ``exporter``."""
    told = FailureLogger(exporter, f"{name}: {signal}", FAILURES[signal])
    if signal == "metrics":
        return Destination(
            name=name,
            metric_exporter=exporter,
            flush=lambda _timeout: told.flushed(True),
            shutdown=lambda _timeout: None,
        )
    if signal == "traces":
        spans = BatchSpanProcessor(exporter, **batch)
        return Destination(
            name=name,
            span_processor=MaskingSpanProcessor(spans),
            flush=lambda timeout: told.flushed(spans.force_flush(int(timeout * 1000))),
            shutdown=lambda timeout: _shut_down(spans, timeout),
            may_block=False,
        )
    logs = BatchLogRecordProcessor(exporter, **batch)
    return Destination(
        name=name,
        log_record_processor=MaskingLogRecordProcessor(logs),
        flush=lambda timeout: told.flushed(logs.force_flush(int(timeout * 1000))),
        shutdown=lambda timeout: _shut_down(logs, timeout),
        may_block=False,
    )


def _shut_down(processor: BatchSpanProcessor | BatchLogRecordProcessor, timeout: float) -> None:
    # The public method has no time bound; the one behind it has, and a test pins it.
    processor._batch_processor.shutdown(int(timeout * 1000))
