"""OpenTelemetry's own metric exporters, as they stand in a reader: ``otlp_http``, ``otlp_grpc``, ``console``, a file.

They are made here, and not with the meter provider, so that one of them that fails or hangs is its own affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Upstream makes an exporter in this function and only as part of a whole provider; a test pins it.
from opentelemetry.configuration._meter_provider import _create_push_metric_exporter
from opentelemetry.configuration.file._loader import _dict_to_model

from brain_otel.destinations.batching import create_batched
from brain_otel.destinations.probe import send_probe
from brain_otel.privacy import masked_url

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter

    from brain_otel.configuration.options import Options
    from brain_otel.configuration.settings import Settings
    from brain_otel.destinations.destination import Destination

SIGNALS = ("metrics",)


def create_destination(options: Options, settings: Settings) -> Destination:  # noqa: ARG001
    """An exporter as OpenTelemetry's ``configure_sdk`` would make it.

    Raises:
        ConfigurationError: its package is not installed, or it does not take what is given.
    """
    return create_batched(options.name, options.signal, _create(options), {})


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The exporter and its endpoint."""
    endpoint = options.values.get("endpoint")
    return f"{options.name} to {masked_url(str(endpoint))}" if endpoint else options.name


def probe(options: Options, settings: Settings, timeout: float) -> str | None:
    """Send one metric; what was delivered, None where that would only be printed.

    Raises:
        DeliveryError: it did not arrive.
    """
    if not options.name.startswith("otlp_") or options.name.startswith("otlp_file"):
        return None
    return send_probe(_create(options), options.signal, settings, timeout)


def _create(options: Options) -> MetricExporter:
    exporter: Any = {options.name: options.values or None}
    data = {"file_format": "1.1", "meter_provider": {"readers": [{"periodic": {"exporter": exporter}}]}}
    try:
        model: Any = _dict_to_model(data)
        return _create_push_metric_exporter(model.meter_provider.readers[0].periodic.exporter)
    except Exception as error:
        raise options.failure(error, "what OpenTelemetry's exporter takes, from an installed package") from None
