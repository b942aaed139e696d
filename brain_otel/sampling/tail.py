"""The tail: keeps a local trace that ended in error or took too long, although the head excluded destinations.

A trace that the head excludes from a destination is recorded all the same, and its spans are buffered here. As soon
as there is a reason to keep it, its spans go to the excluded destinations, and later spans bypass the buffer. So once
a trace has failed, it takes no room and cannot be evicted. A trace that ends without a reason is dropped.

The buffer is bounded. Beyond a bound the tail evicts the oldest local trace, or the current one if it takes more than
a quarter of the room; its spans are dropped and counted. If an evicted trace then fails or is slow, its root is still
kept. The bounds limit spans, not which traces are kept.
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import StatusCode

from brain_otel.configuration.sections.sampling import TailSettings
from brain_otel.events.deduplication import has_reported
from brain_otel.events.listeners import EventListener, Failure
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.limited_log import CountLog
from brain_otel.runtime.work_queue import WorkQueue
from brain_otel.sampling.decision import SamplingDecision, decision_of
from brain_otel.sampling.tail_buffer import BufferedTrace, TailBuffer
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace

Started = tuple[Span, Context | None]
Release = Callable[[SamplingDecision, str, Sequence[Started], Sequence[ReadableSpan]], None]

logger = logging.getLogger(__name__)

ERROR, SLOW = "error", "slow"


class Tail(EventListener):
    """Buffers spans until there is a reason to release them.

    Args:
        settings: The reasons and the bounds.
        release: Called with the decision for a local trace, the reason to keep it, and its spans that have started
            and ended; passes them to the destinations that the head has excluded.
    """

    def __init__(self, settings: TailSettings, release: Release) -> None:
        self._settings = settings
        self._release = release
        self._slower_than = None if settings.slower_than is None else int(settings.slower_than * 1e9)
        self._sweeper: WorkQueue[None] = WorkQueue(
            "brain_otel.sampling", lambda _: None, drop=lambda _: None, idle=self.sweep
        )
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Start empty: in a forked child the buffered spans are the parent's, and its lock may stay locked."""
        # Re-entrant: the garbage collector may run while the lock is held, and end a span on the same thread.
        self._lock = threading.RLock()
        self.buffer = TailBuffer(self._settings)
        self._is_sweeping = self._is_used = False
        self.evicted_traces = self.evicted_spans = 0
        self._eviction_log = CountLog(
            logger, "sampling.tail: the buffer is full; local traces that lose spans, by bound: %s"
        )

    def start(self, decision: SamplingDecision, span: Span, context: Context | None, *, is_partial: bool) -> bool:
        """A span has started; whether every destination gets it now.

        It is buffered if the head excludes a destination (``is_partial``) and there is no reason to keep the trace.
        """
        if not decision.root_id:
            decision.root_id, decision.root_start = span.get_span_context().span_id, span.start_time or 0
        if not is_partial or decision.keep_reason is not None or decision.is_evicted:
            return decision.keep_reason is not None
        trace = local_trace.current(context)
        within = local_trace.within(trace, context)
        with self._lock:
            if _is_kept(decision):  # another thread has found a reason
                return True
            self._evict_excess(self.buffer.add_start(decision, trace, span, within))
            is_sweeping = self._is_sweeping
            self._is_sweeping = self._is_used = True
        if not is_sweeping:
            self._sweeper.wake()
        return False

    def end(self, decision: SamplingDecision, span: ReadableSpan, *, is_partial: bool) -> bool:
        """A span has ended; whether every destination gets it now."""
        reason = decision.keep_reason or self._reason_to_keep(decision, span)
        if not is_partial or (decision.keep_reason is not None and not decision.is_evicted):
            decision.keep_reason = reason
            return reason is not None
        context = span.get_span_context()
        span_id = context.span_id if context is not None else 0
        with self._lock:
            buffered = self.buffer.get(decision)
            reason = reason or decision.keep_reason  # another thread may have found one
            if reason is not None:
                self._keep(decision, reason, span)
            elif buffered is not None and span_id in buffered.open_spans:
                self.buffer.add_end(buffered, span, span_id)
                self._evict_excess(buffered)
                self._drop_if_complete(buffered)
        return reason is not None

    def on_exception(self, failure: Failure) -> None:
        """Keep the current local trace, before a destination asks for the breadcrumbs that lead to the error."""
        del failure
        self._keep_failed(local_trace.current())

    def on_trace_end(self, trace: LocalTrace, token: object) -> None:
        """The code that opened ``trace`` has left it: only spans that are open can still end."""
        del token
        if has_reported(trace):
            self._keep_failed(trace)
        decision = decision_of(trace.span_context())
        if decision is not None:
            with self._lock:
                buffered = self.buffer.get(decision)
                if buffered is not None:
                    self._drop_if_complete(buffered)

    def sweep(self) -> float | None:
        """Evict traces that are too old; the seconds until the next one is, None if the buffer is empty."""
        now = time.monotonic()
        with self._lock:
            for buffered in self.buffer:
                left = buffered.buffered_at + self._settings.max_age - now
                if left > 0:
                    return left
                if buffered.root_ended:  # there was no reason to keep it; only late spans are missing
                    self.buffer.remove(buffered)
                else:
                    self._evict(buffered, "max_age")
            # One more look, even if the buffer is empty: waking up for each of many short requests would cost more.
            self._is_sweeping, self._is_used = self._is_used, False
            return self._settings.max_age if self._is_sweeping else None

    def stop(self) -> None:
        """Drop everything."""
        self._sweeper.stop()
        with self._lock:
            self.buffer = TailBuffer(self._settings)

    def _keep_failed(self, trace: LocalTrace | None) -> None:
        """An error of ``trace`` was reported."""
        decision = decision_of(trace.span_context()) if trace is not None else None
        if decision is not None and decision.keep_reason is None and self._settings.errors:
            with self._lock:
                self._keep(decision, ERROR)

    def _reason_to_keep(self, decision: SamplingDecision, span: ReadableSpan) -> str | None:
        if self._settings.errors and (
            span.status.status_code is StatusCode.ERROR or _is_root_of_failed(span, decision)
        ):
            return ERROR
        if self._slower_than is not None and (span.end_time or 0) - decision.root_start > self._slower_than:
            return SLOW
        return None

    # The lock is held in the methods below, so that a later span cannot overtake the released ones.

    def _keep(self, decision: SamplingDecision, reason: str, ended: ReadableSpan | None = None) -> None:
        """Release the local trace; ``ended`` is the span that has just ended, if one has."""
        buffered = self.buffer.get(decision)
        if buffered is not None:
            self.buffer.remove(buffered)
            # The current context belongs to the request that happens to run, not to the trace.
            contextvars.Context().run(self._release_all, decision, reason, buffered.started, buffered.ended)
        elif decision.is_evicted:
            self._release_all(decision, reason, _spans_after_eviction(decision, ended), [])
        decision.keep_reason = reason

    def _release_all(
        self, decision: SamplingDecision, reason: str, started: Sequence[Started], ended: Sequence[ReadableSpan]
    ) -> None:
        with guarded("releasing buffered spans"):
            self._release(decision, reason, started, ended)

    def _evict_excess(self, current: BufferedTrace) -> None:
        while (bound := self.buffer.exceeded_bound()) is not None:
            self._evict(self.buffer.select_for_eviction(current), bound)

    def _evict(self, buffered: BufferedTrace, bound: str) -> None:
        self._eviction_log.add(bound)
        self.evicted_traces += 1
        self.evicted_spans += len(buffered.started)
        buffered.decision.is_evicted = True
        self.buffer.remove(buffered)

    def _drop_if_complete(self, buffered: BufferedTrace) -> None:
        if buffered.is_complete() and self.buffer.get(buffered.decision) is buffered:
            self.buffer.remove(buffered)


