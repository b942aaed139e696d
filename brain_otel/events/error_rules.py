"""Which errors are events: by the status they were answered with, by their class, by the logger that tells of them.

What is reported comes before what is ignored, and both come before the status. What the application reports itself,
with ``capture_exception``, is always an event.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.settings import ErrorSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ASKED_FOR = "generic"
"""Sentry's mechanism of what code has reported on purpose."""


class ErrorRules:
    """The rules of the configuration, ready to ask."""

    def __init__(self, settings: ErrorSettings) -> None:
        self._statuses = frozenset(
            status for first, last in settings.failed_statuses for status in range(first, last + 1)
        )
        self._ignored, self._reported = settings.ignored_exceptions, settings.reported_exceptions
        self._loggers = settings.ignored_loggers
        self._cached_answer: Callable[[Any], bool | None] = lru_cache(maxsize=1024)(self._answer_for)

    def is_failed(self, status: int) -> bool:
        """Whether a response with ``status`` is a failure of this service."""
        return status in self._statuses

    def should_report(self, error: BaseException) -> bool | None:
        """Whether ``error`` is reported whatever became of it; None if the rules do not name its class.

        A group is ignored if all of it is, and reported if one of it is.
        """
        if not self._ignored and not self._reported:
            return None
        should_report = self._cached_answer(type(error))
        if should_report is None and isinstance(error, BaseExceptionGroup):
            inner = [self.should_report(each) for each in error.exceptions]
            return True if True in inner else None if None in inner else False
        return should_report

    def _answer_for(self, kind: type[BaseException]) -> bool | None:
        if is_named(kind, self._reported):
            return True
        return False if is_named(kind, self._ignored) else None

    def ignores_logger(self, name: str) -> bool:
        """Whether lines of the logger ``name`` are neither events nor breadcrumbs."""
        return any(name == ignored or name.startswith(f"{ignored}.") for ignored in self._loggers)


def is_named(kind: type, names: Sequence[str]) -> bool:
    """Whether ``kind`` or a class that it derives from is among ``names``, as it is called or as it is imported."""
    bases = kind.__mro__[:-1]
    own = {
        base.__qualname__ if base.__module__ == "builtins" else f"{base.__module__}.{base.__qualname__}"
        for base in bases
    }
    return any(name in own or _imported(name) in bases for name in names)


def _imported(name: str) -> object:
    """What ``package.Class`` stands for, None while the package has not been imported.

    ``redis.ConnectionError`` is called ``redis.exceptions.ConnectionError``.
    """
    module, _, attribute = name.rpartition(".")
    return vars(sys.modules[module]).get(attribute) if module in sys.modules else None


class _Current:
    rules = ErrorRules(ErrorSettings())


def error_rules() -> ErrorRules:
    """The rules of this process: those that were configured, else the default ones."""
    return _Current.rules


def configure_error_rules(settings: ErrorSettings) -> None:
    """Make the rules of ``settings`` this process's."""
    _Current.rules = ErrorRules(settings)
