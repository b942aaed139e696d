"""Sentry: local traces as transactions, errors and messages as events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from brain_otel.destinations import Destination
from brain_otel.sentry.client import close_sentry, configure_sentry
from brain_otel.sentry.dsn import envelope_address, probe_event
from brain_otel.sentry.events import SentryReporter
from brain_otel.sentry.span_processor import SentrySpanProcessor
from brain_otel.sentry.spotlight import flush_spotlight

if TYPE_CHECKING:
    from brain_otel.options import Options
    from brain_otel.settings import Settings


def create_destination(options: Options, settings: Settings) -> Destination | None:
    """Start the bridge to Sentry; off without a DSN. ``options`` are sentry-sdk's and come before ours."""
    if settings.sentry is None:
        return None
    processor = SentrySpanProcessor()
    client = configure_sentry(settings.sentry, processor, **options.values)

    def flush(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        complete = processor.flush_within(timeout)
        client.flush(timeout=max(0.0, deadline - time.monotonic()))
        return flush_spotlight(client, max(0.0, deadline - time.monotonic())) and complete

    def shutdown(timeout: float) -> None:
        deadline = time.monotonic() + timeout
        processor.flush_within(timeout)
        processor.shutdown()
        close_sentry(max(0.0, deadline - time.monotonic()))

    return Destination(
        name="sentry",
        span_processor=processor,
        reporter=SentryReporter(processor),
        flush=flush,
        shutdown=shutdown,
        may_block=False,
        ready=(
            f"Sentry initialized | environment={settings.environment}, "
            f"traces_sample_rate={settings.sentry.traces_sample_rate}"
        ),
    )


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The address of Sentry, of Spotlight, or of both."""
    sentry = settings.sentry
    if sentry is None:
        return "off: no DSN (SENTRY_DSN)"
    addresses = [envelope_address(str(sentry.dsn))] if sentry.dsn is not None else []
    return " and ".join([*addresses, *([f"Spotlight at {sentry.spotlight}"] if sentry.spotlight else [])])


def probe(options: Options, settings: Settings, timeout: float) -> str:  # noqa: ARG001
    """Send a test event; what was delivered.

    Raises:
        DeliveryError: it did not arrive.
    """
    sentry = settings.sentry
    return "off" if sentry is None or sentry.dsn is None else probe_event(sentry, timeout)
