"""Collects ended spans by local trace, for the Sentry bridge and the console tree.

A span processor sees spans one by one. A transaction, or a tree on a terminal, needs all spans of a local trace at
once. :class:`LocalTraceCollector` collects them and hands each local trace over once: when its root has ended, the
code that opened it has left it, and no span of it is open.

A span that stays open does not delay the others forever: ``LINGER`` seconds after its root has ended a local trace is
handed over as it is. A span that starts later begins a local trace of its own in the same trace. Everything is
bounded, and what is dropped is counted.
"""

import threading
import time
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import caught, guarded
from brain_otel.traces import local_trace
from brain_otel.traces.local_trace import LocalTrace

_CLIENT = SpanKind.CLIENT

MAX_SPANS_PER_TRACE = 1_000
"""Spans kept per local trace; Sentry accepts no more in a transaction."""

MAX_OPEN_TRACES = 10_000
"""Local traces that may be open at once; beyond it the oldest is given up."""

MAX_BUFFERED_SPANS = 100_000
"""Ended spans kept over all open local traces."""

MAX_AGE = 24 * 3600.0
"""Seconds after which a local trace whose root never ended is given up."""

LINGER = 30.0
"""Seconds that a local trace whose root has ended waits for its open spans."""


class CollectedTrace:
    """A local trace and those of its spans that have ended."""

    __slots__ = ("dropped", "due", "open_spans", "root", "root_id", "spans", "started", "trace")

    def __init__(self, trace: LocalTrace, started: float, root: ReadableSpan | None = None) -> None:
        self.trace = trace
        self.started = started
        self.root = root
        context = trace.span_context()
        self.root_id = context.span_id if context is not None else None
        self.spans: list[Any] = []
        """What the destination keeps of the ended spans without the root, in the order of their ends."""
        self.dropped = 0
        self.open_spans: set[int] = set()
        self.due: float | None = None
        """When it is handed over at the latest, by the monotonic clock; None until its root has ended."""


def span_count(collected: CollectedTrace) -> int:
    """The number of spans kept, with the root."""
    return len(collected.spans) + 1


class LocalTraceCollector(SpanProcessor):
    """Collects ended spans by local trace; a destination overrides :meth:`hand_over`."""

    def __init__(self) -> None:
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Start empty: in a forked child, open traces belong to the parent, and nobody may release its lock."""
        # Re-entrant: the garbage collector may run while this thread holds it, and end a span.
        self._lock = threading.RLock()
        self._stopped = False
        self._by_trace: dict[LocalTrace, CollectedTrace] = {}
        self._by_span: dict[int, CollectedTrace] = {}
        self._lingering: dict[CollectedTrace, None] = {}
        self._buffered = 0

    def hand_over(self, collected: CollectedTrace) -> None:
        """Take a complete local trace. Called on the thread that ended it: do little."""
        raise NotImplementedError

    def give_up(self, collected: CollectedTrace) -> None:
        """Discard a local trace whose root never ended."""

    def schedule_sweep(self) -> None:
        """Have :meth:`sweep` called in time: a root has ended while other spans are open."""

    def wants(self, span: ReadableSpan) -> bool:  # noqa: ARG002 - for subclasses
        """Whether this destination wants ``span``."""
        return True

    def kept(self, span: ReadableSpan) -> Any:
        """What is kept of ``span``, which has ended and is not a root; a destination may shorten it."""
        return span

    def on_span_start(self, span: Span, trace: LocalTrace) -> None:
        """Called after ``span`` has started in ``trace``: the current local trace, or an implicit one."""

    def collected(self, trace: LocalTrace) -> CollectedTrace | None:
        """The ended spans of ``trace`` so far, None without any span."""
        return self._by_trace.get(trace)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add ``span`` to its local trace, or open one."""
        try:
            if self._stopped or not self.wants(span):
                return
            trace = local_trace.current(parent_context)
            overdue: list[CollectedTrace] | None = None
            with self._lock:
                collected = self._find(span, trace, parent_context)
                if collected is None:
                    return
                span_id = span.context[1]
                collected.open_spans.add(span_id)
                self._by_span[span_id] = collected
                if len(self._by_trace) > MAX_OPEN_TRACES:
                    overdue = [self._remove(next(iter(self._by_trace.values())))]
            if overdue is not None:
                self._finish(overdue)
            self.on_span_start(span, trace or collected.trace)
        except Exception as error:
            caught("starting a span", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep ``span``, and hand its local trace over if it was the last."""
        try:
            context = span.context
            if context is None:
                return
            span_id = context[1]
            with self._lock:
                collected = self._by_span.pop(span_id, None)
                if collected is None:
                    return
                collected.open_spans.discard(span_id)
                self._keep(collected, span, span_id)
                done = collected.trace.closed and self._is_complete(collected)
                if done:
                    self._remove(collected)
            if done:
                self._finish([collected])
            elif collected.root is span:
                self.schedule_sweep()
        except Exception as error:
            caught("ending a span", error)

    def close(self, trace: LocalTrace) -> None:
        """Hand ``trace`` over unless spans are open; the code that opened it has left it."""
        done: list[CollectedTrace] = []
        with self._lock:
            collected = self._by_trace.get(trace)
            if collected is not None and self._is_complete(collected):
                done.append(self._remove(collected))
        self._finish(done)

    def sweep(self, *, everything: bool = False) -> float | None:
        """Hand over the local traces that are due, or with ``everything`` all whose root has ended.

        Returns the seconds until the next one is due, None if none waits.
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

    # The lock is held from here to `_finish`.

    def _find(self, span: Span, trace: LocalTrace | None, parent_context: Context | None) -> CollectedTrace | None:
        if trace is not None and trace.root is None and trace.kind == "request" and span.kind is _CLIENT:
            return None  # the request is excluded from tracing, and its calls with it
        if trace is not None and (trace.root is None or trace.root is span):
            trace.start(span, parent_context)
            return self._open(trace)
        parent = span.parent
        if parent is not None and not parent[2] and parent[1] in self._by_span:  # [2]: it is remote
            return self._by_span[parent[1]]
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
            collected.spans.append(self.kept(span))
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

    def _finish(self, done: list[CollectedTrace]) -> None:
        """Hand over ``done``, without the lock."""
        for collected in done:
            with guarded("handing a local trace over"):
                if collected.root is None:
                    self.give_up(collected)
                else:
                    self.hand_over(collected)

    def shutdown(self) -> None:
        """Hand over what waits."""
        self.sweep(everything=True)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Hand over what waits; always true, because it does not block."""
        self.sweep(everything=True)
        return True
