"""Sends each local trace to Sentry as a transaction, built and sent on another thread.

:class:`SentrySpanProcessor` derives from sentry-sdk's class so that code which looks for that class finds this one.
It uses nothing of it: upstream mirrors the spans of every request as live spans of Sentry's, in class-level
dictionaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import sentry_sdk
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import SpanKind
from sentry_sdk.integrations.opentelemetry import SentrySpanProcessor as UpstreamProcessor

from brain_otel.configuration.sections.sentry import METHODS
from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import guarded
from brain_otel.sampling.decision import is_for_sentry
from brain_otel.sentry.dynamic_sampling_context import transaction_context_of
from brain_otel.sentry.flat_spans import flat
from brain_otel.sentry.profiling import attach_profile, follow_thread, start_profile, stop_profile
from brain_otel.sentry.scopes import capture_with_scope_of, name_by_scope, release_scope
from brain_otel.sentry.span_cache import SpanCache
from brain_otel.sentry.span_threads import remember_thread
from brain_otel.sentry.transaction import create_transaction, is_transaction
from brain_otel.traces.collector import CollectedTrace, span_count
from brain_otel.traces.conventions import raw_attributes
from brain_otel.traces.local_trace import LocalTrace
from brain_otel.traces.queued_collector import QueuedCollector

if TYPE_CHECKING:
    from brain_otel.sentry.fast_transactions import FastPath


_CLIENT = SpanKind.CLIENT


class SentrySpanProcessor(QueuedCollector[CollectedTrace], UpstreamProcessor):  # type: ignore[misc]  # upstream says ReadableSpan where the SDK gives Span
    """Sends each local trace to Sentry as one transaction.

    Args:
        standalone_spans: Whether a trace whose root calls somebody else, such as a statement outside of any request,
            is a transaction too. A polling loop would use up the quota.
        methods: The methods whose requests are transactions.
    """

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """A new object; upstream's class is a singleton."""
        return object.__new__(cls)

    def __init__(self, *, standalone_spans: bool = False, methods: Sequence[str] = METHODS) -> None:
        self._standalone_spans, self._methods = standalone_spans, frozenset((*methods, "_OTHER"))
        self._cache = SpanCache()
        self._fast_path = _create_fast_path()
        if self._fast_path is not None:
            self.kept = flat  # type: ignore[method-assign]  # saves one call a span
        QueuedCollector.__init__(
            self, "brain_otel.sentry", self._send, drop=self._discard, weigh=span_count, settle=self._write
        )

    def wants(self, span: ReadableSpan) -> bool:
        """Ignores spans of our own requests to Sentry, to avoid a feedback loop."""
        if span.kind is not _CLIENT:
            return True
        attributes = raw_attributes(span)
        url = attributes.get("url.full") or attributes.get("http.url")
        if url is None or "/envelope" not in str(url):
            return True
        dsn = sentry_sdk.get_client().parsed_dsn
        if dsn is None or dsn.netloc not in str(url):
            return True
        parts = urlsplit(str(url))
        return parts.netloc.rpartition("@")[2] != dsn.netloc or not parts.path.rstrip("/").endswith("/envelope")

    def on_span_start(self, span: Span, trace: LocalTrace) -> None:
        """Start a profile with the root; later spans show the profile the thread that works."""
        is_elsewhere = remember_thread(trace, span.context[1])
        if trace.kind == "implicit":
            return
        if trace.root is not span:
            if is_elsewhere:
                follow_thread(trace)
        elif is_for_sentry(span.get_span_context()):  # else tail sampling hands over a span that began long ago
            start_profile(trace)

    def hand_over(self, collected: CollectedTrace) -> None:
        """Queue the local trace to be built and sent on another thread."""
        stop_profile(collected.trace)
        if is_transaction(collected, standalone_spans=self._standalone_spans, methods=self._methods):
            self._queue.put(collected)
        else:
            release_scope(collected.trace)

    def give_up(self, collected: CollectedTrace) -> None:
        """Report the spans of a local trace that never ended as discarded."""
        record_discarded("buffer_overflow", len(collected.spans) + collected.dropped)

    def _send(self, collected: CollectedTrace) -> None:
        trace = collected.trace
        transaction = create_transaction(collected, self._cache)
        sampling_context = transaction_context_of(trace)
        if self._fast_path is None or not self._fast_path.send(transaction, sampling_context):
            event = transaction.to_event()
            name_by_scope(trace, event)
            attach_profile(trace, event)
            event["contexts"]["trace"]["dynamic_sampling_context"] = sampling_context
            capture_with_scope_of(trace, event)
        if collected.dropped:
            record_discarded("buffer_overflow", collected.dropped)
        release_scope(trace)

    def _write(self) -> None:
        if self._fast_path is not None:
            self._fast_path.write()

    def _discard(self, collected: CollectedTrace) -> None:
        release_scope(collected.trace)
        record_discarded("queue_overflow", len(collected.spans) + 1, transactions=1)


def _create_fast_path() -> FastPath | None:
    with guarded("preparing the fast path of transactions"):
        if fast_paths_enabled():
            from brain_otel.sentry.fast_transactions import FastPath

            return FastPath()
    return None


def record_discarded(reason: str, spans: int, transactions: int = 0) -> None:
    """Count spans that Sentry will not see: https://develop.sentry.dev/sdk/telemetry/client-reports/."""
    transport: Any = sentry_sdk.get_client().transport
    if transport is None:
        return
    if transactions:
        transport.record_lost_event(reason, data_category="transaction", quantity=transactions)
    if spans:
        transport.record_lost_event(reason, data_category="span", quantity=spans)
