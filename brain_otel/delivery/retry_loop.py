"""Sends what a backlog has to one target: keeps at it, gives way when it is asked to, and never raises."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from brain_otel.configuration.settings import CONNECTIONS
from brain_otel.delivery.rate_limits import Limits
from brain_otel.delivery.spool.reader import W
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.threads import start_daemon

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from brain_otel.delivery.http import Answer, HttpClient
    from brain_otel.delivery.record import Record
    from brain_otel.delivery.spool.reader import Queue

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second attempt and, doubled each time, at most; each is shortened at random by up to a half."""

DEFAULT_REST = 60.0
"""Seconds to wait after a 429 that does not say how long, as sentry-sdk does."""

MAX_FAILURES = 100
"""Failures of one record, while others are taken, after which it is the record that is at fault.

Of a server that fails nine times out of ten at random it would be one record in 40,000.
"""

OTHERS = 8
"""Attempts that are made with other records, if there are any, before those that failed come to their turn again."""

MAX_BACKOFF = 30.0
"""Seconds for which such a record lets others go before, at most."""

MAX_STRUCK = 1_000
"""Records whose strikes are remembered."""

_FAILED = ("ill", "unreachable")
_HELD = frozenset({"error", "transaction", "internal", "otlp_traces", "otlp_logs", "otlp_metrics"})
"""What waits while it is not wanted; ``internal`` is what tells of losses."""


