"""Creates OpenTelemetry's providers for a file of the simple form, as ``opentelemetry.configuration`` would.

Neither reads the variables that the specification defines for a set-up without a file: the specification's defaults
apply to what the file leaves out.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    TELEMETRY_SDK_LANGUAGE,
    TELEMETRY_SDK_NAME,
    TELEMETRY_SDK_VERSION,
    Resource,
)
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.sdk.version import __version__
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from brain_otel.configuration.identity import unknown_service
from brain_otel.events.attributes import MAX_ATTRIBUTES

METRIC_EXPORTER = "brain_otel"
"""The entry point by which OpenTelemetry takes our metric exporters (group ``opentelemetry_metrics_exporter``)."""

_EXPORT_INTERVAL = 60_000
_EXPORT_TIMEOUT = 30_000
"""Milliseconds, https://opentelemetry.io/docs/specs/otel/metrics/sdk/#periodic-exporting-metricreader."""


def configure_simple_form(document: Mapping[str, Any]) -> None:
    """Create the providers of ``document``, whose metric readers hold their exporters, and make them global."""
    propagator = _propagator(document.get("propagator"))
    resource = _resource(document.get("resource") or {})
    trace.set_tracer_provider(_tracer_provider(document.get("tracer_provider") or {}, resource))
    if (meters := document.get("meter_provider")) is not None:
        _set_meter_provider(meters["readers"], resource)
    if document.get("logger_provider") is not None:
        _set_logger_provider(resource)
    set_global_textmap(propagator)


def _resource(given: Mapping[str, Any]) -> Resource:
    """The resource of the file; the public `Resource.create()` would add the variables for a resource."""
    attributes: dict[str, Any] = {
        TELEMETRY_SDK_LANGUAGE: "python",
        TELEMETRY_SDK_NAME: "opentelemetry",
        TELEMETRY_SDK_VERSION: __version__,
        SERVICE_NAME: unknown_service(),
    }
    for pair in str(given.get("attributes_list") or "").split(","):
        if pair.strip():
            key, _, value = pair.partition("=")
            attributes[key.strip()] = unquote(value.strip())
    attributes.update({each["name"]: each["value"] for each in given.get("attributes") or ()})
    return Resource(attributes)


def _tracer_provider(given: Mapping[str, Any], resource: Resource) -> TracerProvider:
    limits = SpanLimits(
        max_span_attributes=MAX_ATTRIBUTES,
        max_events=MAX_ATTRIBUTES,
        max_links=MAX_ATTRIBUTES,
        max_event_attributes=MAX_ATTRIBUTES,
        max_link_attributes=MAX_ATTRIBUTES,
        max_attribute_length=SpanLimits.UNSET,
        max_span_attribute_length=SpanLimits.UNSET,
    )
    sampler = _sampler(given["sampler"]) if "sampler" in given else ParentBased(ALWAYS_ON)
    return TracerProvider(resource=resource, sampler=sampler, span_limits=limits)


def _sampler(given: Mapping[str, Any]) -> Sampler:
    ((name, options),) = given.items()
    if name == "parent_based":
        return ParentBased(_sampler(options["root"]))
    if name == "trace_id_ratio_based":
        return TraceIdRatioBased(options["ratio"])
    return ALWAYS_ON if name == "always_on" else ALWAYS_OFF


def _set_meter_provider(given: Sequence[Mapping[str, Any]], resource: Resource) -> None:
    from opentelemetry.metrics import set_meter_provider
    from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    readers = [
        PeriodicExportingMetricReader(
            exporter=each["periodic"]["exporter"][METRIC_EXPORTER]["exporter"],
            export_interval_millis=float(each["periodic"].get("interval", _EXPORT_INTERVAL)),
            export_timeout_millis=float(each["periodic"].get("timeout", _EXPORT_TIMEOUT)),
        )
        for each in given
    ]
    set_meter_provider(
        MeterProvider(resource=resource, metric_readers=readers, exemplar_filter=TraceBasedExemplarFilter())
    )


def _set_logger_provider(resource: Resource) -> None:
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits

    limits = LogRecordLimits(
        max_attributes=MAX_ATTRIBUTES,
        max_attribute_length=LogRecordLimits.UNSET,
        max_log_record_attributes=MAX_ATTRIBUTES,
        max_log_record_attribute_length=LogRecordLimits.UNSET,
    )
    set_logger_provider(LoggerProvider(resource=resource, log_record_limits=limits))


def _propagator(given: Mapping[str, Any] | None) -> CompositePropagator:
    names = dict.fromkeys(name for each in (given or {}).get("composite") or () for name in each)
    return CompositePropagator([_propagator_of(name) for name in names])


def _propagator_of(name: str) -> TextMapPropagator:
    if name == "sentry":
        from brain_otel.sentry.propagator import SentryPropagator

        return SentryPropagator()
    return TraceContextTextMapPropagator() if name == "tracecontext" else W3CBaggagePropagator()
