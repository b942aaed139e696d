"""Sentry by OTLP: spans to Sentry's own OTLP endpoint, errors and messages through sentry-sdk, linked.

It is the way that Sentry recommends from sentry-sdk 3.0 on (https://docs.sentry.io/concepts/otlp/). Spans arrive as
they are, without the bridge's transactions, profiles and client reports.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from brain_otel.collection import CollectedTrace, QueuedCollector
from brain_otel.destinations import Destination
from brain_otel.destinations.batching import create_batched
from brain_otel.destinations.probing import send_probe
from brain_otel.guard import guarded
from brain_otel.sentry.client import close_sentry, configure_sentry
from brain_otel.sentry.dsn import otlp_address, probe_event
from brain_otel.sentry.events import SentryReporter
from brain_otel.settings import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

    from brain_otel.options import Options
    from brain_otel.settings import SentrySettings, Settings


class ExportedTrail(QueuedCollector[CollectedTrace]):
    """Exports every span, and keeps those of open local traces as the trail that leads to an error."""

    def __init__(self, exported: SpanProcessor) -> None:
        super().__init__("brain_otel.sentry_otlp", lambda _: None, drop=lambda _: None)
        self._exported = exported

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Open or continue the trail."""
        super().on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Export the span."""
        super().on_end(span)
        with guarded("exporting a span to Sentry"):
            self._exported.on_end(span)

    def hand_over(self, collected: CollectedTrace) -> None:
        """Nothing: the spans have been exported one by one."""


def create_destination(options: Options, settings: Settings) -> Destination | None:
    """Send spans to the DSN's OTLP endpoint; off without a DSN."""
    sentry = settings.sentry
    if sentry is None or sentry.dsn is None:
        return None
    batched = create_batched("sentry_otlp", _exporter(sentry, timeout=None), options, settings)
    if batched.span_processor is None:
        raise ConfigurationError(f"{options.place} is not for {options.signal}; allowed: traces")
    trail = ExportedTrail(batched.span_processor)
    client = configure_sentry(sentry, trail)

    def flush(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        complete = batched.flush(timeout)
        client.flush(timeout=max(0.0, deadline - time.monotonic()))
        return complete

    def shutdown(timeout: float) -> None:
        deadline = time.monotonic() + timeout
        batched.shutdown(timeout)
        trail.shutdown()
        close_sentry(max(0.0, deadline - time.monotonic()))

    return Destination(
        name="sentry_otlp",
        span_processor=trail,
        reporter=SentryReporter(trail),
        flush=flush,
        shutdown=shutdown,
        may_block=False,
        ready=(
            f"Sentry initialized | environment={settings.environment}, "
            f"traces_sample_rate={sentry.traces_sample_rate}, spans by OTLP"
        ),
    )


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The endpoint."""
    if settings.sentry is None or settings.sentry.dsn is None:
        return "off: no DSN (SENTRY_DSN)"
    return f"http/protobuf to {otlp_address(str(settings.sentry.dsn))[0]}"


def probe(options: Options, settings: Settings, timeout: float) -> str:
    """Send a test span and a test event; what was delivered.

    Raises:
        DeliveryError: one of them did not arrive.
    """
    sentry = settings.sentry
    if sentry is None or sentry.dsn is None:
        return "off"
    deadline = time.monotonic() + timeout
    delivered = send_probe(_exporter(sentry, timeout=timeout), options.signal, settings, timeout)
    return f"{delivered}, {probe_event(sentry, max(0.1, deadline - time.monotonic()))}"


def _exporter(sentry: SentrySettings, timeout: float | None) -> OTLPSpanExporter:
    endpoint, headers = otlp_address(str(sentry.dsn))
    return OTLPSpanExporter(endpoint=endpoint, headers=headers, compression=Compression.Gzip, timeout=timeout)
