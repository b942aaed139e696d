"""Which destinations there are: name -> module, this package's and those of other packages' entry points.

Other packages add a destination through an entry point of the group ``brain_otel_destination``. Its name is the
destination's name, its value a module with ``create_destination``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Remembers what is installed, which OpenTelemetry's API has to look for in any case.
from opentelemetry.util._importlib_metadata import entry_points

from brain_otel.configuration.error import ConfigurationError

if TYPE_CHECKING:
    from brain_otel.configuration.options import Options, Signal


ENTRY_POINTS = "brain_otel_destination"
"""The group of the entry points by which other packages add destinations."""


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
        return importlib.import_module("brain_otel.destinations.otel_components")
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
