"""OpenTelemetry's SDK as the settings say: providers, sampler, propagator, and the destinations attached to them."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter
from opentelemetry.sdk.trace import TracerProvider

from brain_otel.configuration.error import ConfigurationError, reason
from brain_otel.sampling.context import DecidedIds
from brain_otel.sampling.head import HeadSampler
from brain_otel.sdk.pipeline import create_plan
from brain_otel.sdk.providers import METRIC_EXPORTER, configure_simple_form

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter

    from brain_otel.configuration.settings import Settings
    from brain_otel.destinations.isolation import IsolatedDestination

logger = logging.getLogger(__name__)

_BLOCKS = "opentelemetry.configuration._"
SEMANTIC_CONVENTIONS = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""The variable that chooses them."""


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


def configure_opentelemetry(settings: Settings, destinations: tuple[IsolatedDestination, ...] = ()) -> TracerProvider:
    """Set OpenTelemetry up as its part of the file says; the tracer provider that is then global.

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
        document = _upstream_document(settings.document, destinations)
        (configure_simple_form if settings.simple_form else _configure_any)(document)
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
    provider.id_generator = DecidedIds(provider.id_generator)  # type: ignore[assignment]  # the SDK means any generator
    provider.sampler = HeadSampler(provider.sampler, create_plan(settings, destinations))
    return provider


def _configure_any(document: dict[str, Any]) -> None:
    """Let OpenTelemetry configure itself, which it can from every file there is, and takes its time to."""
    from opentelemetry.configuration import configure_sdk
    from opentelemetry.configuration._propagator import create_propagator

    # The loader's public function reads the file and os.environ itself; ours have been read, checked against the
    # same schema and relieved of what upstream does not know. Only the conversion is left; a test pins it.
    from opentelemetry.configuration.file._loader import _dict_to_model

    model = _dict_to_model(document)
    create_propagator(model.propagator)  # upstream comes to it last, when the providers are set for good
    configure_sdk(model)


def create_metric_exporter(exporter: MetricExporter) -> MetricExporter:
    """Return ``exporter``: upstream takes a metric exporter only from an entry point, which this is."""
    return exporter


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


def _block(error: Exception) -> str:
    """The file's block that OpenTelemetry worked on: it has a module for each, and its errors do not tell."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    blocks = [name.removeprefix(_BLOCKS) for name in names if name.startswith(_BLOCKS)]
    return next((block for block in blocks if block not in ("sdk", "conversion", "common")), "a block")


def _upstream_document(document: Any, destinations: tuple[IsolatedDestination, ...]) -> Any:
    """A copy of ``document`` in which our metric readers hold their exporters.

    What nobody takes is left out: a reader whose destination is off, a provider without a reader or a destination.
    """
    exporters = {each.index: each.metric_exporter for each in destinations if each.metric_exporter is not None}
    copied = _copied(document)
    readers = []
    for index, reader in enumerate((copied.get("meter_provider") or {}).get("readers") or []):
        periodic = reader.get("periodic") or {}
        if periodic.get("exporter"):
            if index not in exporters:
                continue
            periodic["exporter"] = {METRIC_EXPORTER: {"exporter": exporters[index]}}
        readers.append(reader)
    if readers:
        copied["meter_provider"]["readers"] = readers
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
