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
from brain_otel.runtime.guard import caught
from brain_otel.runtime.imports import late_module
from brain_otel.traces import conventions
from brain_otel.traces.collector import CollectedTrace, span_count
from brain_otel.traces.local_trace import LocalTrace
from brain_otel.traces.queued_collector import QueuedCollector

if TYPE_CHECKING:
    from brain_otel.sentry import span_observer, transaction_sender
else:
    # The first span needs the one, and the thread that builds transactions the other.
    span_observer = late_module("brain_otel.sentry.span_observer")
    transaction_sender = late_module("brain_otel.sentry.transaction_sender")

_CLIENT = SpanKind.CLIENT
_DATABASES = frozenset({"db.system.name", "db.system"})


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
        self._sender: transaction_sender.TransactionSender | None = None
        QueuedCollector.__init__(
            self, "brain_otel.sentry", self._send, drop=self._discard, weigh=span_count, settle=self._write
        )

    def wants(self, span: ReadableSpan) -> bool:
        """Ignores spans of our own requests to Sentry, to avoid a feedback loop."""
        if span.kind is not _CLIENT:
            return True
        attributes = conventions.raw_attributes(span)
        url = attributes.get("url.full") or attributes.get("http.url")
        if url is None or "/envelope" not in str(url):
            return True
        dsn = sentry_sdk.get_client().parsed_dsn
        if dsn is None or dsn.netloc not in str(url):
            return True
        parts = urlsplit(str(url))
        return parts.netloc.rpartition("@")[2] != dsn.netloc or not parts.path.rstrip("/").endswith("/envelope")

    def on_span_start(self, span: Span, trace: LocalTrace) -> None:
        """Load what observes spans; later spans call it directly. At the end of a span, it would be under a lock."""
        self.kept = span_observer.keeper()  # type: ignore[assignment,method-assign]  # saves one call a span
        self.on_span_start = span_observer.observe_start  # type: ignore[method-assign]
        self.on_span_start(span, trace)

    def hand_over(self, collected: CollectedTrace) -> None:
        """Queue the local trace to be built and sent on another thread."""
        try:
            span_observer.stop_profile(collected.trace)
        except Exception as error:
            caught("stopping a profile", error)
        if self._is_transaction(collected):
            self._queue.put(collected)
        else:
            span_observer.release_scope(collected.trace)

    def give_up(self, collected: CollectedTrace) -> None:
        """Report the spans of a local trace that never ended as discarded."""
        record_discarded("buffer_overflow", len(collected.spans) + collected.dropped)

    def _is_transaction(self, collected: CollectedTrace) -> bool:
        """Whether a local trace is a transaction in Sentry, as ``SentrySettings`` explains the two options."""
        root = collected.root
        if root is None:
            return True
        attributes = conventions.raw_attributes(root)
        if root.kind is SpanKind.SERVER:
            method = attributes.get("http.request.method") or attributes.get("http.method")
            return method is None or method in self._methods or conventions.is_websocket(attributes)
        calls = root.kind in (SpanKind.CLIENT, SpanKind.PRODUCER) or not _DATABASES.isdisjoint(attributes)
        return self._standalone_spans or not calls or collected.trace.kind != "implicit"

    def created_sender(self) -> transaction_sender.TransactionSender:
        """What builds and sends; it is created for the first transaction."""
        if self._sender is None:
            self._sender = transaction_sender.TransactionSender()
        return self._sender

    def _send(self, collected: CollectedTrace) -> None:
        try:
            sender = self.created_sender()
        except Exception:  # imports fail where no descriptor is left
            self._count(collected, "internal_sdk_error")
            raise
        sender.send(collected)
        if collected.dropped:
            record_discarded("buffer_overflow", collected.dropped)
        span_observer.release_scope(collected.trace)

    def _write(self) -> None:
        if self._sender is not None:
            self._sender.write()

    def _discard(self, collected: CollectedTrace) -> None:
        self._count(collected, "queue_overflow")

    @staticmethod
    def _count(collected: CollectedTrace, reason: str) -> None:
        record_discarded(reason, len(collected.spans) + 1, transactions=1)
        span_observer.release_scope(collected.trace)


def record_discarded(reason: str, spans: int, transactions: int = 0) -> None:
    """Count spans that Sentry will not see: https://develop.sentry.dev/sdk/telemetry/client-reports/."""
    transport: Any = sentry_sdk.get_client().transport
    if transport is None:
        return
    if transactions:
        transport.record_lost_event(reason, data_category="transaction", quantity=transactions)
    if spans:
        transport.record_lost_event(reason, data_category="span", quantity=spans)