class RetryLoop(Generic[W]):
    """The way from one backlog to one target.

    ``lost`` is told of each record that is given up, with the reason in Sentry's words; ``limited`` of the seconds
    for which categories rest, when the target has just said so.
    """

    def __init__(
        self,
        address: str,
        queue: Queue[W],
        http_client: HttpClient,
        *,
        lost: Callable[[Record, str], None] = lambda _record, _reason: None,
        limited: Callable[[dict[str, float]], None] = lambda _: None,
        connections: int = CONNECTIONS,
    ) -> None:
        self.failure = ""
        """Why nothing goes out, while nothing does."""
        self.limits = Limits()
        self._address = address
        self._queue = queue
        self._http_client = http_client
        self._connections = connections
        self._lost = lost
        self._limited = limited
        self._failures = 0
        self._width = 1
        self._failure_counts: dict[W, tuple[int, float]] = {}
        """How often a record failed while others were taken, and until when others go before."""
        self._quarantined: deque[W] = deque(maxlen=2 * OTHERS)
        """What failed while nothing was taken: a server that is away, or these."""

    def step(self, timeout: float | None = None) -> float | None:
        """Send a few records, each within ``timeout`` seconds.

        Returns the seconds until there is more to do, or None if the queue is empty.
        """
        batch = self._queue.take(2 if self._failures else self._width, self._may_send)
        if not batch and self._failures:
            batch = self._queue.take(2, self._is_wanted)
        # One at a time, in their order, until that is seen not to be enough.
        self._width = min(2 * len(batch), self._connections) if len(batch) >= self._width else 1
        if not batch:
            now = time.monotonic()
            again = [max(0.01, until - now) for _, until in self._failure_counts.values()]
            return min([*self.limits.resting().values(), *again], default=None)
        unwanted = [each for each in batch if self.limits.rest(each.record.category)]
        for waiting in unwanted:
            self._give_up(waiting)
        batch = [each for each in batch if each not in unwanted]
        if not batch:
            return 0.0
        answers = self._send([each.record for each in batch], timeout)
        taken = sum(answer.result in ("sent", "refused") for answer in answers)
        for waiting, answer in zip(batch, answers, strict=True):
            self._settle(waiting, answer)
        failed = [each for each in zip(batch, answers, strict=True) if each[1].result in _FAILED]
        if failed and not taken:
            return self._failed(batch, failed[0][1])
        for waiting, answer in failed:
            self._count_failure(waiting, answer.reason)
        self._recovered()
        return 0.0

    def _send(self, records: Sequence[Record], timeout: float | None) -> list[Answer]:
        """Send ``records`` at once; returns the answers in their order."""
        answers: dict[int, Answer] = {}

        def send(index: int) -> None:
            answers[index] = self._http_client.send(records[index], timeout)

        threads = [start_daemon(partial(send, index), "brain_otel.sending") for index in range(1, len(records))]
        for index in [0, *(index for index, thread in enumerate(threads, start=1) if thread is None)]:
            send(index)
        for thread in threads:
            if thread is not None:
                thread.join()
        return [answers[index] for index in range(len(records))]

    def _is_wanted(self, waiting: W) -> bool:
        category = waiting.record.category
        return not (self.limits.rest(category) and category in _HELD)

    def _may_send(self, waiting: W) -> bool:
        return self._is_wanted(waiting) and (
            waiting not in self._failure_counts or self._failure_counts[waiting][1] <= time.monotonic()
        )

    def _settle(self, waiting: W, answer: Answer) -> None:
        """Act on an answer; what has to be sent again stays."""
        record = waiting.record
        if answer.limits:
            self._rest(answer.limits)
        if answer.result == "sent":
            self._finish(waiting)
        elif answer.result == "refused":
            self._refuse(waiting, answer.reason)
        elif answer.result == "limited":
            if record.category not in _HELD:
                self._give_up(waiting)
            elif not self.limits.rest(record.category):  # the answer named others
                self.limits.update({record.category: DEFAULT_REST})

    def _count_failure(self, waiting: W, reason: str) -> None:
        """Others were taken, and this one was not: if that happens again and again, it is at fault."""
        failure_count = self._failure_counts.get(waiting, (0, 0.0))[0] + 1
        if failure_count >= MAX_FAILURES:
            self._refuse(waiting, reason)
        else:
            self._penalise(waiting, failure_count, _pause(failure_count - 1, MAX_BACKOFF))

    def _penalise(self, waiting: W, failure_count: int, seconds: float) -> None:
        """Let others go before ``waiting`` for a while."""
        self._failure_counts[waiting] = failure_count, time.monotonic() + seconds
        if len(self._failure_counts) > MAX_STRUCK:  # of those, what was dropped meanwhile is never heard of again
            del self._failure_counts[next(iter(self._failure_counts))]

    def _rest(self, limits: Mapping[str, float]) -> None:
        if not self.limits.resting():
            asked = ", ".join(f"{category or 'everything'} for {length:g} s" for category, length in limits.items())
            logger.warning("%s asks for a rest (%s); what it is about waits", self._address, asked)
        self.limits.update(limits)
        self._limited(self.limits.resting())

    def _finish(self, waiting: W) -> None:
        self._failure_counts.pop(waiting, None)
        self._queue.done(waiting)

    def _give_up(self, waiting: W) -> None:
        """Drop what is of a kind that is not wanted now, as sentry-sdk does; what matters waits."""
        self._lost(waiting.record, "ratelimit_backoff")
        self._finish(waiting)

    def _refuse(self, waiting: W, reason: str) -> None:
        self._failure_counts.pop(waiting, None)
        logger.warning("%s refuses a record of %s (%s)", self._address, waiting.record.category, reason)
        self._queue.refuse(waiting, reason)
        self._lost(waiting.record, "send_error")

    def _failed(self, batch: Sequence[W], answer: Answer) -> float:
        """Nothing was taken; the next attempt is made with others, for it may be these that are at fault."""
        if self._failures == 1:  # the first may be the record's fault, or a connection's that was kept too long
            logger.warning("%s cannot be reached; what is for it waits (%s)", self._address, answer.reason)
        self.failure = answer.reason
        pause = _pause(self._failures, LONGEST_PAUSE)
        self._failures += 1
        for waiting in batch:
            if waiting not in self._quarantined:
                self._quarantined.append(waiting)
            self._penalise(waiting, self._failure_counts.get(waiting, (0, 0.0))[0], OTHERS * pause)
        return max(pause, answer.wait or 0.0)

    def _recovered(self) -> None:
        if not self._failures:
            return
        if self._failures > 1:
            logger.warning("%s is reached again", self._address)
        for waiting in [each for each in self._quarantined if each in self._failure_counts]:
            self._count_failure(waiting, self.failure)
        self._quarantined.clear()
        self.failure = ""
        self._failures = 0


def _pause(failures: int, longest: float) -> float:
    return min(longest, FIRST_PAUSE * 2.0 ** min(failures, 20)) * random.uniform(0.5, 1.0)  # noqa: S311


def keep_sending(
    retry_loop: RetryLoop[Any], stop: threading.Event, wake: threading.Event, poll: float | None
) -> None:
    """Send until ``stop`` is set; where nothing waits, look again when ``wake`` is set or after ``poll`` seconds."""
    while not stop.is_set():
        pause: float | None = 1.0
        with guarded("sending what waits"):
            pause = retry_loop.step()
        if pause is None:
            wake.wait(poll)
            wake.clear()
        elif pause:
            # What is new may be of a kind that need not wait; a server that is away is left alone.
            stop.wait(pause if retry_loop.failure else min(pause, 1.0))
