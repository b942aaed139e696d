"""OpenTelemetry's SDK as the settings say: providers, sampler, propagator, and the destinations attached to them."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
import traceback
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs as otel_logs
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel_trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.configuration import configure_sdk

# Makes the propagator without setting it, to see whether it can be made; tests name a wrong one.
from opentelemetry.configuration._propagator import create_propagator

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
from brain_otel.destinations import Destination, create_destination, load_module
from brain_otel.destinations.isolation import InUse, side_by_side
from brain_otel.guard import guarded
from brain_otel.named_destinations import METRIC_EXPORTER
from brain_otel.privacy import policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.refusal import ConfigurationError, reason
from brain_otel.sampling import Gate, HeadSampler, Plan, Share
from brain_otel.sampling.rules import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource

    from brain_otel.options import Options
    from brain_otel.sampling.tail import Tail
    from brain_otel.sampling_settings import SamplingSettings
    from brain_otel.settings import Settings

logger = logging.getLogger(__name__)

_BLOCKS = "opentelemetry.configuration._"
SEMANTIC_CONVENTIONS = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""The variable that chooses them."""


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
        model = _dict_to_model(_upstream_document(settings.document, destinations))
        create_propagator(model.propagator)  # upstream comes to it last, when the providers are set for good
        configure_sdk(model)
    except Exception as error:
        raise ConfigurationError(
            f"{settings.source}: {_block(error)} cannot be made ({reason(error)}); "
            "allowed: what OpenTelemetry's SDK and the installed plugins can make"
        ) from None
    provider = otel_trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        raise ConfigurationError(
            f"OpenTelemetry's tracer provider is a {type(provider).__name__}; allowed: the SDK's TracerProvider"
        )
    if get_global_textmap().extract({}) is None:
        set_global_textmap(NoPropagator([]))
    provider.sampler = HeadSampler(provider.sampler, create_plan(settings, destinations))
    provider.add_span_processor(TraceAttributes())
    return provider


def create_plan(settings: Settings, destinations: tuple[InUse, ...]) -> Plan:
    """What the sampler decides by: the rules of the file, and the destinations that are in use."""
    sampling = settings.sampling
    shares = tuple(
        Share(
            name=each.asked_as,
            share=sampling.destinations.get(each.asked_as, 1.0),
            pressure=each.destination.pressure,
        )
        for each in destinations
        if each.span_processor is not None
    )
    rules = compiled(sampling.rules, settings.environment)
    return Plan(rules=rules, destinations=shares, tail=sampling.tail is not None)


def create_destinations(settings: Settings) -> tuple[InUse, ...]:
    """Create the destinations that the file names and that are not off; none of them if one cannot be.

    Raises:
        ConfigurationError: an option of one is wrong.
    """
    created: list[InUse] = []
    off: dict[tuple[str, str], Options] = {}
    try:
        for options in settings.destinations:
            in_use = _create(options, settings)
            if in_use is not None:
                created.append(in_use)
            else:
                off.setdefault((options.name, options.chosen_by), options)
    except Exception:
        give_up(created)
        raise
    for options in off.values():
        _tell_off(options, settings)
    return tuple(created)


def give_up(destinations: Sequence[InUse]) -> None:
    """Shut down what is not to be used after all, whatever it does."""
    side_by_side([(f"shutting {each.name} down", partial(each.shutdown, 0.0)) for each in destinations], 0.1)


def attach(
    destinations: tuple[InUse, ...], provider: TracerProvider, sampling: SamplingSettings | None = None
) -> tuple[InUse, ...]:
    """Let ``destinations`` have the spans of ``provider``, and the log records of the global logger provider.

    Returns what is to be flushed and shut down beside them: the meter provider, if the file has one, what the
    application adds to the tracer provider, and the sampling's tail.
    """
    spans = [(each.asked_as, each.span_processor) for each in destinations if each.span_processor is not None]
    gate = Gate(spans, sampling.tail if sampling is not None else None)
    provider.add_span_processor(gate)
    in_use = [InUse(_added_by_others(provider)), *([InUse(_tail(gate.tail))] if gate.tail is not None else [])]
    _mask_resource(provider.resource)
    loggers = otel_logs.get_logger_provider()
    for destination in destinations:
        if destination.log_record_processor is not None and isinstance(loggers, LoggerProvider):
            loggers.add_log_record_processor(destination.log_record_processor)
    meters = otel_metrics.get_meter_provider()
    if isinstance(meters, MeterProvider):
        in_use.append(InUse(_metrics(meters, destinations)))
    for each in (provider, loggers, meters):
        if isinstance(each, (TracerProvider, LoggerProvider, MeterProvider)):
            # They would wait, one after the other and without a bound, for what cannot be reached.
            atexit.unregister(each.shutdown)
    return tuple(in_use)


