"""The tail: keeps the local trace that ended in error, or took too long, although the head said no.

While it is on, such a trace is recorded, unsampled, and its spans wait here. As soon as there is a reason to keep it
all that waits is handed on, and what comes after goes its way like that of any other trace: so an error takes no room
here, and cannot be crowded out. What ends without a reason is forgotten.

Everything is bounded. Beyond a bound the oldest local trace is given up, or the one at hand if it takes more than a
quarter of all room; its spans are lost and counted. Its end is still seen: if it is an error, or late, the root at
least is handed on, so that no bound changes which local traces are kept.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.trace import StatusCode

from brain_otel.events.failures import has_reported
from brain_otel.events.listeners import EventListener
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.work_queue import WorkQueue
from brain_otel.sampling.decision import decision_of
from brain_otel.sampling.tail_buffer import SPAN_BYTES, TRACE_BYTES, BufferedTrace, size_of
from brain_otel.traces import local_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from brain_otel.configuration.settings import TailSettings
    from brain_otel.events.listeners import Failure
    from brain_otel.sampling.decision import SamplingDecision
    from brain_otel.traces.local_trace import LocalTrace

    HandOn = Callable[[SamplingDecision, str, Sequence[tuple[Span, Context | None]], Sequence[ReadableSpan]], None]

logger = logging.getLogger(__name__)

ERROR, SLOW = "error", "slow"


class Tail:
    """Holds spans back until there is a reason to hand them on.

    Args:
        settings: What is a reason, and the bounds.
        hand_on: Told of the spans that have started and those that have ended, once a local trace is to be kept.
    """

    def __init__(self, settings: TailSettings, hand_on: HandOn) -> None:
        self._settings = settings
        self._hand_on = hand_on
        self._slower_than = None if settings.slower_than is None else int(settings.slower_than * 1e9)
        self.listener = TailListener(self)
        self._sweeper: WorkQueue[None] = WorkQueue(
            "brain_otel.sampling", lambda _: None, drop=lambda _: None, idle=self.sweep
        )
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Start empty; in a forked child, what waits is the parent's, and the lock may be held by nobody here."""
        # Re-entrant: the garbage collector may run inside of it and end a span on this very thread.
        self._lock = threading.RLock()
        self._waiting: dict[SamplingDecision, BufferedTrace] = {}
        self._swept = self._used = False
        self.spans = self.bytes = 0
        self.lost_traces = self.lost_spans = 0

    @property
    def traces(self) -> int:
        """How many local traces wait at the moment."""
        return len(self._waiting)

    def start(self, decision: SamplingDecision, span: Span, context: Context | None, *, held: bool) -> bool:
        """A span has started; whether every destination is to hear of it at once.

        It is held back if there is a destination that the head has left out (``held``), unless the trace is kept.
        """
        if not decision.root_id:
            decision.root_id, decision.started = span.get_span_context().span_id, span.start_time or 0
        if not held or decision.keep_reason is not None or decision.given_up:
            return decision.keep_reason is not None
        trace = local_trace.current(context)
        within = local_trace.within(trace, context)
        with self._lock:
            if _is_kept(decision):  # by another thread, meanwhile
                return True
            waiting = self._waiting.get(decision)
            size = size_of(span)
            taken = SPAN_BYTES + size
            if waiting is None:
                waiting = self._waiting[decision] = BufferedTrace(decision, trace, time.monotonic())
                taken += TRACE_BYTES
            waiting.started.append((span, within))
            waiting.open_spans[span.get_span_context().span_id] = size
            self._take(waiting, 1, taken)
            wake = not self._swept
            self._swept = self._used = True
        if wake:
            self._sweeper.wake()
        return False

    def end(self, decision: SamplingDecision, span: ReadableSpan, *, held: bool) -> bool:
        """A span has ended; whether every destination is to hear of it."""
        reason = decision.keep_reason or self._reason(decision, span)
        if not held or (decision.keep_reason is not None and not decision.given_up):
            decision.keep_reason = reason
            return reason is not None
        context = span.get_span_context()
        span_id = context.span_id if context is not None else 0
        with self._lock:
            waiting = self._waiting.get(decision)
            reason = reason or decision.keep_reason  # another thread may have found one meanwhile
            if reason is not None:
                self._keep(decision, reason, span)
            elif waiting is not None and span_id in waiting.open_spans:
                size = size_of(span) - waiting.open_spans.pop(span_id)
                waiting.ended.append(span)
                waiting.root_ended = waiting.root_ended or span_id == decision.root_id
                self._take(waiting, 0, size)
                self._forget_if_over(waiting)
        return reason is not None

    def failed(self, trace: LocalTrace | None) -> None:
        """An error of ``trace`` was reported."""
        decision = decision_of(trace.span_context()) if trace is not None else None
        if decision is not None and decision.keep_reason is None and self._settings.errors:
            with self._lock:
                self._keep(decision, ERROR)

    def close(self, trace: LocalTrace) -> None:
        """The code that opened ``trace`` has left it."""
        if has_reported(trace):
            self.failed(trace)
        decision = decision_of(trace.span_context())
        if decision is not None:
            with self._lock:
                waiting = self._waiting.get(decision)
                if waiting is not None:
                    self._forget_if_over(waiting)

    def sweep(self) -> float | None:
        """Give up what has waited too long; the seconds until the next one will have, None if none waits."""
        now = time.monotonic()
        with self._lock:
            for waiting in list(self._waiting.values()):
                left = waiting.began + self._settings.max_age - now
                if left > 0:
                    return left
                if waiting.root_ended:  # it has been judged; only stragglers are missing
                    self._remove(waiting)
                else:
                    self._give_up(waiting, "max_age")
            # Not at once: to be woken by each of many short requests would cost more than to look once too often.
            self._swept, self._used = self._used, False
            return self._settings.max_age if self._swept else None

    def stop(self) -> None:
        """Hold nothing any more."""
        self._sweeper.stop()
        with self._lock:
            self._waiting.clear()
            self.spans = self.bytes = 0

    def _reason(self, decision: SamplingDecision, span: ReadableSpan) -> str | None:
        if self._settings.errors and (
            span.status.status_code is StatusCode.ERROR or _is_root_of_failed(span, decision)
        ):
            return ERROR
        if self._slower_than is not None and (span.end_time or 0) - decision.started > self._slower_than:
            return SLOW
        return None

    # -- inside the lock -----------------------------------------------------------------------------------

    def _keep(self, decision: SamplingDecision, reason: str, ended: ReadableSpan | None = None) -> None:
        """Hand on what waits, before anything that comes after can go its way; ``ended`` has just ended."""
        waiting = self._waiting.get(decision)
        if waiting is not None:
            self._remove(waiting)
            # What is around here belongs to the request that happens to run, not to the trace.
            run = contextvars.Context().run
            run(self._tell, decision, reason, waiting.started, waiting.ended)
        elif decision.given_up:
            self._tell(decision, reason, _left_of(decision, ended), [])
        decision.keep_reason = reason

    def _tell(
        self,
        decision: SamplingDecision,
        reason: str,
        started: Sequence[tuple[Span, Context | None]],
        ended: Sequence[ReadableSpan],
    ) -> None:
        with guarded("handing on what was held back"):
            self._hand_on(decision, reason, started, ended)

    def _take(self, waiting: BufferedTrace, spans: int, size: int) -> None:
        waiting.bytes += size
        self.spans += spans
        self.bytes += size
        limits = self._settings
        while (
            len(self._waiting) > limits.max_traces or self.spans > limits.max_spans or self.bytes > limits.max_bytes
        ):
            big = len(waiting.started) * 4 > limits.max_spans or waiting.bytes * 4 > limits.max_bytes
            bound = "max_traces" if len(self._waiting) > limits.max_traces else "max_spans or max_bytes"
            victim = waiting if big and waiting.decision in self._waiting else next(iter(self._waiting.values()))
            self._give_up(victim, bound)

    def _give_up(self, waiting: BufferedTrace, bound: str) -> None:
        if not self.lost_traces:
            logger.warning("sampling.tail: not every local trace can wait for its end (%s), some lose spans", bound)
        self.lost_traces += 1
        self.lost_spans += len(waiting.started)
        waiting.decision.given_up = True
        self._remove(waiting)

    def _forget_if_over(self, waiting: BufferedTrace) -> None:
        if waiting.is_over() and waiting.decision in self._waiting:
            self._remove(waiting)

    def _remove(self, waiting: BufferedTrace) -> None:
        del self._waiting[waiting.decision]
        self.spans -= len(waiting.started)
        self.bytes -= waiting.bytes


