"""Sentry: local traces as transactions, errors and messages as events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from brain_otel.destinations import Destination
from brain_otel.sentry.client import close_sentry, configure_sentry
from brain_otel.sentry.events import SentryReporter
from brain_otel.sentry.span_processor import SentrySpanProcessor
from brain_otel.settings import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.settings import Settings


def create_destination(options: Mapping[str, Any], settings: Settings) -> Destination:
    """Start the bridge to Sentry; ``options`` are sentry-sdk's and come before ours."""
    if settings.sentry is None:
        raise ConfigurationError("SENTRY_DSN is not set; allowed: a DSN such as https://<key>@<host>/<project>")
    processor = SentrySpanProcessor()
    client = configure_sentry(settings.sentry, processor, **options)

    def flush(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        complete = processor.flush_within(timeout)
        client.flush(timeout=max(0.0, deadline - time.monotonic()))
        return complete

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
        ready=(
            f"Sentry initialized | environment={settings.environment}, "
            f"traces_sample_rate={settings.sentry.traces_sample_rate}"
        ),
    )
