"""OpenTelemetry's SDK as the settings say: the one tracer provider, its sampler and its span processors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

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
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider

from brain_otel import local_trace
from brain_otel.destinations import Destination, create_destination
from brain_otel.guard import guarded
from brain_otel.sampling import HeadSampler
from brain_otel.settings import ConfigurationError

if TYPE_CHECKING:
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


def configure_opentelemetry(settings: Settings) -> TracerProvider:
    """Let OpenTelemetry configure itself from its part of the file; the tracer provider that is then global.

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
        configure_sdk(_dict_to_model(_copied(settings.document)))
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


def create_destinations(settings: Settings) -> tuple[Destination, ...]:
    """Create the destinations that the file names; none of them if one cannot be.

    Raises:
        ConfigurationError: an option of one is wrong.
    """
    created: list[Destination] = []
    try:
        for each in settings.destinations:
            created.append(create_destination(each.name, each.options, settings))  # noqa: PERF401 - to undo
    except ConfigurationError:
        for destination in created:
            destination.shutdown(0.0)
        raise
    return tuple(created)


def prefer_stable_semantic_conventions() -> None:
    """Choose the stable conventions for HTTP and databases unless the user chose.

    The one place that writes ``os.environ``: contrib reads this variable and nothing else.
    """
    os.environ.setdefault(_SEMANTIC_CONVENTIONS, "http,database")


def _copied(value: Any) -> Any:
    """A deep copy of plain data, as dicts and lists that upstream may change."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
