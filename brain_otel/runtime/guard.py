"""Our own failures: caught, logged once, never the application's problem.

Observing a service must not change it. Each entry point of ours that runs inside the application's code (a hook, a
span processor, a helper) is entered through :class:`guarded`, which swallows *our* exceptions and logs one line. It
never wraps the application's own code, and lets ``BaseException`` (``KeyboardInterrupt``, ``CancelledError``) pass.

The model is logfire's ``handle_internal_errors``: the log names the place, and a test can ask for the exception.
"""

import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

logger = logging.getLogger(__name__)


class _State:
    """Places that have been logged, whether tests want the exceptions, and what masks their texts."""

    def __init__(self) -> None:
        self.logged: dict[str, object] = {}
        self.reraise = False
        self.mask: Callable[[str], str] = str


_state = _State()


class guarded:  # noqa: N801 - reads as a statement: `with guarded("ending a span"):`
    """Swallow and log an exception of ours.

    The first failure at each ``place`` logs one line at ``ERROR`` and its traceback at ``DEBUG``. Later failures at
    the same place log nothing, so that a broken exporter cannot flood the application's log.
    """

    __slots__ = ("place",)

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        _log(self.place, error)
        return not _state.reraise


def caught(place: str, error: Exception) -> None:
    """Do what :class:`guarded` does with ``error``; for hot paths, where a ``with`` block costs too much.

    Call it in an ``except Exception`` around code of ours.
    """
    _log(place, error)
    if _state.reraise:
        raise error


def _log(place: str, error: Exception) -> None:
    first = object()
    with suppress(Exception):  # a filter or handler of the application may fail on our line
        # Not while modules are half gone. Looking is one step: other threads may fail at the same place.
        if sys.is_finalizing() or _state.logged.setdefault(place, first) is not first:
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
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("The failure while %s:\n%s", place, masked_traceback(error))


def mask_log_lines(mask: Callable[[str], str]) -> None:
    """Let ``mask`` mask the texts of exceptions in our log lines; they may hold the application's values."""
    _state.mask = mask


def masked_traceback(error: BaseException) -> str:
    """The traceback of ``error`` for a log line."""
    return _state.mask("".join(traceback.format_exception(error)))


def _one_line(error: Exception) -> str:
    try:
        return " ".join(_state.mask(str(error)).split())[:200]
    except Exception:  # an exception of the application may have a broken __str__
        return "no message"


def reraise_failures(value: bool) -> None:
    """Raise our exceptions (``True``) so that a test sees them, or swallow them (``False``, the default)."""
    _state.reraise = value


def forget_logged_places() -> None:
    """Log the next failure at each place again; for tests."""
    _state.logged.clear()
