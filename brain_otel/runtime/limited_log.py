"""Log lines that may repeat: at most one a minute at each place, with a count of what it left out.

A thread logs the last counts a minute after a line, and the end of the process logs those that are left.
"""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded, masked_traceback
from brain_otel.runtime.threads import start_daemon

INTERVAL = 60.0
"""Seconds between two lines at one place."""

MAX_KINDS = 10
"""Kinds that are counted by name in one line; servers write ids into their reasons."""

_TICK = 1.0
"""Seconds between two looks at the lines that are due."""

OTHERS = "others"

Line = tuple[int, str, tuple[object, ...]]
"""Level, message and arguments."""


class _Place:
    """A place that logs what has happened there since its last line."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.logged_at = float("-inf")

    def take(self) -> list[Line]:
        """Remove and return what is not logged yet."""
        raise NotImplementedError

    def log(self, lines: Iterable[Line]) -> None:
        """Write ``lines``."""
        with guarded("logging"):
            for level, message, arguments in lines:
                self.logger.log(level, message, *arguments)


class _Unlogged:
    """Places with something to log, and the thread that logs it in time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.places: dict[_Place, None] = {}
        self._thread: threading.Thread | None = None
        reset_in_child(self)

    def _reset(self) -> None:
        """Forget in a forked child what the parent will log."""
        self.lock = threading.RLock()
        for place in self.places:
            place.take()
        self.places.clear()
        self._thread = None

    def add(self, place: _Place) -> None:
        """Log what ``place`` has counted, now or when it may."""
        if time.monotonic() - place.logged_at >= INTERVAL:
            self._log(place)
            return
        with self.lock:
            self.places[place] = None
            if self._thread is None:
                self._thread = start_daemon(self._run, "brain_otel.log")

    def log_due(self, *, everything: bool = False) -> bool:
        """Log what is due, or everything; returns whether anything is left."""
        for place in list(self.places):
            if everything or time.monotonic() - place.logged_at >= INTERVAL:
                self._log(place)
        return bool(self.places)

    def _log(self, place: _Place) -> None:
        with self.lock:
            self.places.pop(place, None)
            place.logged_at = time.monotonic()
            lines = place.take()
        place.log(lines)

    def _run(self) -> None:
        while True:
            time.sleep(_TICK)
            with self.lock:
                if not self.places:
                    self._thread = None
                    return
            self.log_due()


_unlogged = _Unlogged()


def log_counts() -> None:
    """Log what has been counted and not logged, because the process may end."""
    _unlogged.log_due(everything=True)


class CountLog(_Place):
    """Logs how often something has happened, by kind: the first time at once, then at most once a minute.

    Args:
        message: A message with ``arguments``, and a last ``%s`` for the counts.
        of_items: Whether things are counted ("2 errors"), or how often the same was said ("it failed (2 times)").
        with_traceback: Whether a line that an exception causes at once shows it.
    """

    def __init__(
        self,
        logger: logging.Logger,
        message: str,
        *arguments: object,
        of_items: bool = True,
        with_traceback: bool = False,
    ) -> None:
        super().__init__(logger)
        self._message, self._arguments = message, arguments
        self._of_items, self._with_traceback = of_items, with_traceback
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, kind: str, count: int = 1, example: str = "") -> None:
        """Count ``kind``; the line shows the first ``example`` of it instead."""
        if example and len(self._examples) < MAX_KINDS:
            self._examples.setdefault(kind, example)
        self.update({kind: count})

    def update(self, counts: Mapping[str, int]) -> None:
        """Count each kind."""
        with _unlogged.lock:
            for kind, count in counts.items():
                known = kind in self._counts or len(self._counts) < MAX_KINDS
                self._counts[kind if known else OTHERS] += count
        _unlogged.add(self)

    def take(self) -> list[Line]:
        """Remove and return the line for the counts."""
        counts, self._counts = self._counts, Counter()
        examples, self._examples = self._examples, {}
        if not counts:
            return []
        text = ", ".join(self._text(examples.get(kind, kind), count) for kind, count in counts.most_common())
        return [(logging.WARNING, self._message, (*self._arguments, text))]

    def _text(self, kind: str, count: int) -> str:
        if self._of_items:
            return f"{count} {kind}"
        return kind if count == 1 else f"{kind} ({count} times)"

    def log(self, lines: Iterable[Line]) -> None:
        """Write ``lines``, and the exception that is being handled."""
        error = sys.exc_info()[1] if self._with_traceback else None
        with guarded("logging"):
            trace = (masked_traceback(error),) if error is not None else ()
            for level, message, arguments in lines:
                self.logger.log(level, message + "\n%s" * len(trace), *arguments, *trace)


class OutageLog(_Place):
    """Logs the beginning and the end of an outage; of outages that follow within a minute, the number.

    Args:
        failed: The message for the beginning, with the arguments of :meth:`failed`.
        recovered: The message for the end, with ``arguments``.
        repeated: The message for more of them, with ``arguments`` and a last ``%d`` for the number.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *arguments: object,
        failed: str,
        recovered: str,
        repeated: str,
        level: int = logging.WARNING,
    ) -> None:
        super().__init__(logger)
        self.is_out = False
        self._level, self._arguments = level, arguments
        self._failed, self._recovered, self._repeated = failed, recovered, repeated
        self._reasons: tuple[object, ...] = ()
        self._is_logged = False
        """Whether the last line says that it is out."""
        self._repeats = 0

    def failed(self, *reasons: object) -> None:
        """It does not work."""
        if not self.is_out:
            self.is_out = True
            self._reasons = reasons
            self._repeats += 1
            _unlogged.add(self)

    def works(self) -> None:
        """It works."""
        if self.is_out:
            self.is_out = False
            with _unlogged.lock:
                was_logged, self._is_logged = self._is_logged, False
            if was_logged:
                self.log([(logging.WARNING, self._recovered, self._arguments)])

    def take(self) -> list[Line]:
        """Remove and return the line for the outage, or for those that are over."""
        repeats, self._repeats = self._repeats, 0
        lines: list[Line] = []
        if repeats and self.is_out and not self._is_logged:
            self._is_logged = True
            repeats -= 1
            lines.append((self._level, self._failed, (*self._arguments, *self._reasons)))
        if repeats:
            lines.append((self._level, self._repeated, (*self._arguments, repeats)))
        return lines
