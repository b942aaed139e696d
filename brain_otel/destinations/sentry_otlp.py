"""Sends spans to Sentry's OTLP endpoint, and errors and messages, linked to them, through sentry-sdk.

Sentry recommends this way from sentry-sdk 3.0 on (https://docs.sentry.io/concepts/otlp/). Spans arrive unchanged,
without the bridge's transactions, profiles and client reports.
"""

import time
from collections.abc import Sequence
from functools import partial

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind

from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.sentry import Secret
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.batching import batch_options, create_batched
from brain_otel.destinations.destination import Destination
from brain_otel.destinations.otlp.destination import flushing_spool, open_session
from brain_otel.destinations.otlp.session import Session
from brain_otel.destinations.probe import send_probe
from brain_otel.destinations.sentry import describe_addresses
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.thread_pool import TimedCall, side_by_side
from brain_otel.sentry.breadcrumbs import MAX_BREADCRUMBS
from brain_otel.sentry.client import (
    Pressure,
    close_sentry,
    configure_sentry,
    end_sentry,
    flush_sentry,
    pause_sentry,
    ready_line,
    resume_sentry,
)
from brain_otel.sentry.dsn import otlp_address, probe_event
from brain_otel.sentry.listener import SentryListener
from brain_otel.sentry.span_processor import record_discarded
from brain_otel.traces import conventions, operations
from brain_otel.traces.collector import CollectedTrace, span_count
from brain_otel.traces.queued_collector import QueuedCollector
from brain_otel.traces.scope import OP_ATTRIBUTE


class ExportedTrail(QueuedCollector[CollectedTrace]):
    """Exports every span, and keeps the latest calls of open local traces: the trail that leads to an error."""

    def __init__(self, exported: SpanProcessor | None) -> None:
        super().__init__("brain_otel.sentry_otlp", lambda _: None, drop=lambda _: None, weigh=span_count)
        self._exported = exported

    def on_end(self, span: ReadableSpan) -> None:
        """Export the span."""
        super().on_end(span)
        if self._exported is not None:
            with guarded("exporting a span to Sentry"):
                self._exported.on_end(span)

    def hand_over(self, collected: CollectedTrace) -> None:
        """Do nothing: the spans have been exported one by one."""

    def _keep(self, collected: CollectedTrace, span: ReadableSpan, span_id: int) -> None:
        """Keep only the root and the latest calls, as many as an event may have breadcrumbs."""
        root = collected.trace.span_context()
        if _is_call(span) or (root is not None and root.span_id == span_id):
            super()._keep(collected, span, span_id)
        if len(collected.spans) > MAX_BREADCRUMBS:
            del collected.spans[0]
            self._buffered -= 1


def create_destination(options: Options, settings: Settings) -> Destination | None:
    """Send spans to the DSN's OTLP endpoint; without a DSN, only errors to Spotlight, or None without it."""
    sentry, batch = settings.sentry, batch_options(options)
    if sentry is None:
        return None
    batched = None
    if sentry.dsn is not None:
        session = open_session(otlp_address(str(sentry.dsn))[1], settings.delivery, "traces")
        exporter = _exporter(sentry.dsn, session, timeout=None)
        batched = flushing_spool(session, create_batched("sentry_otlp", options.signal, exporter, batch))
    trail = ExportedTrail(batched.span_processor if batched is not None else None)
    client = configure_sentry(sentry, trail, settings.delivery, profiles_sample_rate=None)
    calls: list[TimedCall] = [("sending errors to Sentry", partial(flush_sentry, client))]
    if batched is not None:
        calls.append(("sending spans to Sentry", batched.flush))
    flush = partial(side_by_side, calls)  # one of Sentry's two endpoints may hang

    def shutdown(timeout: float) -> None:
        deadline = time.monotonic() + timeout
        trail.shutdown()
        flush(timeout)
        close_sentry(max(0.0, deadline - time.monotonic()))
        if batched is not None:
            batched.shutdown(max(0.0, deadline - time.monotonic()))

    return Destination(
        name="sentry_otlp",
        span_processor=trail,
        listener=SentryListener(trail),
        flush=flush,
        shutdown=shutdown,
        pause=partial(pause_sentry, client),  # both share the spool
        resume=partial(resume_sentry, client),
        end=partial(end_sentry, client),
        pressure=Pressure(client),
        relieved=partial(record_discarded, "backpressure", 1, transactions=1),
        may_block=False,
        ready=ready_line(settings, ", spans by OTLP", to_spotlight="errors"),
    )


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The endpoint, and Spotlight if it gets the errors too."""
    return describe_addresses(settings.sentry, lambda dsn: f"http/protobuf to {otlp_address(dsn)[0]}")


def probe(options: Options, settings: Settings, timeout: float) -> str | None:
    """Send a test span and a test event within ``timeout`` seconds; what was delivered, None with Spotlight alone."""
    sentry = settings.sentry
    if sentry is None or sentry.dsn is None:
        return None
    deadline = time.monotonic() + timeout
    session = Session(otlp_address(str(sentry.dsn))[1])
    delivered = send_probe(_exporter(sentry.dsn, session, timeout=timeout), options.signal, settings, timeout)
    return f"{delivered}, {probe_event(sentry, max(0.1, deadline - time.monotonic()))}"


def _is_call(span: ReadableSpan) -> bool:
    """Whether ``span`` may become a breadcrumb."""
    return span.kind is SpanKind.CLIENT or conventions.db_system(span.attributes or {}) is not None


class _Exporter(OTLPSpanExporter):
    """Exports spans with Sentry's names for what this package names itself."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ``spans``."""
        return super().export([_with_sentrys_names(span) for span in spans])


def _with_sentrys_names(span: ReadableSpan) -> ReadableSpan:
    """``span`` with its op, and with what Sentry's view of caches reads; itself if it has none of our names."""
    attributes = span.attributes or {}
    if not any(name == OP_ATTRIBUTE or name.startswith(operations.CACHE) for name in attributes):
        return span
    names = dict(operations.convention_of(attributes).names)
    theirs = {names.get(name, name): value for name, value in attributes.items() if name.startswith("brain_otel.")}
    theirs = {name: value for name, value in theirs.items() if not name.startswith("brain_otel.")}
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes={**attributes, **theirs, "sentry.op": operations.operation(span)},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _exporter(dsn: Secret, session: Session, timeout: float | None) -> OTLPSpanExporter:
    endpoint, headers = otlp_address(str(dsn))
    compression = Compression.NoCompression if session.is_spooling else Compression.Gzip
    exporter = _Exporter(
        endpoint=endpoint, headers=headers, compression=compression, timeout=timeout, session=session
    )
    session.verify, session.cert = True, None  # the exporter has set both from its variables
    return exporter
