"""Sentry: local traces as transactions, errors and messages as events."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from sentry_sdk.consts import DEFAULT_OPTIONS

from brain_otel.destinations.destination import Destination
from brain_otel.privacy import masked_url
from brain_otel.sentry.client import close_sentry, configure_sentry, end_sentry, flush_sentry, pressure_on
from brain_otel.sentry.dsn import envelope_address, probe_event
from brain_otel.sentry.events import SentryListener
from brain_otel.sentry.span_processor import SentrySpanProcessor

if TYPE_CHECKING:
    from sentry_sdk.client import BaseClient

    from brain_otel.configuration.options import Options
    from brain_otel.configuration.settings import SentrySettings, Settings


def create_destination(options: Options, settings: Settings) -> Destination | None:
    """Start the bridge to Sentry; off without a DSN. ``options`` are sentry-sdk's and come before ours."""
    _reject_others(options)  # without a DSN too: a mistake is not to show in production first
    if settings.sentry is None:
        return None
    processor = SentrySpanProcessor()
    client = _start(options, settings, settings.sentry, processor)

    def flush(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        complete = processor.flush_within(timeout)
        return flush_sentry(client, max(0.0, deadline - time.monotonic())) and complete

    def shutdown(timeout: float) -> None:
        deadline = time.monotonic() + timeout
        processor.flush_within(timeout)
        processor.shutdown()
        close_sentry(max(0.0, deadline - time.monotonic()))

    return Destination(
        name="sentry",
        span_processor=processor,
        listener=SentryListener(processor),
        flush=flush,
        shutdown=shutdown,
        end=partial(end_sentry, client),
        pressure=partial(pressure_on, client),
        may_block=False,
        ready=ready_line(settings),
    )


def ready_line(settings: Settings, more: str = "", *, to_spotlight: str = "errors and transactions") -> str | None:
    """What to say once sentry-sdk has started: to Sentry, or without a DSN to Spotlight alone."""
    sentry = settings.sentry
    if sentry is None:
        return None
    spotlight = masked_url(sentry.spotlight) if sentry.spotlight is not None else None
    if sentry.dsn is None:
        return f"Sentry is off: SENTRY_DSN is not set; Spotlight at {spotlight} gets {to_spotlight}"
    line = f"Sentry initialized | environment={settings.environment}, traces_sample_rate={sentry.traces_sample_rate}"
    return line + more + (f", spotlight={spotlight}" if spotlight is not None else "")


def _start(
    options: Options, settings: Settings, sentry: SentrySettings, processor: SentrySpanProcessor
) -> BaseClient:
    try:
        return configure_sentry(sentry, processor, settings.delivery, **options.values)
    except Exception as error:
        raise options.failure(error, "options with values as sentry_sdk.init() takes them") from None


def _reject_others(options: Options) -> None:
    for name in options.values:
        if name == "dsn":  # it would be another one than the rest of the bridge knows
            raise options.error(name, "the DSN in distribution.brain_otel.sentry.dsn")
        if name not in DEFAULT_OPTIONS:
            raise options.error(name, "an option of sentry_sdk.init()")


def describe(options: Options, settings: Settings) -> str:
    """The address of Sentry, of Spotlight, or of both.

    Raises:
        ConfigurationError: there is an option that is none.
    """
    _reject_others(options)
    sentry = settings.sentry
    if sentry is None:
        return "off: no DSN (SENTRY_DSN)"
    addresses = [envelope_address(str(sentry.dsn))] if sentry.dsn is not None else []
    return " and ".join([*addresses, *([f"Spotlight at {masked_url(sentry.spotlight)}"] if sentry.spotlight else [])])


def probe(options: Options, settings: Settings, timeout: float) -> str | None:
    """Send a test event; what was delivered, None where there is only Spotlight.

    Raises:
        DeliveryError: it did not arrive.
    """
    sentry = settings.sentry
    return None if sentry is None or sentry.dsn is None else probe_event(sentry, timeout, options.values)
