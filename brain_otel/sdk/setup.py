"""Sets up OpenTelemetry's SDK as the settings say: providers, sampler and propagator."""

import copy
import json
import logging
import os
import sys
import tempfile
import traceback
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace import TracerProvider

from brain_otel.configuration.error import ConfigurationError, reason
from brain_otel.configuration.identity import find_version
from brain_otel.configuration.sections.propagation import PropagationSettings
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.isolation import IsolatedDestination
from brain_otel.instrumentation.propagation import GuardedPropagator
from brain_otel.runtime.guard import guarded
from brain_otel.sampling.context import DecidedIds
from brain_otel.sampling.head import HeadSampler
from brain_otel.sdk.pipeline import create_policy
from brain_otel.sdk.providers import METRIC_EXPORTER, configure_simple_form
from brain_otel.sdk.resource import completed_resource

logger = logging.getLogger(__name__)

_BLOCKS = "opentelemetry.configuration._"

SEMANTIC_CONVENTIONS = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""The variable that chooses between the stable and the old semantic conventions."""

_exporters: ContextVar[list[MetricExporter]] = ContextVar("brain_otel.sdk.exporters")
"""The exporters to which a file's metric readers refer by number; see :func:`_load_file`."""


def configure_opentelemetry(settings: Settings, destinations: tuple[IsolatedDestination, ...] = ()) -> TracerProvider:
    """Set OpenTelemetry up as its part of the file says, and return the tracer provider, which is then global.

    The metric exporters of ``destinations`` go into the readers of the file.

    Raises:
        ConfigurationError: the SDK or a plugin cannot create what the file says, or another tracer provider is set.
    """
    prefer_stable_semantic_conventions()
    if isinstance(otel_trace.get_tracer_provider(), TracerProvider):
        raise ConfigurationError(
            "OpenTelemetry's tracer provider is set already; allowed: brain_otel.setup() before, and instead of, "
            "any other OpenTelemetry set-up"
        )
    try:
        document = _upstream_document(settings, destinations)
        (configure_simple_form if settings.simple_form else _configure_any_form)(document)
    except Exception as error:
        raise ConfigurationError(
            f"{settings.source}: {_failed_block(error)} cannot be created ({reason(error)}); "
            "allowed: what OpenTelemetry's SDK and the installed plugins can make"
        ) from None
    provider = otel_trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        raise ConfigurationError(
            f"OpenTelemetry's tracer provider is a {type(provider).__name__}; allowed: the SDK's TracerProvider"
        )
    set_global_textmap(GuardedPropagator(get_global_textmap()))
    if settings.propagation != PropagationSettings():
        from brain_otel.instrumentation.trust import TrustingPropagator  # few configurations restrict anything

        set_global_textmap(TrustingPropagator(get_global_textmap(), settings.propagation))
    provider.id_generator = DecidedIds(provider.id_generator)  # type: ignore[assignment]  # the SDK means any generator
    provider.sampler = _sampler_class(settings)(provider.sampler, create_policy(settings, destinations))
    return provider


def _sampler_class(settings: Settings) -> type[HeadSampler]:
    """The sampler; one that notes the server of each call if not all servers get trace headers."""
    if settings.propagation.targets is None:
        return HeadSampler
    from brain_otel.sampling.client_calls import ClientCallSampler

    return ClientCallSampler


def prefer_stable_semantic_conventions() -> None:
    """Choose the stable conventions for HTTP and databases, unless the user has chosen.

    This is the only place that writes to ``os.environ``: contrib reads the choice from nowhere else.
    """
    contrib = sys.modules.get("opentelemetry.instrumentation._semconv")
    has_old_names = False
    if contrib is not None and SEMANTIC_CONVENTIONS not in os.environ:
        with guarded("looking for the semantic conventions in use"):
            has_old_names = _has_chosen_old_names(contrib)
    if has_old_names:
        logger.warning(
            "An OpenTelemetry instrumentation was used before brain_otel.setup(), so all of them go on with the old "
            "names of attributes (http.method, db.statement); set up first, or set %s=http,database",
            SEMANTIC_CONVENTIONS,
        )
    os.environ.setdefault(SEMANTIC_CONVENTIONS, "http,database")


def _has_chosen_old_names(contrib: Any) -> bool:
    """Whether contrib has read the variable already, which it does once in a process, without our default."""
    if not contrib._OpenTelemetrySemanticConventionStability._initialized:
        return False
    modes = contrib._get_semconv_opt_in_modes((contrib._OpenTelemetryStabilitySignalType.HTTP,))
    return any(map(contrib._report_old, modes.values()))


def create_metric_exporter(exporter: MetricExporter | int) -> MetricExporter:
    """The entry point through which OpenTelemetry gets our metric exporters.

    A number stands for an exporter in ``_exporters``, because a configuration file cannot hold the object.
    """
    return _exporters.get()[exporter] if isinstance(exporter, int) else exporter


def _configure_any_form(document: dict[str, Any]) -> None:
    """Let OpenTelemetry configure itself, which takes longer than :func:`configure_simple_form`."""
    from opentelemetry.configuration import configure_sdk

    model = _create_model(document)
    _check_propagator(model)
    configure_sdk(model)


def _create_model(document: dict[str, Any]) -> Any:
    """Convert ``document`` for ``configure_sdk``.

    The public loader would read the file and the environment again. We have read them, checked the file against the
    same schema, and removed our own parts. Only the conversion is left, which has no public function.
    """
    try:
        from opentelemetry.configuration.file._loader import _dict_to_model
    except ImportError:
        return _load_file(document)
    return _dict_to_model(document)


def _load_file(document: dict[str, Any]) -> Any:
    """Convert ``document`` with the public loader, from a temporary file; exporters become numbers in it."""
    from opentelemetry.configuration.file import load_config_file

    exporters: list[MetricExporter] = []

    def number_of(exporter: MetricExporter) -> int:
        exporters.append(exporter)
        return len(exporters) - 1

    providers = [name for name in ("tracer_provider", "logger_provider") if name in document]
    # The schema wants a processor.
    placeholder: dict[str, Any] = {"processors": [{"simple": {"exporter": {"console": {}}}}]}
    filled = document | {name: {**document[name], **placeholder} for name in providers}
    text = json.dumps(filled, default=number_of).replace("$", "$$")  # the loader replaces ${...}
    _exporters.set(exporters)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        model = load_config_file(file.name)
    for name in providers:
        getattr(model, name).processors = []
    return model


def _check_propagator(model: Any) -> None:
    """Raise for a wrong propagator now: upstream creates it last, after it has set the providers for good."""
    try:
        from opentelemetry.configuration._propagator import create_propagator
    except ImportError:
        return
    create_propagator(model.propagator)


def _failed_block(error: Exception) -> str:
    """The block of the file that raised ``error``; upstream has a module for each, and no error names it."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    blocks = [name.removeprefix(_BLOCKS) for name in names if name.startswith(_BLOCKS)]
    return next((block for block in blocks if block not in ("sdk", "conversion", "common")), "a block")


def _upstream_document(settings: Settings, destinations: tuple[IsolatedDestination, ...]) -> Any:
    """A copy of OpenTelemetry's part of the file with our exporters in its metric readers, and a complete resource.

    It leaves out a reader whose destination is off, and a provider without a reader or a destination.
    """
    exporters = {each.index: each.metric_exporter for each in destinations if each.metric_exporter is not None}
    copied: Any = copy.deepcopy(settings.document)
    with guarded("completing the resource"):
        version = find_version(settings.identity)
        copied["resource"] = completed_resource(copied.get("resource") or {}, version and version.value)
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
