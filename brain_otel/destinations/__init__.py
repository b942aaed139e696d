"""Where telemetry goes: one file a destination, one line each in the registry."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from opentelemetry.sdk.trace import SpanProcessor

    from brain_otel.reporting import Reporter
    from brain_otel.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A destination in use."""

    name: str
    span_processor: SpanProcessor
    flush: Callable[[float], bool]
    """Send what waits within so many seconds; whether all was."""
    shutdown: Callable[[float], None]
    """Send what waits within so many seconds, and take no more."""
    reporter: Reporter | None = None
    ready: str | None = None
    """What to say in the log once set-up is done."""


class DestinationModule(Protocol):
    """A module of this folder."""

    def create_destination(self, options: Mapping[str, Any], settings: Settings) -> Destination:
        """The destination with the options of the file."""


REGISTRY = {
    "console": "brain_otel.destinations.console",
    "memory": "brain_otel.destinations.memory",
    "sentry": "brain_otel.destinations.sentry",
}
"""Name -> module, imported when an environment uses it."""


def create_destination(name: str, options: Mapping[str, Any], settings: Settings) -> Destination:
    """The destination called ``name``.

    Raises:
        ConfigurationError: one of its options is wrong, or a package it needs is missing.
    """
    module: DestinationModule = importlib.import_module(REGISTRY[name])
    return module.create_destination(options, settings)
