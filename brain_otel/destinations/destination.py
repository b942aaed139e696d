"""A destination in use, and what the module of a destination has to offer."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace import SpanProcessor

from brain_otel.configuration.destination_registry import load_module
from brain_otel.configuration.options import Options
from brain_otel.configuration.settings import Settings
from brain_otel.events.listeners import EventListener
from brain_otel.runtime.named_tuple import NamedTuple

logger = logging.getLogger(__name__)


class Destination(NamedTuple):
    """A destination in use for one signal: traces, logs or metrics."""

    name: str
    flush: Callable[[float], bool] = lambda _timeout: True
    """Sends everything queued within this many seconds; returns whether all of it was accepted."""
    shutdown: Callable[[float], None] = lambda _timeout: None
    """Sends everything queued within this many seconds and takes no more."""
    pause: Callable[[Counter[str], float], None] | None = None
    """Called when a server shuts down, which may end the process at once: adds what is in memory, by Sentry's
    categories, and waits for answers within this many seconds. Holds that back, and drops nothing."""
    resume: Callable[[], None] | None = None
    """Sends what ``pause`` holds back, since the process goes on. New data does the same by itself."""
    end: Callable[[], None] | None = None
    """Called when the process ends: keeps or counts what has not been sent. ``shutdown`` may not have been called."""
    span_processor: SpanProcessor | None = None
    log_record_processor: LogRecordProcessor | None = None
    metric_exporter: MetricExporter | None = None
    """For a ``periodic`` reader; called on a thread of its own."""
    listener: EventListener | None = None
    ready: str | None = None
    """The line to log once set-up is done."""
    pressure: Callable[[], int] | None = None
    """How many times to halve the rate of its traces, because it cannot take all of them at the moment."""
    relieved: Callable[[], None] | None = None
    """Called for each trace that it does not get because of ``pressure`` alone."""
    may_block: bool = True
    """Whether ``on_end`` and ``on_emit`` of the processors may block; they are then called on another thread."""


class Unqueued:
    """A processor or exporter that has nothing to flush or to shut down: its destination does that as a whole."""

    def force_flush(self, timeout_millis: float = 30_000) -> bool:  # noqa: ARG002
        """Return True."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing."""


class DestinationModule(Protocol):
    """The module of a destination, in this folder or in another package.

    It may have two more functions. ``describe(options, settings) -> str`` says where the telemetry goes, in a few
    words and without secrets, or ``off:`` and the reason. ``probe(options, settings, timeout) -> str | None`` sends
    a test item within ``timeout`` seconds and returns what was delivered, or None if there is nothing to try; it
    raises :class:`brain_otel.delivery.DeliveryError` if the item does not arrive. Each function raises
    :class:`brain_otel.ConfigurationError` if an option is wrong.
    """

    SIGNALS: tuple[str, ...]
    """The signals it takes: ``traces``, ``logs``, ``metrics``. Without this name, ``traces`` alone."""

    def create_destination(self, options: Options, settings: Settings) -> Destination | None:
        """Create the destination from its options in the file; None if it is off, as without an address."""


class UnsupportedReleaseError(Exception):
    """The installed release of another package lacks a private name that the destination needs."""


def create_destination(given: Options, settings: Settings) -> Destination | None:
    """Create the destination that ``given`` describes; None if it is off.

    Raises:
        ConfigurationError: one of its options is wrong, or a package it needs is missing.
    """
    try:
        created: Destination | None = load_module(given).create_destination(given, settings)
    except UnsupportedReleaseError as error:
        logger.error("%s is off, and its %s are lost: %s", given.place, given.signal, error)
        return None
    return created