def _is_kept(decision: SamplingDecision) -> bool:
    return decision.keep_reason is not None


def _is_root_of_failed(span: ReadableSpan, decision: SamplingDecision) -> bool:
    """Whether ``span`` is the local root and an error of its trace was reported, for example by a log line."""
    context, trace = span.get_span_context(), local_trace.current()
    if trace is None or trace.root is None or context is None or context.span_id != decision.root_id:
        return False
    return trace.root.get_span_context().span_id == context.span_id and has_reported(trace)


def _spans_after_eviction(decision: SamplingDecision, ended: ReadableSpan | None) -> list[Started]:
    """The spans of an evicted local trace that are released: its root, and the span that has just ``ended``.

    If this package did not open the trace, its root is known only when it ends.
    """
    trace, context = local_trace.current(), ended.get_span_context() if ended is not None else None
    root = trace.root if trace is not None else None
    is_root_known = root is not None and root.get_span_context().span_id == decision.root_id
    found: list[Any] = [root] if is_root_known else []
    if context is None or context.span_id != decision.root_id:
        decision.is_evicted = not is_root_known  # with its root released, the trace is like any other
        found += [] if ended is None else [ended]
    else:
        decision.is_evicted = False
        found = found or [ended]
    return [(cast("Span", each), None) for each in found]
