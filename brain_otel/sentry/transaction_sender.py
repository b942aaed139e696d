"""Builds and sends transactions, on the thread of their queue. The first transaction loads this module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.sentry.dynamic_sampling_context import transaction_context_of
from brain_otel.sentry.profiling import attach_profile
from brain_otel.sentry.scopes import capture_with_scope_of, name_by_scope
from brain_otel.sentry.span_cache import SpanCache
from brain_otel.sentry.transaction import create_transaction
from brain_otel.traces.collector import CollectedTrace

if TYPE_CHECKING:
    from brain_otel.sentry import fast_transactions
else:
    # Transactions are sent without it, too, if sentry-sdk is not as expected.
    fast_transactions = late_module("brain_otel.sentry.fast_transactions")


class TransactionSender:
    """Sends a local trace as a transaction, on the fast path or through sentry-sdk's pipeline."""

    def __init__(self) -> None:
        self._cache = SpanCache()
        self.fast_path = _create_fast_path()

    def send(self, collected: CollectedTrace) -> None:
        """Build and send the transaction of ``collected``."""
        trace = collected.trace
        transaction = create_transaction(collected, self._cache)
        sampling_context = transaction_context_of(trace)
        if self.fast_path is None or not self.fast_path.send(transaction, sampling_context):
            event = transaction.to_event()
            name_by_scope(trace, event)
            attach_profile(trace, event)
            event["contexts"]["trace"]["dynamic_sampling_context"] = sampling_context
            capture_with_scope_of(trace, event)

    def write(self) -> None:
        """Hand the transactions that the fast path has gathered to the delivery."""
        if self.fast_path is not None:
            self.fast_path.write()


def _create_fast_path() -> fast_transactions.FastPath | None:
    with guarded("preparing the fast path of transactions"):
        if fast_paths_enabled():
            return fast_transactions.FastPath()
    return None
