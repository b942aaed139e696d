"""A bounded queue with one thread that works on its items, off the request's path."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from brain_otel.runtime.exit import flush_if_late
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.threads import start_daemon

T = TypeVar("T")

MAX_ITEMS = 1_000
"""Items in the queue; beyond it the oldest is dropped."""

SLICES, SLICE, PAUSE = 8, 0.001, 0.01
"""Parts in which gathered items are worked on, the seconds that each takes at least, and those between two parts."""


class WorkQueue(Generic[T]):
    """Passes each item to ``work`` on one daemon thread, in order.

    The thread starts with the first item. Where the interpreter starts no more threads, :meth:`flush` works on the
    calling thread. A forked child starts with an empty queue and a thread of its own.

    Args:
        drop: Called with each item that is dropped.
        idle: Called when the queue is empty; returns the seconds until the next call, or None.
        max_items: Items in the queue, at most.
        weigh: The weight of an item.
        max_weight: The weight of all items, at most; a single item may weigh more.
        gather: Seconds for which the thread lets items arrive before it works on all of them. A thread that is
            woken for each item costs the caller a wake-up and takes turns with the event loop. It pauses between
            parts of the work: the event loop waits for the interpreter while the thread works. A queue that is half
            full ends the wait, one that is full by an eighth the pauses.
        settle: Called after each part of the work, which is done only then: it may finish what ``work`` has begun.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[T], object],
        *,
        drop: Callable[[T], None],
        idle: Callable[[], float | None] = lambda: None,
        max_items: int = MAX_ITEMS,
        weigh: Callable[[T], int] = lambda _: 0,
        max_weight: int = 1,
        gather: float = 0.0,
        settle: Callable[[], object] = lambda: None,
    ) -> None:
        self._settle = settle
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
        self._lock = threading.RLock()
        """The lock of the condition, which is two calls cheaper to enter."""
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._busy = 0
        """Items that are being worked on, or wait to be settled."""
        self._is_stopped = False
        self.is_held = False
        """Whether nothing is worked on, because the process may end."""
        self._is_resting = False
        """Whether the thread waits for an item or a wake-up."""
        self._is_gathering = False
        """Whether the thread lets items arrive."""
        self._is_woken = False
        self._is_hurried = False
        """Whether a flush waits, so that the thread does not pause."""

    def start(self) -> bool:
        """Start the thread before the first item; false if the interpreter starts no more threads."""
        with self._changed:
            return self._start()

    def put(self, item: T) -> None:
        """Add ``item``; never blocks, except to flush if the flush at exit is over."""
        self.add(item)
        flush_if_late()

    def add(self, item: T) -> None:
        """Add ``item``; never blocks."""
        dropped: list[T] = []
        weight = self._weigh(item)
        with self._lock:
            if self._is_stopped:
                dropped.append(item)
            else:
                while self._items and self._exceeds(1, weight):
                    dropped.append(self._pop())
                self._items.append((item, weight))
                self._weight += weight
                self.is_held = False
                if self._thread is None:
                    self._start()
                if self._is_resting or (self._is_gathering and self._is_full_by_one_in(2)):
                    self._notify()
        for each in dropped:
            self._drop(each)

    def _exceeds(self, items: int, weight: int) -> bool:
        """Whether ``items`` more with this ``weight`` exceed the bounds."""
        return len(self._items) + items > self._max_items or self._weight + weight > self._max_weight

    def _is_full_by_one_in(self, parts: int) -> bool:
        """Whether more than one in ``parts`` of what fits waits."""
        return self._exceeds((parts - 1) * len(self._items), (parts - 1) * self._weight)

    def _pop(self) -> T:
        item, weight = self._items.popleft()
        self._weight -= weight
        return item

    def wake(self) -> None:
        """Have ``idle`` called soon: it has a new deadline."""
        with self._changed:
            if not self._is_stopped:
                self._is_woken = True
                self._start()
                self._notify()

    def _notify(self) -> None:
        self._is_resting = self._is_gathering = False
        self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until the queue is empty and the thread idle; returns whether they are."""
        deadline = time.monotonic() + timeout
        with self._changed:
            if self.is_held:
                return not self._is_pending()
            self._is_hurried = True
            self._changed.notify_all()
            while self._is_pending() and self._start():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        while self._is_pending() and time.monotonic() < deadline and self._work_on(1):
            pass
        return not self._is_pending()

    def _is_pending(self) -> bool:
        return bool(self._items) or self._busy > 0

    def waiting(self) -> tuple[int, int]:
        """The number of items that are not done, and their weight."""
        with self._changed:
            return len(self._items) + self._busy, self._weight + self._busy

    def hold(self, timeout: float) -> None:
        """Work on nothing more until :meth:`resume` or the next item; wait up to ``timeout`` for those in work."""
        with self._changed:
            self.is_held = True
            self._changed.wait_for(lambda: not self._busy, timeout)

    def resume(self) -> None:
        """Work on what is held."""
        with self._changed:
            self.is_held = False
            self._notify()

    def stop(self) -> None:
        """Drop all items, take no more and end the thread."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self.discard()

    def discard(self) -> None:
        """Drop all items."""
        with self._changed:
            dropped = [self._pop() for _ in range(len(self._items))]
        for item in dropped:
            self._drop(item)

    def _start(self) -> bool:
        if self._thread is None:
            self._thread = start_daemon(self._run, self._name)
        return self._thread is not None

    def _run(self) -> None:
        try:
            self._work_until_stopped()
        finally:  # also if the work raises SystemExit
            with self._changed:
                self._thread = None
                self._changed.notify_all()

    def _work_until_stopped(self) -> None:
        began = time.monotonic()
        while True:
            pause = None
            self._is_woken = False
            with guarded(f"calling the idle hook of {self._name}"):
                pause = self._idle()
            with self._changed:
                gathered = time.monotonic() - began if self._items else 0.0  # while the thread worked on others
                if not self._rest(pause):
                    return
                if self._items:
                    self._pause(self._gather - gathered)
            began = time.monotonic()
            self._work_in_slices() if self._gather else self._work_on(MAX_ITEMS)
            self._is_hurried = False

    def _rest(self, pause: float | None) -> bool:
        """Wait up to ``pause`` seconds for an item or a wake-up; false if the queue was stopped."""
        if (not self._items or self.is_held) and not self._is_stopped and not self._is_woken:
            self._is_resting = True
            self._changed.wait(pause)
            self._is_resting = False
        return not self._is_stopped

    def _work_in_slices(self) -> None:
        """Work on the items that wait now, with pauses, so that a request waits for a part of it at most."""
        left = len(self._items)
        part = -(-left // SLICES)
        while left > 0 and not self.is_held:
            left -= max(1, self._work_on(part, SLICE))
            with self._changed:
                if left > 0 and not self._is_stopped and not self._is_full_by_one_in(8):  # else it is behind
                    self._pause(PAUSE)

    def _pause(self, seconds: float) -> None:
        """Let items arrive for ``seconds``, unless a flush waits or the queue fills up."""
        if seconds > 0 and not self._is_hurried and not self._is_full_by_one_in(2):
            self._is_gathering = True
            self._changed.wait(seconds)
            self._is_gathering = False

    def _work_on(self, items: int, seconds: float = 0.0) -> int:
        """Work on ``items``, and on more until ``seconds`` are over, and settle them; returns their number."""
        deadline = time.monotonic() + seconds
        taken = 0
        try:
            while (next_one := self._take()) is not None:
                taken += 1
                with guarded(f"working in {self._name}"):
                    self._work(next_one[0])
                if taken >= items and time.monotonic() >= deadline:
                    break
        finally:
            self._finish(taken)
        return taken

    def _take(self) -> tuple[T] | None:
        with self._changed:
            if not self._items or self._is_stopped or self.is_held:
                return None
            self._busy += 1
            return (self._pop(),)

    def _finish(self, taken: int) -> None:
        try:
            if taken:
                with guarded(f"settling the work of {self._name}"):
                    self._settle()
        finally:
            with self._changed:
                self._busy -= taken
                if self.is_held or not self._is_pending():
                    self._changed.notify_all()
