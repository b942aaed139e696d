"""A destination in use, and what a destination's module has to offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

# Remembers what is installed, which OpenTelemetry's API has to look for in any case.
from brain_otel.configuration.destination_registry import load_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk._logs import LogRecordProcessor
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace import SpanProcessor

    from brain_otel.configuration.options import Options
    from brain_otel.configuration.settings import Settings
    from brain_otel.events.listeners import EventListener


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


def create_destination(given: Options, settings: Settings) -> Destination | None:
    """The destination as the file says, or None where it is off.

    Raises:
        ConfigurationError: one of its options is wrong, or a package it needs is missing.
    """
    created: Destination | None = load_module(given).create_destination(given, settings)
    return created
