"""Sends the records of a queue to one target, and retries; never raises."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from brain_otel.configuration.sections.delivery import CONNECTIONS
from brain_otel.delivery.http import DEFAULT_LIMIT, FAST, Answer
from brain_otel.delivery.rate_limits import MAX_WAIT, RateLimits
from brain_otel.delivery.record import Record
from brain_otel.delivery.target_log import TargetLog
from brain_otel.runtime.guard import guarded

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the first retry and, doubled each time, at most; a random part of up to a half is taken off."""

MAX_FAILURES = 100
"""Failures of one record, while others succeed, after which it is rejected.

With a server that fails at random for nine of ten requests, this rejects one record in 40,000.
"""

OTHERS_FIRST = 8
"""Attempts with other records, if there are any, before failed records are tried again."""

MAX_BACKOFF = 30.0
"""Seconds for which a failing record waits behind others, at most."""

MAX_FAILURE_COUNTS = 1_000
"""Records whose failures are counted."""

_FAILED = ("server_error", "unreachable")
_KEPT_WHILE_LIMITED = frozenset({"error", "transaction", "internal", "otlp_traces", "otlp_logs", "otlp_metrics"})
"""Other categories are dropped while they are rate-limited. ``internal`` is a report of discarded events."""


class QueuedRecord(Protocol):
    """A record that stays in its queue until it is done."""

    @property
    def record(self) -> Record:
        """The record."""


W = TypeVar("W", bound=QueuedRecord)


class Queue(Protocol[W]):
    """Records in the order in which to send them."""

    def take(self, count: int, may_send: Callable[[W], bool]) -> list[W]:
        """The first ``count`` records that may be sent, errors before traces; they stay in the queue."""

    def done(self, queued: W) -> None:
        """Remove a record."""

    def reject(self, queued: W, reason: str) -> None:
        """Remove a record that the server rejects, and keep the reason."""


class Client(Protocol):
    """Sends records to one target; never raises."""

    @property
    def in_turn(self) -> int:
        """Records that :meth:`send_in_turn` may send."""

    def send(self, record: Record, timeout: float | None = None) -> Answer:
        """Send ``record`` within ``timeout`` seconds."""

    def send_in_turn(self, records: Sequence[Record], timeout: float | None = None) -> list[Answer]:
        """Send one or more of the first ``records``, one after the other; returns the answers to those."""

    def send_all(self, records: Sequence[Record], timeout: float | None = None) -> list[Answer]:
        """Send ``records`` at once; returns the answers to the first ones."""


