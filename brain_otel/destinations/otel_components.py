"""OpenTelemetry's own processors, ``batch`` and ``simple``, and its metric exporters, behind our mask and guard.

Their exporters are those that OpenTelemetry knows or finds by entry point, so a plain OpenTelemetry file works as it
is. They are created one by one: as part of a whole provider, one that fails or hangs would affect the others.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from brain_otel.configuration.options import Options, Signal
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.batching import create_batched, create_masked
from brain_otel.destinations.destination import Destination, UnsupportedReleaseError
from brain_otel.destinations.probe import send_probe
from brain_otel.privacy import masked_url
from brain_otel.runtime.guard import guarded

SIGNALS = ("traces", "logs")
"""What ``batch`` and ``simple`` take; a metric exporter goes by its own name."""

_PLACES: dict[Signal, tuple[str, str, str, str]] = {
    "traces": ("tracer_provider", "processors", "simple", "_tracer_provider._create_span_exporter"),
    "logs": ("logger_provider", "processors", "simple", "_logger_provider._create_log_record_exporter"),
    "metrics": ("meter_provider", "readers", "periodic", "_meter_provider._create_push_metric_exporter"),
}
"""Where an exporter stands in OpenTelemetry's file, and what creates it.

Provider, list, kind of its components; module of ``opentelemetry.configuration`` and function. The public function
creates whole global providers.
"""

_LOG_BATCH = {
    "max_queue_size": 2_048,
    "schedule_delay": 1_000.0,
    "max_export_batch_size": 512,
    "export_timeout": 30_000.0,
}
"""The specification's defaults. Without them, OpenTelemetry's log processor reads ``OTEL_BLRP_*``."""


def create_destination(options: Options, settings: Settings) -> Destination:  # noqa: ARG001
    """Create the processor or metric exporter that OpenTelemetry's ``configure_sdk`` would create."""
    name, signal = _name_and_values(options)[0], options.signal
    exporter = _create_exporter(options)
    if options.name == "simple":
        processor = (SimpleSpanProcessor if signal == "traces" else SimpleLogRecordProcessor)(exporter)
        return create_masked(name, signal, exporter, processor, may_block=True)
    try:
        return create_batched(name, signal, exporter, _batch_arguments(options))
    except Exception as error:
        raise options.failure(error, "what OpenTelemetry's batch processor takes") from None


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The exporter and its endpoint."""
    name, values = _name_and_values(options)
    endpoint = values.get("endpoint")
    return f"{name} to {masked_url(str(endpoint))}" if endpoint else name


def probe(options: Options, settings: Settings, timeout: float) -> str | None:
    """Send one test span, log record or metric; None if the exporter would only print or write it."""
    if _name_and_values(options)[0] not in ("otlp_http", "otlp_grpc"):
        return None
    return send_probe(_create_exporter(options), options.signal, settings, timeout)


def _name_and_values(options: Options) -> tuple[str, Mapping[str, Any]]:
    """The name and options of the exporter; a metric exporter has no processor around it."""
    if options.signal == "metrics":
        return options.name, options.values
    name, values = next(iter((options.values.get("exporter") or {}).items()), ("nothing", None))
    return str(name), values or {}


def _batch_arguments(options: Options) -> dict[str, Any]:
    if options.signal == "metrics":
        return {}
    given = {name: value for name in _LOG_BATCH if (value := options.values.get(name)) is not None}
    batch = given if options.signal == "traces" else {**_LOG_BATCH, **given}
    return {f"{name}_millis" if name in ("schedule_delay", "export_timeout") else name: batch[name] for name in batch}


def _create_exporter(options: Options) -> Any:
    name, values = _name_and_values(options)
    provider, components, kind, factory = _PLACES[options.signal]
    to_model = _private("file._loader", "_dict_to_model")
    create = _private(*factory.split("."))
    exporter = {name: dict(values) or None}
    try:
        model = to_model({"file_format": "1.1", provider: {components: [{kind: {"exporter": exporter}}]}})
        component = getattr(getattr(model, provider), components)[0]
        created = create(getattr(component, kind).exporter)
    except Exception as error:
        allowed = "otlp_http, otlp_grpc, console, or an installed plugin, with what it takes"
        raise options.failure(error, allowed) from None
    with guarded("observing the answers of a collector"):
        _read_answers(created)
    return created


def _read_answers(exporter: Any) -> None:
    """Have an OTLP exporter of OpenTelemetry's take for success what a receiver has accepted, as ours do."""
    module = type(exporter).__module__
    if module.startswith("opentelemetry.exporter.otlp.proto.grpc."):
        from brain_otel.destinations.otlp.grpc_answers import read_answers

        read_answers(exporter)
    elif module.startswith("opentelemetry.exporter.otlp.proto.http."):
        from brain_otel.destinations.otlp.session import judged

        exporter._client._transport._session.hooks["response"].append(judged)


def _private(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(f"opentelemetry.configuration.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise UnsupportedReleaseError(f"this opentelemetry-configuration is not supported ({error})") from None
