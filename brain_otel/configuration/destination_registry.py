"""Finds the module of a destination by its name.

This package's destinations are in ``REGISTRY``. Other packages add theirs with an entry point of the group
``brain_otel_destination``: its name is the destination's name, its value a module with ``create_destination``.
"""

import importlib
from importlib.metadata import entry_points
from typing import Any

from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.options import Options, Signal

ENTRY_POINTS = "brain_otel_destination"
"""The group of entry points by which other packages add destinations."""

_OTEL_COMPONENTS = "brain_otel.destinations.otel_components"

REGISTRY = {
    "batch": _OTEL_COMPONENTS,
    "console": "brain_otel.destinations.console.destination",
    "file": "brain_otel.destinations.file.destination",
    "memory": "brain_otel.destinations.memory",
    "otlp": "brain_otel.destinations.otlp.destination",
    "sentry": "brain_otel.destinations.sentry",
    "sentry_otlp": "brain_otel.destinations.sentry_otlp",
    "simple": _OTEL_COMPONENTS,
}
"""Name -> module, imported when a file uses it. ``batch`` and ``simple`` are OpenTelemetry's own processors."""

_OTEL_METRIC_EXPORTERS = ("otlp_http", "otlp_grpc", "otlp_file/development", "console")


def is_otel_metric_exporter(name: str, signal: Signal) -> bool:
    """Whether OpenTelemetry's own metric exporter is meant; ``console`` is ours for traces."""
    return signal == "metrics" and name in _OTEL_METRIC_EXPORTERS


def is_known(name: str, signal: Signal) -> bool:
    """Whether a file may use this name for ``signal``."""
    return name in REGISTRY or is_otel_metric_exporter(name, signal) or name in known_names()


def known_names() -> tuple[str, ...]:
    """Every destination's name, this package's first; nobody else can take those."""
    return tuple(dict.fromkeys([*REGISTRY, *(each.name for each in entry_points(group=ENTRY_POINTS))]))


def load_module(options: Options) -> Any:
    """Import the module of a destination.

    Raises:
        ConfigurationError: the name is unknown, the import fails, or the destination does not take the signal.
    """
    if is_otel_metric_exporter(options.name, options.signal):
        return importlib.import_module(_OTEL_COMPONENTS)
    module = _load(options.name)
    if options.signal not in _signals(module):
        allowed = ", ".join(_signals(module))
        raise ConfigurationError(f"{options.place} is given for {options.signal}; allowed: {allowed}")
    return module


def takes(name: str, signal: Signal) -> bool:
    """Whether the destination takes ``signal``; True if it cannot be loaded, since creating it tells why."""
    try:
        return is_otel_metric_exporter(name, signal) or signal in _signals(_load(name))
    except ConfigurationError:
        return True


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
