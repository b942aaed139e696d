"""What this package emits itself: its instrumentation scope, the schema of its names, and names of its own."""

import sys

from opentelemetry import metrics
from opentelemetry import trace as otel_trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Tracer

from brain_otel.runtime.version import __version__

NAME = "brain_otel"

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""The release of the semantic conventions whose names are used."""

OP_ATTRIBUTE = "brain_otel.op"
"""The op of a span, set by ``start_span`` and ``start_transaction``; ``sentry.op`` is read too."""

BREADCRUMB_EVENT = "brain_otel.breadcrumb"
"""The name of the span event that ``add_breadcrumb`` adds, and the prefix of its attributes."""


def create_tracer(library: str | None = None) -> Tracer:
    """A tracer of the global provider for the spans of this package's helpers, or of its own instrumentations."""
    name = NAME if library is None else f"{NAME}.instrumentation.{library}"
    return otel_trace.get_tracer(name, __version__, schema_url=SCHEMA_URL)


def create_meter(name: str) -> Meter:
    """A meter of the global provider for the metrics of the module ``name`` of this package."""
    return metrics.get_meter(name, __version__, schema_url=SCHEMA_URL)


def is_measured() -> bool:
    """Whether the global meter provider is the SDK's, so that somebody may read what is measured."""
    sdk = sys.modules.get("opentelemetry.sdk.metrics")
    return sdk is not None and isinstance(metrics.get_meter_provider(), sdk.MeterProvider)