def _mask_resource(resource: Resource) -> None:
    """Mask what is private in ``resource``, such as a command line with a password, for all signals at once.

    The providers share the one object. ``_attributes`` is where it keeps them; a test tells when that changes.
    """
    masked = masked_attributes(policy(), resource.attributes)
    if masked != dict(resource.attributes):
        resource._attributes = BoundedAttributes(attributes=masked)


def create_metric_exporter(destination: MetricExporter | None) -> MetricExporter | None:
    """What OpenTelemetry calls for our metric exporters: they are made already, and given as they are."""
    return destination


def prefer_stable_semantic_conventions() -> None:
    """Choose the stable conventions for HTTP and databases unless the user chose.

    The one place that adds to ``os.environ``: contrib reads this variable and nothing else.
    """
    contrib = sys.modules.get("opentelemetry.instrumentation._semconv")
    stability = getattr(contrib, "_OpenTelemetrySemanticConventionStability", None)
    if getattr(stability, "_initialized", False) and SEMANTIC_CONVENTIONS not in os.environ:
        logger.warning(
            "An OpenTelemetry instrumentation was used before brain_otel.setup(), so all of them go on with the old "
            "names of attributes (http.method, db.statement); set up first, or set %s=http,database",
            SEMANTIC_CONVENTIONS,
        )
    os.environ.setdefault(SEMANTIC_CONVENTIONS, "http,database")


def _tell_off(options: Options, settings: Settings) -> None:
    """Say that a destination is off, and why; loudly where a variable has asked for it."""
    if options.name.startswith("sentry") and not options.chosen_by:
        return  # there is a line for it when all is ready
    with guarded("telling that a destination is off"):
        describe = getattr(load_module(options), "describe", None)
        why = describe(options, settings).removeprefix("off: ") if describe is not None else "it has no address"
        if options.chosen_by:
            logger.warning("%s names %s, which is off: %s", options.chosen_by, options.name, why)
        else:
            logger.info("%s is off: %s", options.name, why)


def _block(error: Exception) -> str:
    """The file's block that OpenTelemetry worked on: it has a module for each, and its errors do not tell."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    blocks = [name.removeprefix(_BLOCKS) for name in names if name.startswith(_BLOCKS)]
    return next((block for block in blocks if block not in ("sdk", "conversion", "common")), "a block")


def _added_by_others(provider: TracerProvider) -> Destination:
    def flush(timeout: float) -> bool:
        return provider.force_flush(int(timeout * 1000))

    return Destination(name="OpenTelemetry", flush=flush, shutdown=lambda _timeout: None)


def _tail(tail: Tail) -> Destination:
    """What waits for a reason to be kept: it is handed on when there is one, never by a flush."""
    return Destination(
        name="sampling.tail",
        flush=lambda _timeout: True,
        shutdown=lambda _timeout: tail.stop(),
        reporter=tail.reporter,
    )


def _create(options: Options, settings: Settings) -> InUse | None:
    """The destination, whose module may be another package's and do anything."""
    try:
        destination = create_destination(options, settings)
        return None if destination is None else InUse(destination, options.index, options.name)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{options.place} cannot be made ({type(error).__name__}: {reason(error)}); "
            "allowed: a destination whose module has create_destination(options, settings) -> Destination or None"
        ) from error


def _metrics(meters: MeterProvider, destinations: tuple[InUse, ...]) -> Destination:
    """The meter provider. Its readers have to hand on what was measured before their destinations are flushed."""
    exported = [each for each in destinations if each.metric_exporter is not None]

    def flush(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        complete = meters.force_flush(timeout * 1000)
        left = max(0.0, deadline - time.monotonic())
        calls = [(f"flushing {each.name}", partial(each.flush, left)) for each in exported]
        return side_by_side(calls, left) and complete

    def shutdown(timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with suppress(Exception):  # which it raises when the time is over; what was flushed has been told
            meters.shutdown(timeout * 1000)
        left = max(0.0, deadline - time.monotonic())
        side_by_side([(f"shutting {each.name} down", partial(each.shutdown, left)) for each in exported], left)

    return Destination(name="metrics", flush=flush, shutdown=shutdown)


def _upstream_document(document: Any, destinations: tuple[InUse, ...]) -> Any:
    """A copy of ``document`` in which our metric readers hold their exporters.

    What nobody takes is left out: a reader whose destination is off, a provider without a reader or a destination.
    """
    exporters = {each.index: each.metric_exporter for each in destinations if each.metric_exporter is not None}
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
