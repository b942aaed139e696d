"""OpenTelemetry's own processors, ``batch`` and ``simple``, with the exporters that it knows or finds by entry point.

A plain configuration file without anything of ours works through this. What a span would tell that is private is
masked here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Upstream builds a processor from its part of the file in these functions and only as part of a whole provider,
# where one that fails or hangs takes the others along; a test pins them.
from opentelemetry.configuration._logger_provider import _create_log_record_exporter, _create_log_record_processor
from opentelemetry.configuration._tracer_provider import _create_span_exporter, _create_span_processor
from opentelemetry.configuration.file._loader import _dict_to_model

from brain_otel.destinations.destination import Destination
from brain_otel.destinations.outage_log import FAILURES, FailureLogger
from brain_otel.destinations.probe import send_probe
from brain_otel.privacy import masked_url
from brain_otel.privacy.processors import MaskingLogRecordProcessor, MaskingSpanProcessor

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LogRecordProcessor
    from opentelemetry.sdk.trace import SpanProcessor

    from brain_otel.configuration.options import Options
    from brain_otel.configuration.settings import Settings

SIGNALS = ("traces", "logs")


def create_destination(options: Options, settings: Settings) -> Destination:  # noqa: ARG001
    """A processor as OpenTelemetry's ``configure_sdk`` would make it.

    Raises:
        ConfigurationError: the exporter is unknown, or its package is not installed.
    """
    kind = "batch" if options.name == "batch" else "simple"
    name = _exporter(options)[0]
    spans: SpanProcessor | None = None
    logs: LogRecordProcessor | None = None
    try:
        if options.signal == "traces":
            spans = _create_span_processor(_model("tracer_provider", kind, options).tracer_provider.processors[0])
        else:
            logs = _create_log_record_processor(
                _model("logger_provider", kind, options).logger_provider.processors[0]
            )
    except Exception as error:
        allowed = "otlp_http, otlp_grpc, console, or an installed plugin, with what it takes"
        raise options.failure(error, allowed) from None
    processor: Any = spans or logs
    told = FailureLogger(_exporter_of(processor), f"{name}: {options.signal}", FAILURES[options.signal])
    return Destination(
        name=name,
        span_processor=MaskingSpanProcessor(spans) if spans is not None else None,
        log_record_processor=MaskingLogRecordProcessor(logs) if logs is not None else None,
        flush=lambda timeout: told.flushed(processor.force_flush(int(timeout * 1000))),
        shutdown=lambda _timeout: processor.shutdown(),
        may_block=kind == "simple",
    )


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The exporter and its endpoint."""
    name, given = _exporter(options)
    endpoint = given.get("endpoint")
    return f"{name} to {masked_url(str(endpoint))}" if endpoint else name


def probe(options: Options, settings: Settings, timeout: float) -> str | None:
    """Send one test span or log record; what was delivered, None where it would only be printed or written.

    Raises:
        DeliveryError: it did not arrive.
    """
    if _exporter(options)[0] not in ("otlp_http", "otlp_grpc"):
        return None
    kind = "batch" if options.name == "batch" else "simple"
    if options.signal == "traces":
        span_exporter = getattr(_model("tracer_provider", kind, options).tracer_provider.processors[0], kind).exporter
        return send_probe(_create_span_exporter(span_exporter), options.signal, settings, timeout)
    log_exporter = getattr(_model("logger_provider", kind, options).logger_provider.processors[0], kind).exporter
    return send_probe(_create_log_record_exporter(log_exporter), options.signal, settings, timeout)


def _exporter_of(processor: Any) -> Any:
    """The exporter in a processor of the SDK's: for logs there is no public name; a test pins it."""
    batch = getattr(processor, "_batch_processor", processor)
    return getattr(batch, "_exporter", None) or batch.span_exporter


def _exporter(options: Options) -> tuple[str, dict[str, Any]]:
    exporter = options.values.get("exporter") or {}
    name, given = next(iter(exporter.items()), ("nothing", None))
    return str(name), given or {}


def _model(provider: str, kind: str, options: Options) -> Any:
    data = {"file_format": "1.1", provider: {"processors": [{kind: options.values}]}}
    return _dict_to_model(data)
