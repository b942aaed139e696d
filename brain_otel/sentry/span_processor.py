"""The span processor that makes Sentry transactions: local traces collected, built and sent off the path.

Takes the place of sentry-sdk's class, from which it derives so that what looks for that class finds this one.
Nothing of the upstream behaviour is used: there the spans of every request are mirrored by Sentry's own, live,
in class-level dictionaries; here ended spans are collected and the transaction is built on another thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import sentry_sdk
from opentelemetry.trace import SpanKind
from sentry_sdk.integrations.opentelemetry import SentrySpanProcessor as UpstreamProcessor

from brain_otel.sampling.decision import is_for_sentry
from brain_otel.sentry.dynamic_sampling_context import kept_context_of
from brain_otel.sentry.fast_transactions import send_plainly
from brain_otel.sentry.profiling import attach_profile, follow_thread, start_profile, stop_profile
from brain_otel.sentry.scopes import captured_with_scope_of, let_scope_go
from brain_otel.sentry.transaction import create_transaction
from brain_otel.traces.collector import CollectedTrace, span_count
from brain_otel.traces.conventions import raw_attributes
from brain_otel.traces.queued_collector import QueuedCollector

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from brain_otel.traces.local_trace import LocalTrace


class SentrySpanProcessor(QueuedCollector[CollectedTrace], UpstreamProcessor):  # type: ignore[misc]  # upstream says ReadableSpan where the SDK gives Span
    """Sends each local trace to Sentry as one transaction."""

    def __new__(cls) -> Self:
        """A new object; upstream's is a singleton."""
        return object.__new__(cls)

    def __init__(self) -> None:
        QueuedCollector.__init__(self, "brain_otel.sentry", self._send, drop=self._dropped, weigh=span_count)

    def wants(self, span: ReadableSpan) -> bool:
        """All but spans of our own traffic to Sentry, which would beget themselves."""
        if span.kind is not SpanKind.CLIENT:
            return True
        attributes = raw_attributes(span)
        url = attributes.get("url.full") or attributes.get("http.url")
        dsn = sentry_sdk.get_client().parsed_dsn if url is not None else None
        if dsn is None or dsn.netloc not in str(url):
            return True
        parts = urlsplit(str(url))
        return parts.netloc.rpartition("@")[2] != dsn.netloc or not parts.path.rstrip("/").endswith("/envelope")

    def began(self, span: Span, trace: LocalTrace) -> None:
        """A root may start a profile, others show it the thread that works."""
        if trace.root is not span:
            follow_thread(trace)
        elif is_for_sentry(span.get_span_context()):  # else it is told of a span that began long ago
            start_profile(trace)

    def hand_over(self, collected: CollectedTrace) -> None:
        """Queue the local trace to be built and sent on another thread."""
        stop_profile(collected.trace)
        self._queue.put(collected)

    def give_up(self, collected: CollectedTrace) -> None:
        """Count the spans of a local trace that never ended."""
        _record_lost("buffer_overflow", len(collected.spans) + collected.dropped)

    def _send(self, collected: CollectedTrace) -> None:
        trace = collected.trace
        transaction = create_transaction(collected)
        sampling_context = kept_context_of(trace)
        attach_profile(trace, transaction.event)
        if not send_plainly(trace, transaction, sampling_context):
            event = transaction.to_event()
            event["contexts"]["trace"]["dynamic_sampling_context"] = sampling_context
            captured_with_scope_of(trace, event)
        let_scope_go(trace)

    def _dropped(self, collected: CollectedTrace) -> None:
        let_scope_go(collected.trace)
        _record_lost("queue_overflow", len(collected.spans) + 1, transactions=1)


def _record_lost(reason: str, spans: int, transactions: int = 0) -> None:
    """Report spans that Sentry will not see: https://develop.sentry.dev/sdk/telemetry/client-reports/."""
    transport: Any = sentry_sdk.get_client().transport
    if transport is None:
        return
    if transactions:
        transport.record_lost_event(reason, data_category="transaction", quantity=transactions)
    if spans:
        transport.record_lost_event(reason, data_category="span", quantity=spans)
