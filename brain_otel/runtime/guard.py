"""Our own failures: caught, logged once, never the application's problem.

The rule of the house is that observing a service must not change it. Every entry point of ours that runs
inside the application's code (a hook, a span processor, a helper) is entered through :class:`guarded`, which
swallows what *we* raise and says so in one log line. It is never put around the application's own code, and
it lets ``BaseException`` (``KeyboardInterrupt``, ``CancelledError``) pass.

After logfire's ``handle_internal_errors``: the log names the place, and a test can ask for the exception itself.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger(__name__)

_logged: dict[str, object] = {}
_reraise = False


class guarded:  # noqa: N801 - reads as a statement: `with guarded("ending a span"):`
    """Swallow and log an exception of ours.

    The first failure at each ``place`` is logged at ``ERROR`` in one line, its traceback at ``DEBUG``; later
    ones at the same place are silent, so that a broken exporter cannot flood the application's log.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        tell(self.place, error)
        return not _reraise


def caught(place: str, error: Exception) -> None:
    """What :class:`guarded` does with ``error``, for the few places on every span's way that cannot afford the block.

    To be called in the ``except Exception`` around code of ours.
    """
    tell(place, error)
    if _reraise:
        raise error


def tell(place: str, error: Exception) -> None:
    """Log that we failed at ``place``, the first time."""
    with suppress(Exception):  # a filter or handler of the application's may fail on our line
        _log_once(place, error)


def _log_once(place: str, error: Exception) -> None:
    if sys.is_finalizing():
        return  # much is gone by now, and nobody can do anything about it
    first = object()
    if _logged.setdefault(place, first) is not first:  # in one step: another thread may fail at the same place
        return
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    where = f"{frame[0].filename}:{frame[0].lineno}" if frame else "unknown"
    logger.error(
        "brain_otel failed while %s; the application is not affected (%s: %s at %s)",
        place,
        type(error).__name__,
        _one_line(error),
        where,
    )
    logger.debug("The failure while %s", place, exc_info=error)


def _one_line(error: Exception) -> str:
    try:
        return " ".join(str(error).split())[:200]
    except Exception:  # a user's exception may have a broken __str__
        return "no message"


def reraise_failures(value: bool) -> None:
    """Let our failures out (``True``) so that a test sees them; ``False`` is the normal state."""
    global _reraise
    _reraise = value


def forget_logged_places() -> None:
    """Log the next failure at every place again; for tests."""
    _logged.clear()
