"""Where telemetry goes: one file a destination, one line each in the registry.

Other packages add a destination through an entry point of the group ``brain_otel_destination``: its name is the
destination's, its value a module with ``create_destination``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

# Remembers what is installed, which OpenTelemetry's API has to look for in any case.
from opentelemetry.util._importlib_metadata import entry_points

from brain_otel.configuration.error import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk._logs import LogRecordProcessor
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace import SpanProcessor

    from brain_otel.configuration.options import Options, Signal
    from brain_otel.configuration.settings import Settings
    from brain_otel.events.listeners import EventListener

ENTRY_POINTS = "brain_otel_destination"
"""The group of the entry points by which other packages add destinations."""


class Destination(NamedTuple):
    """A destination in use for one signal: traces, logs or metrics."""

    name: str
    flush: Callable[[float], bool]
    """Send what waits within so many seconds; whether all was."""
    shutdown: Callable[[float], None]
    """Send what waits within so many seconds, and take no more."""
    end: Callable[[], None] | None = None
    """The process ends: leave in good order, or count, what has not been sent. It is not shut down, or was before."""
    span_processor: SpanProcessor | None = None
    log_record_processor: LogRecordProcessor | None = None
    metric_exporter: MetricExporter | None = None
    """For a ``periodic`` reader; called on a thread of its own."""
    listener: EventListener | None = None
    ready: str | None = None
    """What to say in the log once set-up is done."""
    pressure: Callable[[], int] | None = None
    """How many times the rate of its traces is to be halved at the moment: it cannot take all of them."""
    may_block: bool = True
    """Whether ``on_end`` and ``on_emit`` of the processors may take their time: then a thread calls them."""


class DestinationModule(Protocol):
    """A module of this folder, or of another package.

    It may have two more functions: ``describe(options, settings) -> str``, where the telemetry goes, in a few words
    and without secrets, or ``off:`` and the reason; and ``probe(options, settings, timeout) -> str | None``, which
    sends a test item within ``timeout`` seconds and returns what was delivered, None where there is nothing to try,
    or raises :class:`brain_otel.delivery.DeliveryError`.
    """

    SIGNALS: tuple[str, ...]
    """What it takes: ``traces``, ``logs``, ``metrics``; traces if it does not say."""

    def create_destination(self, options: Options, settings: Settings) -> Destination | None:
        """The destination with the options of the file; None where it is off, for want of an address."""


REGISTRY = {
    "batch": "brain_otel.destinations.otel_components",
    "console": "brain_otel.destinations.console.destination",
    "file": "brain_otel.destinations.file.destination",
    "memory": "brain_otel.destinations.memory",
    "otlp": "brain_otel.destinations.otlp.destination",
    "sentry": "brain_otel.destinations.sentry",
    "sentry_otlp": "brain_otel.destinations.sentry_otlp",
    "simple": "brain_otel.destinations.otel_components",
}
"""Name -> module, imported when an environment uses it. ``batch`` and ``simple`` are OpenTelemetry's own."""


UPSTREAM_METRIC_EXPORTERS = ("otlp_http", "otlp_grpc", "otlp_file/development", "console")
"""Metric exporters that are OpenTelemetry's own; ``console`` is ours for traces."""


def is_known(name: str) -> bool:
    """Whether a file may use this name. Those of this package are its own, whatever else is installed."""
    return name in REGISTRY or name in known_names()


def known_names() -> tuple[str, ...]:
    """Every name that a file may use, this package's first."""
    return tuple(dict.fromkeys([*REGISTRY, *(each.name for each in entry_points(group=ENTRY_POINTS))]))


def load_module(given: Options) -> Any:
    """The module of a destination.

    Raises:
        ConfigurationError: there is none of this name, it cannot be imported, or it does not take the signal.
    """
    if given.signal == "metrics" and given.name in UPSTREAM_METRIC_EXPORTERS:
        return importlib.import_module("brain_otel.destinations.otel_metrics")
    module = _load(given.name)
    if given.signal not in _signals(module):
        allowed = ", ".join(_signals(module))
        raise ConfigurationError(f"{given.place} is given for {given.signal}; allowed: {allowed}")
    return module


def _load(name: str) -> Any:
    if name in REGISTRY:
        return importlib.import_module(REGISTRY[name])
    found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
    if found is None:
        raise ConfigurationError(f"The destination {name!r} is unknown; allowed: {', '.join(known_names())}")
    try:
        return found.load()
    except Exception as error:
        raise ConfigurationError(
            f"The destination {name!r} cannot be loaded from {found.value} "
            f"({type(error).__name__}: {error}); allowed: a module with create_destination"
        ) from error


def _signals(module: Any) -> tuple[str, ...]:
    return tuple(getattr(module, "SIGNALS", ("traces",)))


def takes(name: str, signal: Signal) -> bool:
    """Whether the destination of this name takes ``signal``; of one that cannot be loaded, that shows later."""
    if signal == "metrics" and name in UPSTREAM_METRIC_EXPORTERS:
        return True
    try:
        return signal in _signals(_load(name))
    except ConfigurationError:
        return True


def create_destination(given: Options, settings: Settings) -> Destination | None:
    """The destination as the file says, or None where it is off.

    Raises:
        ConfigurationError: one of its options is wrong, or a package it needs is missing.
    """
    created: Destination | None = load_module(given).create_destination(given, settings)
    return created
