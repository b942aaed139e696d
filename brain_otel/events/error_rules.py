"""Decides which errors are events: by the response status, by their class, by the logger.

Classes to report come before classes to ignore, and both before the status. An exception that the application passes
to ``capture_exception`` is always an event.
"""

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.sections.errors import ErrorSettings
from brain_otel.runtime.imports import late_module

if TYPE_CHECKING:
    from brain_otel.events import attributes
else:
    # The first error that a rule may name needs it.
    attributes = late_module("brain_otel.events.attributes")

ASKED_FOR = "generic"
"""Sentry's mechanism for exceptions that code reports on purpose."""


class ErrorRules:
    """Applies the rules of the configuration."""

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
        """Whether ``error`` is an event, whatever its status; None if the rules do not name its class.

        A group is ignored if all its exceptions are, and reported if one of them is.
        """
        if not self._ignored and not self._reported:
            return None
        answers = set()
        waiting = [error]
        while waiting:
            each = waiting.pop()
            answer = self._cached_answer(type(each))
            if answer is None and isinstance(each, BaseExceptionGroup):
                waiting.extend(each.exceptions)
            else:
                answers.add(answer)
        return True if True in answers else None if None in answers else False

    def _answer_for(self, kind: type[BaseException]) -> bool | None:
        if is_named(kind, self._reported):
            return True
        return False if is_named(kind, self._ignored) else None

    def ignores_logger(self, name: str) -> bool:
        """Whether records of the logger ``name`` become neither events nor breadcrumbs."""
        return any(name == ignored or name.startswith(f"{ignored}.") for ignored in self._loggers)


def is_named(kind: type, names: Sequence[str]) -> bool:
    """Whether ``names`` has ``kind`` or one of its bases, under the name of its definition or of an import."""
    bases = kind.__mro__[:-1]
    own = set(map(attributes.class_name, bases))
    return any(name in own or _imported(name) in bases for name in names)


def _imported(name: str) -> object:
    """The object that ``package.Class`` refers to, None while the package is not imported.

    ``redis.ConnectionError`` is defined as ``redis.exceptions.ConnectionError``.
    """
    module, _, attribute = name.rpartition(".")
    return vars(sys.modules[module]).get(attribute) if module in sys.modules else None


class _Current:
    rules = ErrorRules(ErrorSettings())


def error_rules() -> ErrorRules:
    """The rules of this process: the configured ones, else the defaults."""
    return _Current.rules


def configure_error_rules(settings: ErrorSettings) -> None:
    """Set the rules of this process."""
    _Current.rules = ErrorRules(settings)
