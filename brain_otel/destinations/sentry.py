"""Sends local traces to Sentry as transactions, errors and messages as events, and log records as log items."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.sentry import SentrySettings
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.destination import Destination
from brain_otel.privacy import masked_url
from brain_otel.sentry.client import (
    Pressure,
    close_sentry,
    configure_sentry,
    end_sentry,
    flush_sentry,
    pause_sentry,
    ready_line,
    reject_unknown_options,
    resume_sentry,
)
from brain_otel.sentry.dsn import envelope_address, probe_event
from brain_otel.sentry.listener import SentryListener
from brain_otel.sentry.span_processor import SentrySpanProcessor, record_discarded

SIGNALS = ("traces", "logs")

LOG_LEVELS = {"trace": 1, "debug": 5, "info": 9, "warning": 13, "error": 17, "fatal": 21}
"""Option ``level`` of ``logger_provider.processors[].sentry`` -> the lowest of OpenTelemetry's severity numbers."""

BUILD_TIMEOUT = 0.04
"""Seconds at the end of the process to build transactions, so that they are written to disk or counted."""


def create_destination(options: Options, settings: Settings) -> Destination | None:
    """Start the bridge to Sentry; None without a DSN. ``options`` are sentry-sdk's and override ours.

    For logs, send log records through the bridge that has been started for the traces.
    """
    return (_create_for_logs if options.signal == "logs" else _create_for_traces)(options, settings)


def _create_for_traces(options: Options, settings: Settings) -> Destination | None:
    reject_unknown_options(options)  # without a DSN too, so that a mistake does not wait for production
    if settings.sentry is None:
        return None
    processor = SentrySpanProcessor(
        standalone_spans=settings.sentry.standalone_spans, methods=settings.sentry.http_methods_to_capture
    )
    try:
        client = configure_sentry(settings.sentry, processor, settings.delivery, **options.values)
    except Exception as error:
        raise options.failure(error, "options with values as sentry_sdk.init() takes them") from None

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
        pause=partial(_pause, processor, client),
        resume=partial(_resume, processor, client),
        end=partial(_end, processor, client),
        pressure=Pressure(client),
        relieved=partial(record_discarded, "backpressure", 1, transactions=1),
        may_block=False,
        ready=ready_line(settings),
    )


def _create_for_logs(options: Options, settings: Settings) -> Destination | None:
    least = _least_severity(options)
    if settings.sentry is None:
        return None
    from brain_otel.sentry.logs import create_log_processor

    processor = create_log_processor(least)
    if processor is None:
        raise ConfigurationError(
            f"{options.place} has no bridge to send log records through; "
            "allowed: beside sentry or sentry_otlp in tracer_provider.processors"
        )
    return Destination(
        name="sentry",
        log_record_processor=processor,  # the destination of the traces flushes and shuts down the bridge
        may_block=False,
    )


def _least_severity(options: Options) -> int:
    options.raw("enabled")  # of a destination that is not enabled the configuration makes no options
    least = LOG_LEVELS[options.choice("level", [*LOG_LEVELS], "info")]
    options.reject_others()
    return least


def _pause(processor: SentrySpanProcessor, client: Any, left: Counter[str], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    left.update(processor.hold(timeout / 3))
    pause_sentry(client, left, max(0.0, deadline - time.monotonic()))


def _resume(processor: SentrySpanProcessor, client: Any) -> None:
    processor.resume()
    resume_sentry(client)


def _end(processor: SentrySpanProcessor, client: Any) -> None:
    processor.end(BUILD_TIMEOUT)
    end_sentry(client)


def describe(options: Options, settings: Settings) -> str:
    """The address of Sentry, of Spotlight, or of both."""
    (_least_severity if options.signal == "logs" else reject_unknown_options)(options)
    return describe_addresses(settings.sentry, envelope_address)


def describe_addresses(sentry: SentrySettings | None, address_of: Callable[[str], str]) -> str:
    """What ``address_of`` gives for the DSN, and Spotlight's address."""
    if sentry is None:
        return "off: no DSN (SENTRY_DSN)"
    addresses = [address_of(str(sentry.dsn))] if sentry.dsn is not None else []
    return " and ".join([*addresses, *([f"Spotlight at {masked_url(sentry.spotlight)}"] if sentry.spotlight else [])])


def probe(options: Options, settings: Settings, timeout: float) -> str | None:
    """Send a test event and a test transaction within ``timeout`` seconds; what was delivered.

    None with Spotlight alone, and for logs, which go the same way.
    """
    sentry = settings.sentry
    if sentry is None or sentry.dsn is None or options.signal == "logs":  # the same address
        return None
    return probe_event(sentry, timeout, options.values, with_transaction=True)
