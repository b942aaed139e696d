"""``distribution.brain_otel.errors``: which errors are events."""

import builtins
from typing import Annotated, Any

from brain_otel.configuration.values import BadValueError, list_of, text
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple

_STATUSES = expression(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")
_CLASS = expression(r"[^\W\d]\w*+(\.[^\W\d]\w*+)*+")
_LOGGER = expression(r"[^\s*?]+")

_STATUSES_ALLOWED = "a list of statuses and ranges such as 404 and 500-599"


def _status_range(value: Any) -> tuple[int, int]:
    found = _STATUSES.fullmatch(str(value))
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if last < first:
        raise BadValueError(value, _STATUSES_ALLOWED)
    return first, last


def _is_class(name: str) -> bool:
    kind = getattr(builtins, name, None)
    is_builtin_exception = isinstance(kind, type) and issubclass(kind, BaseException)
    return bool(_CLASS.fullmatch(name)) and ("." in name or is_builtin_exception)


_CLASSES = list_of(
    text(_is_class, "a built-in exception, or module.Class"),
    "a list of classes such as ValueError and httpx.ConnectError",
)
_LOGGERS = list_of(
    text(lambda name: _LOGGER.fullmatch(name), "a logger's name, without wildcards"),
    "a list of loggers' names such as celery.redirected, without wildcards",
)


class ErrorSettings(NamedTuple):
    """Which errors are events."""

    failed_statuses: Annotated[tuple[tuple[int, int], ...], list_of(_status_range, _STATUSES_ALLOWED)] = ((500, 599),)
    """Ranges of response statuses, both ends included, that are failures of this service."""
    ignored_exceptions: Annotated[tuple[str, ...], _CLASSES] = ()
    """Exception classes that are never an event, as ``module.Class`` or a built-in's name."""
    reported_exceptions: Annotated[tuple[str, ...], _CLASSES] = ()
    """Exception classes that are an event even if a base class is ignored or the status is no failure."""
    ignored_loggers: Annotated[tuple[str, ...], _LOGGERS] = ()
    """Loggers whose records, and those of their child loggers, are neither events nor breadcrumbs."""
