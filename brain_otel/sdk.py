"""OpenTelemetry's SDK as the settings say: providers, sampler, propagator, and the destinations attached to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs as otel_logs
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel_trace
from opentelemetry.configuration import ConfigurationError as UpstreamError
from opentelemetry.configuration import configure_sdk

# The loader's public function reads the file and os.environ itself; ours have been read, checked against the
# same schema and relieved of what upstream does not know. Only the conversion is left; a test pins it.
from opentelemetry.configuration.file._loader import _dict_to_model
from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider

from brain_otel import local_trace
from brain_otel.destinations import Destination, create_destination
from brain_otel.destinations.isolation import InUse
from brain_otel.file_destinations import METRIC_EXPORTER
from brain_otel.guard import guarded
from brain_otel.sampling import HeadSampler
from brain_otel.settings import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter

    from brain_otel.settings import Settings

_SEMANTIC_CONVENTIONS = "OTEL_SEMCONV_STABILITY_OPT_IN"


class TraceAttributes(SpanProcessor):
    """Gives every later span of a local trace the attributes that belong to all of it, such as ``user.id``."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Complete the span."""
        with guarded("completing a span"):
            trace = local_trace.current(parent_context)
            if trace is not None and trace.attributes:
                span.set_attributes(trace.attributes)


class NoPropagator(CompositePropagator):
    """Reads and writes nothing, as a file without ``propagator`` asks.

    Upstream's empty composite gives ``None`` for a context, which instrumentations attach all the same: then every
    request fails.
    """

    def extract(
        self,
        carrier: CarrierT,  # noqa: ARG002
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,  # noqa: ARG002
    ) -> Context:
        """Give ``context``, or an empty one."""
        return Context() if context is None else context


def configure_opentelemetry(settings: Settings, destinations: tuple[InUse, ...] = ()) -> TracerProvider:
    """Let OpenTelemetry configure itself from its part of the file; the tracer provider that is then global.

    The metric exporters among ``destinations`` become part of the readers that the file describes.

    Raises:
        ConfigurationError: the file asks for what is not there, or another tracer provider has been set.
    """
    prefer_stable_semantic_conventions()
    before = otel_trace.get_tracer_provider()
    if isinstance(before, TracerProvider):
        raise ConfigurationError(
            "OpenTelemetry's tracer provider is set already; allowed: brain_otel.setup() before, and instead of, "
            "any other OpenTelemetry set-up"
        )
    try:
        configure_sdk(_dict_to_model(_upstream_document(settings.document, destinations)))
    except UpstreamError as error:
        raise ConfigurationError(f"{settings.source}: {error}") from error
    provider = otel_trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        raise ConfigurationError(
            f"OpenTelemetry's tracer provider is a {type(provider).__name__}; allowed: the SDK's TracerProvider"
        )
    if get_global_textmap().extract({}) is None:
        set_global_textmap(NoPropagator([]))
    provider.sampler = HeadSampler(provider.sampler)
    provider.add_span_processor(TraceAttributes())
    return provider


def create_destinations(settings: Settings) -> tuple[InUse, ...]:
    """Create the destinations that the file names and that are not off; none of them if one cannot be.

    Raises:
        ConfigurationError: an option of one is wrong.
    """
    created: list[InUse] = []
    try:
        for options in settings.destinations:
            destination = create_destination(options, settings)
            if destination is not None:
                created.append(InUse(destination, options.index))
    except Exception:
        for each in created:
            with guarded(f"shutting {each.name} down"):
                each.shutdown(0.0)
        raise
    return tuple(created)


def attach(destinations: tuple[InUse, ...], provider: TracerProvider) -> tuple[InUse, ...]:
    """Let ``destinations`` have the spans of ``provider``, and the log records of the global logger provider.

    Returns what is to be flushed and shut down beside them: the meter provider, if the file has one.
    """
    loggers = otel_logs.get_logger_provider()
    for each in destinations:
        if each.span_processor is not None:
            provider.add_span_processor(each.span_processor)
        if each.log_record_processor is not None and isinstance(loggers, LoggerProvider):
            loggers.add_log_record_processor(each.log_record_processor)
    meters = otel_metrics.get_meter_provider()
    return (InUse(_metrics(meters)),) if isinstance(meters, MeterProvider) else ()


def create_metric_exporter(destination: MetricExporter | None) -> MetricExporter | None:
    """What OpenTelemetry calls for our metric exporters: they are made already, and given as they are."""
    return destination


def prefer_stable_semantic_conventions() -> None:
    """Choose the stable conventions for HTTP and databases unless the user chose.

    The one place that writes ``os.environ``: contrib reads this variable and nothing else.
    """
    os.environ.setdefault(_SEMANTIC_CONVENTIONS, "http,database")


def _metrics(meters: MeterProvider) -> Destination:
    def flush(timeout: float) -> bool:
        return meters.force_flush(timeout * 1000)

    def shutdown(timeout: float) -> None:
        meters.shutdown(timeout * 1000)

    return Destination(name="metrics", flush=flush, shutdown=shutdown)


def _upstream_document(document: Any, destinations: tuple[InUse, ...]) -> Any:
    """A copy of ``document`` in which our metric readers hold their exporters.

    What nobody takes is left out: a reader whose destination is off, a provider without a reader or a destination.
    """
    exporters = {
        each.index: each.destination.metric_exporter
        for each in destinations
        if each.destination.metric_exporter is not None
    }
    copied = _copied(document)
    readers = (copied.get("meter_provider") or {}).get("readers") or []
    kept = []
    for reader in readers:
        exporter = (reader.get("periodic") or {}).get("exporter") or {}
        if METRIC_EXPORTER in exporter:
            found = exporters.get(exporter[METRIC_EXPORTER]["destination"])
            if found is None:
                continue
            exporter[METRIC_EXPORTER]["destination"] = found
        kept.append(reader)
    if readers and kept:
        copied["meter_provider"]["readers"] = kept
    else:
        copied.pop("meter_provider", None)  # nobody would read what is measured
    if not any(each.log_record_processor for each in destinations):
        copied.pop("logger_provider", None)
    return copied


def _copied(value: Any) -> Any:
    """A deep copy of plain data, as dicts and lists that upstream may change."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
