"""A bounded queue and the thread that works it off, away from the request's path."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

logger = logging.getLogger(__name__)

MAX_ITEMS = 1_000
"""Items that may wait; the oldest is dropped, and counted, beyond it."""


class WorkQueue(Generic[T]):
    """Hands each item to ``work`` on one daemon thread, in order.

    ``drop`` is told of each item that had to go. ``idle`` is called when the queue is empty and returns the
    seconds until it wants to be called again, or None. A forked child starts with an empty queue and a thread
    of its own: the parent's items are the parent's.

    After a rest the thread lets items come for ``gather`` seconds before it works them all off: to be woken for each
    costs whoever puts it, and a thread that takes turns with the event loop item by item is in its way. It waits no
    longer once half of what may wait has come.

    What waits is bounded by ``max_items``, and by ``max_weight`` where ``weigh`` says what an item weighs; one item
    may weigh any amount.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[T], None],
        *,
        drop: Callable[[T], None],
        idle: Callable[[], float | None] = lambda: None,
        max_items: int = MAX_ITEMS,
        weigh: Callable[[T], int] = lambda _: 0,
        max_weight: int = 1,
        gather: float = 0.0,
    ) -> None:
        self._gather = gather
        self._name = name
        self._work = work
        self._drop = drop
        self._idle = idle
        self._max_items = max_items
        self._weigh = weigh
        self._max_weight = max_weight
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._stopped = False
        self._rests = False
        """Whether the thread waits for something to happen, and is to be told."""
        self._gathers = False
        """Whether it lets items come, and is to be told when many have."""
        self._woken = False
        self._hurry = False

    def put(self, item: T) -> None:
        """Add ``item``; never blocks."""
        dropped: list[T] = []
        weight = self._weigh(item)
        with self._changed:
            if self._stopped:
                dropped.append(item)
            else:
                while self._items and self._is_full(1, weight):
                    dropped.append(self._pop())
                self._items.append((item, weight))
                self._weight += weight
                self._start()
                if self._rests or (self._gathers and self._is_full(len(self._items), self._weight)):
                    self._rouse()
        for each in dropped:
            self._drop(each)

    def _is_full(self, items: int, weight: int) -> bool:
        """Whether so much more is more than may wait."""
        return len(self._items) + items > self._max_items or self._weight + weight > self._max_weight

    def _pop(self) -> T:
        item, weight = self._items.popleft()
        self._weight -= weight
        return item

    def wake(self) -> None:
        """Let ``idle`` be called soon, to learn of a new deadline."""
        with self._changed:
            if not self._stopped:
                self._woken = True
                self._start()
                self._rouse()

    def _rouse(self) -> None:
        self._rests = self._gathers = False
        self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is left or ``timeout`` seconds have passed; whether nothing is left."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._items or self._busy:
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None or not self._thread.is_alive():
                    return not self._items and not self._busy
                self._changed.wait(left)
        return True

    def stop(self) -> None:
        """Take nothing more and end the thread; what still waits is dropped."""
        with self._changed:
            self._stopped = True
            left = [self._pop() for _ in range(len(self._items))]
            self._changed.notify_all()
        for item in left:
            self._drop(item)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            with guarded(f"starting the thread {self._name}"):
                # In an empty context: sentry-sdk hands the starter's scopes, a request's, to every thread.
                contextvars.Context().run(self._thread.start)

    def _run(self) -> None:
        while True:
            pause = None
            self._woken = False
            with guarded(f"tidying up in {self._name}"):
                pause = self._idle()
            with self._changed:
                if not self._rest(pause):
                    return
                if self._items and self._gather and not self._hurry:
                    self._gathers = True
                    self._changed.wait(self._gather)
                    self._gathers = False
            while self._work_off_one():
                pass
            self._hurry = False

    def _rest(self, pause: float | None) -> bool:
        """Wait until there is something to do, for ``pause`` seconds at most; false if the queue has been stopped."""
        if not self._items and not self._stopped and not self._woken:
            self._rests = True
            self._changed.wait(pause)
            self._rests = False
        return not self._stopped

    def _work_off_one(self) -> bool:
        with self._changed:
            if not self._items or self._stopped:
                return False
            item = self._pop()
            self._busy = True
        with guarded(f"working in {self._name}"):
            self._work(item)
        with self._changed:
            self._busy = False
            self._changed.notify_all()
        return True