class RetryLoop(Generic[W]):
    """Sends from one queue to one target.

    Args:
        on_discard: Called with each record that is given up, and the reason in Sentry's words.
        on_limits: Called with the seconds left of each rate limit when the target has set one.
        on_round: Called before each look at the queue.
        on_wake: Called when the queue was empty and may have a record again.
        max_wait: Seconds for which a record waits for the end of a rate limit; see :mod:`.rate_limits`.
    """

    def __init__(
        self,
        address: str,
        queue: Queue[W],
        http_client: Client,
        *,
        on_discard: Callable[[Record, str], None] = lambda _record, _reason: None,
        on_limits: Callable[[dict[str, float]], None] = lambda _: None,
        on_round: Callable[[], None] = lambda: None,
        on_wake: Callable[[], None] = lambda: None,
        connections: int = CONNECTIONS,
        max_wait: float = MAX_WAIT,
    ) -> None:
        self.failure = ""
        """The reason while nothing can be sent."""
        self.limits = RateLimits(max_wait)
        self._waiting: set[str] = set()
        """Categories of the records that waited for a rate limit at the latest look."""
        self._log = TargetLog(address)
        self._queue = queue
        self._http_client = http_client
        self._connections = connections
        self._on_discard = on_discard
        self._on_limits = on_limits
        self._on_round, self._on_wake = on_round, on_wake
        self._failures = 0
        """Attempts since the last success."""
        self._at_once = self._next_at_once = 0
        """Records of this batch and the next that are sent at once, as the target is slow; 0: one after the other."""
        self._answer_time = 0.0
        """Seconds until the latest answers were there."""
        self._failure_counts: dict[W, tuple[int, float]] = {}
        """For each failing record its failures while others succeeded, and until when it waits behind others."""
        self._quarantined: deque[W] = deque(maxlen=2 * OTHERS_FIRST)
        """Records that failed while none succeeded: the server is down, or one of them is the cause."""

    def run(self, stop: threading.Event, wake: threading.Event, poll: float | None) -> None:
        """Send until ``stop`` is set. With an empty queue, wait for ``wake``, for ``poll`` seconds at most."""
        while not stop.is_set():
            pause: float | None = 1.0
            with guarded("sending queued records"):
                self._on_round()
                pause = self.step()
            if pause is None:
                wake.wait(poll)
                wake.clear()
                self._on_wake()
            elif pause and self.failure:  # a server that is down is left alone
                stop.wait(pause)
            elif pause:  # new records may be of a category without a limit
                wake.wait(min(pause, 1.0))
                wake.clear()

    def send_at_once(self, record: Record, timeout: float) -> None:
        """Send ``record`` before those of the queue, once, if the target accepts records."""
        if not self.failure and not self.limits.remaining(record.category):
            self._http_client.send(record, timeout)

    def step(self, timeout: float | None = None) -> float | None:
        """Send a few records, each within ``timeout`` seconds.

        Returns the seconds until there is more to do, or None if the queue is empty.
        """
        batch = self._next_batch()
        if not batch:
            now = time.monotonic()
            backoffs = [max(0.01, until - now) for _, until in self._failure_counts.values()]
            return min([*map(self.limits.remaining, self._waiting), *backoffs], default=None)
        limited = [each for each in batch if self.limits.remaining(each.record.category)]
        for queued in limited:
            self._discard_limited(queued)
        batch = [each for each in batch if each not in limited]
        if not batch:
            return 0.0
        began = time.monotonic()
        send = self._http_client.send_all if self._at_once else self._http_client.send_in_turn
        answers = send([each.record for each in batch], timeout)
        self._answer_time = (time.monotonic() - began) / (1 if self._at_once else max(1, len(answers)))
        if not answers:
            return 0.0
        del batch[len(answers) :]
        for queued, answer in zip(batch, answers, strict=True):
            self._settle(queued, answer)
        failed = [each for each in zip(batch, answers, strict=True) if each[1].result in _FAILED]
        if failed and not any(answer.result in ("sent", "rejected") for answer in answers):
            return self._all_failed(batch, failed[0][1])
        for queued, answer in failed:
            self._count_failure(queued, answer.reason)
        self._recovered()
        return 0.0

    def _next_batch(self) -> list[W]:
        self._waiting.clear()
        self._at_once = 2 if self._failures else self._next_at_once
        size = self._at_once or self._http_client.in_turn
        batch = self._queue.take(size, self._may_send)
        if not batch and self._failures:
            batch = self._queue.take(2, self._is_wanted)
        # One record at a time keeps their order and needs no threads; more at once only when that is too slow.
        is_slow = len(batch) >= min(size, self._connections) and self._answer_time >= FAST
        self._next_at_once = min(2 * len(batch), self._connections) if is_slow else 0
        return batch

    def _is_wanted(self, queued: W) -> bool:
        category = queued.record.category
        if self.wait_for(category):
            self._waiting.add(category)
            return False
        return True

    def wait_for(self, category: str) -> float:
        """Seconds for which records of ``category`` wait for the end of a rate limit; 0: they are sent or dropped."""
        keeps = category == "internal" or not self.limits.is_refused(category)
        return self.limits.remaining(category) if keeps and category in _KEPT_WHILE_LIMITED else 0.0

    def _may_send(self, queued: W) -> bool:
        return self._is_wanted(queued) and (
            queued not in self._failure_counts or self._failure_counts[queued][1] <= time.monotonic()
        )

    def _settle(self, queued: W, answer: Answer) -> None:
        """Act on an answer; a failed record stays in the queue."""
        category = queued.record.category
        # Before its limits, or a flush takes a record that was answered for one that they keep back.
        if answer.result == "sent":
            self._done(queued)
        elif answer.result == "rejected":
            self._reject(queued, answer.reason)
        if answer.limits:
            self._limit(answer.limits)
        if answer.result == "sent":
            self._log.accepted(category, answer.rejected, answer.reason)
            if answer.rejected:
                self._on_discard(queued.record._replace(quantity=answer.rejected), "partial_success")
        elif answer.result == "rate_limited":
            if category in _KEPT_WHILE_LIMITED and not self.limits.remaining(category):
                self.limits.update({category: DEFAULT_LIMIT})  # the answer limits other categories
            if not self.wait_for(category):
                self._discard_limited(queued)

    def _limit(self, limits: Mapping[str, float]) -> None:
        was_limited = self.limits.pauses()
        was_refused = {category for category in limits if self.limits.is_refused(category)}
        self.limits.update(limits)
        refused = {category: length for category, length in limits.items() if self.limits.is_refused(category)}
        waiting = {} if was_limited else {name: length for name, length in limits.items() if name not in refused}
        self._log.limited(waiting, {name: length for name, length in refused.items() if name not in was_refused})
        self._on_limits(self.limits.active())

    def _done(self, queued: W) -> None:
        self._failure_counts.pop(queued, None)
        self._queue.done(queued)

    def _discard_limited(self, queued: W) -> None:
        """Drop a record whose category does not wait for its rate limit."""
        self._on_discard(queued.record, "ratelimit_backoff")
        self._done(queued)

    def _reject(self, queued: W, reason: str) -> None:
        self._failure_counts.pop(queued, None)
        self._log.rejected(queued.record.category, reason)
        self._queue.reject(queued, reason)
        self._on_discard(queued.record, "send_error")

    def _count_failure(self, queued: W, reason: str) -> None:
        """Count a failure while others succeeded, and reject the record after too many."""
        failure_count = self._failure_counts.get(queued, (0, 0.0))[0] + 1
        if failure_count >= MAX_FAILURES:
            self._reject(queued, reason)
        else:
            self._back_off(queued, failure_count, _pause(failure_count - 1, MAX_BACKOFF))

    def _back_off(self, queued: W, failure_count: int, seconds: float) -> None:
        """Let other records go before ``queued`` for ``seconds``."""
        self._failure_counts[queued] = failure_count, time.monotonic() + seconds
        if len(self._failure_counts) > MAX_FAILURE_COUNTS:  # the queue may have dropped the oldest
            del self._failure_counts[next(iter(self._failure_counts))]

    def _all_failed(self, batch: Sequence[W], answer: Answer) -> float:
        """Delay ``batch`` and try other records first, because a record in ``batch`` may be the cause."""
        if self._failures == 1:  # the first failure may be the record's, or that of a connection kept too long
            self._log.outage.failed(answer.reason)
        self.failure = answer.reason
        pause = _pause(self._failures, LONGEST_PAUSE)
        self._failures += 1
        for queued in batch:
            if queued not in self._quarantined:
                self._quarantined.append(queued)
            self._back_off(queued, self._failure_counts.get(queued, (0, 0.0))[0], OTHERS_FIRST * pause)
        return max(pause, answer.wait or 0.0)

    def _recovered(self) -> None:
        if not self._failures:
            return
        self._log.outage.works()
        for queued in [each for each in self._quarantined if each in self._failure_counts]:
            self._count_failure(queued, self.failure)
        self._quarantined.clear()
        self.failure = ""
        self._failures = 0


def _pause(failures: int, longest: float) -> float:
    return min(longest, FIRST_PAUSE * 2.0 ** min(failures, 20)) * random.uniform(0.5, 1.0)  # noqa: S311
