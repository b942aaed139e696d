"""Creates a destination from one of OpenTelemetry's exporters: masked, in batches, with outages logged once."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from brain_otel.configuration.options import Options, Signal
from brain_otel.destinations.destination import Destination

MAX_QUEUE_SIZE = 2_048
"""Spans or log records in the queue; OpenTelemetry drops the oldest beyond it and logs that it did."""

SCHEDULE_DELAY = 1_000
"""Milliseconds between two batches, unless one is full before."""

MAX_EXPORT_BATCH_SIZE = 512


def batch_options(options: Options) -> dict[str, Any]:
    """Read the options ``schedule_delay`` (milliseconds), ``max_queue_size`` and ``max_export_batch_size``.

    Metrics have none of them, because their reader has an interval in the file.

    Raises:
        ConfigurationError: one of them is wrong, or the file gives an option that the destination did not read.
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
    """Create the destination that hands masked batches of ``signal`` to ``exporter``, on a thread of its own.

    ``batch`` are keyword arguments of OpenTelemetry's batch processor. Metrics come in batches already.
    """
    if signal == "metrics":
        from brain_otel.destinations.outage_log import FailureLogger  # not for a destination that is off
        from brain_otel.privacy.processors import mask_metrics_of

        mask_metrics_of(exporter)
        failures = FailureLogger(exporter, name, signal)
        return Destination(name=name, metric_exporter=exporter, flush=lambda _timeout: failures.flushed(True))
    processor = (BatchSpanProcessor if signal == "traces" else BatchLogRecordProcessor)(exporter, **batch)
    return create_masked(name, signal, exporter, processor, may_block=False)


def create_masked(name: str, signal: Signal, exporter: Any, processor: Any, *, may_block: bool) -> Destination:
    """Create the destination that hands masked spans or log records to OpenTelemetry's ``processor``."""
    from brain_otel.destinations.outage_log import FailureLogger
    from brain_otel.privacy.processors import MaskingLogRecordProcessor, MaskingSpanProcessor

    failures = FailureLogger(exporter, name, signal)
    return Destination(
        name=name,
        span_processor=MaskingSpanProcessor(processor) if signal == "traces" else None,
        log_record_processor=MaskingLogRecordProcessor(processor) if signal == "logs" else None,
        flush=lambda timeout: failures.flushed(processor.force_flush(int(timeout * 1000))),
        shutdown=lambda timeout: _shut_down(processor, timeout),
        may_block=may_block,
    )


def _shut_down(processor: Any, timeout: float) -> None:
    # The public method has no time bound; the one behind it has.
    batch_processor = getattr(processor, "_batch_processor", None)
    if batch_processor is None:
        processor.shutdown()
    else:
        batch_processor.shutdown(int(timeout * 1000))
