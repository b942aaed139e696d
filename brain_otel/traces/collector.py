"""Ended spans gathered by local trace: what the Sentry bridge and the console tree are built from.

A span processor sees spans one by one. A transaction, or a tree on a terminal, needs all spans of a local
trace at once. :class:`LocalTraceCollector` gathers them and hands each local trace over once, when its root
has ended, the code that opened it has left it and no span of it is open any more.

What does not end in time does not hold the rest back: ``LINGER`` seconds after its root has ended a local
trace is handed over as it stands, and a span that ends later begins a local trace of its own, child of the
same trace. Everything is bounded, and what is dropped is counted.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import caught, guarded
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

MAX_SPANS_PER_TRACE = 1_000
"""Spans kept of one local trace; Sentry takes no more in a transaction."""

MAX_OPEN_TRACES = 10_000
"""Local traces that may be open at once; the oldest is given up beyond it."""

MAX_BUFFERED_SPANS = 100_000
"""Ended spans held in memory over all open local traces."""

MAX_AGE = 24 * 3600.0
"""Seconds after which a local trace whose root never ended is given up."""

LINGER = 30.0
"""Seconds a local trace waits for spans that are still open when its root has ended."""


class CollectedTrace:
    """A local trace with the spans of it that have ended."""

    __slots__ = ("dropped", "due", "open_spans", "root", "root_id", "spans", "started", "trace")

    def __init__(self, trace: LocalTrace, started: float, root: ReadableSpan | None = None) -> None:
        self.trace = trace
        self.started = started
        self.root = root
        context = trace.span_context()
        self.root_id = context.span_id if context is not None else None
        self.spans: list[ReadableSpan] = []
        """The ended spans but the root, in the order in which they ended."""
        self.dropped = 0
        self.open_spans: set[int] = set()
        self.due: float | None = None
        """When it is handed over at the latest, once its root has ended."""


def span_count(collected: CollectedTrace) -> int:
    """How many spans are held for it."""
    return len(collected.spans) + 1


class LocalTraceCollector(SpanProcessor):
    """Gathers ended spans by local trace; a destination overrides :meth:`hand_over`."""

    def __init__(self) -> None:
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Start empty; in a forked child, what is open is the parent's, and the lock may be held by nobody here."""
        # Re-entrant: the garbage collector may run inside of it and end a span on this very thread.
        self._lock = threading.RLock()
        self._stopped = False
        self._by_trace: dict[LocalTrace, CollectedTrace] = {}
        self._by_span: dict[int, CollectedTrace] = {}
        self._lingering: dict[CollectedTrace, None] = {}
        self._buffered = 0

    def hand_over(self, collected: CollectedTrace) -> None:
        """A local trace is complete. Called on the thread that ended it: do little."""
        raise NotImplementedError

    def give_up(self, collected: CollectedTrace) -> None:
        """A local trace was dropped without a root: its spans are lost."""

    def lingering(self) -> None:
        """A root has ended while other spans are open: :meth:`sweep` has a deadline to keep."""

    def wants(self, span: ReadableSpan) -> bool:  # noqa: ARG002 - for those who override it
        """Whether this destination wants the span at all."""
        return True

    def began(self, span: Span, trace: LocalTrace) -> None:
        """``span`` has started while ``trace`` was the current one."""

    def collected(self, trace: LocalTrace) -> CollectedTrace | None:
        """What was gathered of ``trace`` so far, or None."""
        return self._by_trace.get(trace)

    # -- SpanProcessor -------------------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Find the local trace to which ``span`` belongs, or open one."""
        try:
            if self._stopped or not self.wants(span):
                return
            trace = local_trace.current(parent_context)
            overdue: list[CollectedTrace] | None = None
            with self._lock:
                collected = self._find(span, trace, parent_context)
                if collected is None:
                    return
                span_id = span.get_span_context()[1]
                collected.open_spans.add(span_id)
                self._by_span[span_id] = collected
                if len(self._by_trace) > MAX_OPEN_TRACES:
                    overdue = [self._remove(next(iter(self._by_trace.values())))]
            if overdue is not None:
                self._finish(overdue)
            if trace is not None:
                self.began(span, trace)
        except Exception as error:
            caught("starting a span", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep ``span``; hand its local trace over if it was the last."""
        try:
            context = span.get_span_context()
            if context is None:
                return
            span_id = context[1]
            with self._lock:
                collected = self._by_span.pop(span_id, None)
                if collected is None:
                    return
                collected.open_spans.discard(span_id)
                self._keep(collected, span, span_id)
                done = collected.root is not None and self._is_complete(collected)
                if done:
                    self._remove(collected)
            if done:
                self._finish([collected])
            elif collected.root is span:
                self.lingering()
        except Exception as error:
            caught("ending a span", error)

    def close(self, trace: LocalTrace) -> None:
        """The code that opened ``trace`` has left it: hand it over unless spans are still open."""
        done: list[CollectedTrace] = []
        with self._lock:
            collected = self._by_trace.get(trace)
            if collected is not None and self._is_complete(collected):
                done.append(self._remove(collected))
        self._finish(done)

    def sweep(self, *, everything: bool = False) -> float | None:
        """Hand over what has waited long enough (or ``everything`` whose root has ended).

        Returns the seconds until the next one is due, or None if none waits.
        """
        now = time.monotonic()
        done: list[CollectedTrace] = []
        with self._lock:
            overdue = [each for each in list(self._lingering) if everything or (each.due or 0.0) <= now]
            done.extend(self._remove(each) for each in overdue)
            for collected in list(self._by_trace.values()):
                if now - collected.started <= MAX_AGE:
                    break
                done.append(self._remove(collected))
            waiting = [collected.due for collected in list(self._lingering) if collected.due is not None]
        self._finish(done)
        return max(0.0, min(waiting) - now) if waiting else None

    # -- inside the lock -----------------------------------------------------------------------------------

    def _find(self, span: Span, trace: LocalTrace | None, parent_context: Context | None) -> CollectedTrace | None:
        if trace is not None and trace.root is None and trace.kind == "request" and span.kind is SpanKind.CLIENT:
            return None  # the request is excluded from tracing, and so is what it calls
        if trace is not None and (trace.root is None or trace.root is span):
            trace.start(span, parent_context)
            return self._open(trace)
        parent = span.parent
        if parent is not None and not parent.is_remote and parent.span_id in self._by_span:
            return self._by_span[parent.span_id]
        late = LocalTrace(kind="implicit", closed=True)
        late.start(span, parent_context)
        root = trace.span_context() if trace is not None else None
        if trace is not None and root is not None and root.trace_id == span.get_span_context().trace_id:
            if trace in self._by_trace:
                return self._by_trace[trace]
            late.extras, late.attributes, late.tags = trace.extras, trace.attributes, trace.tags
        return self._open(late)

    def _open(self, trace: LocalTrace) -> CollectedTrace:
        collected = CollectedTrace(trace, time.monotonic())
        self._by_trace[trace] = collected
        return collected

    def _keep(self, collected: CollectedTrace, span: ReadableSpan, span_id: int) -> None:
        if span_id == collected.root_id:
            collected.root = span
            collected.due = time.monotonic() + LINGER
            self._lingering[collected] = None
        elif len(collected.spans) >= MAX_SPANS_PER_TRACE or self._buffered >= MAX_BUFFERED_SPANS:
            collected.dropped += 1
        else:
            collected.spans.append(span)
            self._buffered += 1

    @staticmethod
    def _is_complete(collected: CollectedTrace) -> bool:
        return collected.root is not None and collected.trace.closed and not collected.open_spans

    def _remove(self, collected: CollectedTrace) -> CollectedTrace:
        self._by_trace.pop(collected.trace, None)
        self._lingering.pop(collected, None)
        for span_id in collected.open_spans:
            self._by_span.pop(span_id, None)
        self._buffered -= len(collected.spans)
        return collected

    # -- outside the lock ----------------------------------------------------------------------------------

    def _finish(self, done: list[CollectedTrace]) -> None:
        for collected in done:
            with guarded("handing a local trace over"):
                if collected.root is None:
                    self.give_up(collected)
                else:
                    self.hand_over(collected)

    def shutdown(self) -> None:
        """Hand over what is waiting."""
        self.sweep(everything=True)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Hand over what is waiting; true, since that does not block."""
        self.sweep(everything=True)
        return True
