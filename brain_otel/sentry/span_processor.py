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

from brain_otel import conventions, local_trace
from brain_otel.collection import CollectedTrace, QueuedCollector
from brain_otel.guard import guarded
from brain_otel.sampling import is_for_sentry
from brain_otel.sentry.profiling import attach_profile, follow_thread, start_profile, stop_profile
from brain_otel.sentry.sampling_context import kept_context_of
from brain_otel.sentry.scopes import captured_with_scope_of
from brain_otel.sentry.transaction import create_transaction

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span


class SentrySpanProcessor(QueuedCollector[CollectedTrace], UpstreamProcessor):
    """Sends each local trace to Sentry as one transaction."""

    def __new__(cls) -> Self:
        """A new object; upstream's is a singleton."""
        return object.__new__(cls)

    def __init__(self) -> None:
        QueuedCollector.__init__(self, "brain_otel.sentry", self._send, drop=self._dropped)

    def wants(self, span: ReadableSpan) -> bool:
        """All but spans of our own traffic to Sentry, which would beget themselves."""
        if span.kind is not SpanKind.CLIENT:
            return True
        dsn = sentry_sdk.get_client().parsed_dsn
        url = conventions.first(span.attributes or {}, "url.full", "http.url")
        if url is None or dsn is None or dsn.netloc not in str(url):
            return True
        parts = urlsplit(str(url))
        return parts.netloc.rpartition("@")[2] != dsn.netloc or not parts.path.rstrip("/").endswith("/envelope")

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # type: ignore[override]  # upstream says ReadableSpan, the SDK gives Span
        """Collect the span; a root may start a profile, others show it the thread that works."""
        super().on_start(span, parent_context)
        with guarded("following a span's thread"):
            trace = local_trace.current(parent_context)
            if trace is not None and trace.root is span:
                if is_for_sentry(span.get_span_context()):  # else it is told of a span that began long ago
                    start_profile(trace)
            elif trace is not None:
                follow_thread(trace)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span."""
        super().on_end(span)

    def hand_over(self, collected: CollectedTrace) -> None:
        """Queue the local trace to be built and sent on another thread."""
        stop_profile(collected.trace)
        self._queue.put(collected)

    def give_up(self, collected: CollectedTrace) -> None:
        """Count the spans of a local trace that never ended."""
        _record_lost("buffer_overflow", len(collected.spans) + collected.dropped)

    def _send(self, collected: CollectedTrace) -> None:
        trace = collected.trace
        event = create_transaction(collected)
        event["contexts"]["trace"]["dynamic_sampling_context"] = kept_context_of(trace)
        attach_profile(trace, event)
        captured_with_scope_of(trace, event)

    def _dropped(self, collected: CollectedTrace) -> None:
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