class TailListener(EventListener):
    """Hears of errors and of the end of local traces."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail

    def on_exception(self, failure: Failure) -> None:
        """What failed is to be kept, before a destination asks for the trail that leads to the error."""
        del failure  # that there is one is enough
        self._tail.failed(local_trace.current())

    def on_trace_end(self, trace: LocalTrace, token: object) -> None:
        """Nothing more comes, but for spans that are open."""
        del token
        self._tail.close(trace)


def _is_kept(decision: SamplingDecision) -> bool:
    return decision.keep_reason is not None


def _is_root_of_failed(span: ReadableSpan, decision: SamplingDecision) -> bool:
    """Whether ``span`` is the local root and an error was reported meanwhile, be it by a line of the log."""
    context, trace = span.get_span_context(), local_trace.current()
    if trace is None or trace.root is None or context is None or context.span_id != decision.root_id:
        return False
    return trace.root.get_span_context().span_id == context.span_id and has_reported(trace)


def _left_of(decision: SamplingDecision, ended: ReadableSpan | None) -> list[tuple[Span, Context | None]]:
    """The spans to tell of where a local trace is kept that was given up: its root, and the one that has ``ended``.

    Where nobody announced the local trace, its root is found when it ends.
    """
    trace, context = local_trace.current(), ended.get_span_context() if ended is not None else None
    root = trace.root if trace is not None else None
    known = root is not None and root.get_span_context().span_id == decision.root_id
    found: list[Any] = [root] if known else []
    if context is None or context.span_id != decision.root_id:
        decision.given_up = not known  # with its root, all is as with any other
        found += [] if ended is None else [ended]
    else:
        decision.given_up = False
        found = found or [ended]
    return [(cast("Span", each), None) for each in found]
