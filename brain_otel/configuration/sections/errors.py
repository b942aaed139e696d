"""The file's block ``distribution.brain_otel.errors``: what stands in it, and what is refused."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.settings import ErrorSettings
from brain_otel.configuration.values import OURS, reject_unknown
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from brain_otel.configuration.document import Document, Key

_PLACE = (*OURS, "errors")
_STATUSES = expression(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")
_CLASS = expression(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_LOGGER = expression(r"[^\s*?]+")


def read_errors(document: Document) -> ErrorSettings:
    """Which errors are events.

    Raises:
        ConfigurationError: a value is wrong.
    """
    given = document.get(*_PLACE) or {}
    reject_unknown(document, _PLACE, given, ErrorSettings._fields)
    values: dict[str, Any] = {}
    if given.get("failed_statuses") is not None:
        place = (*_PLACE, "failed_statuses")
        allowed = "a list of statuses and ranges such as 404 and 500-599"
        values["failed_statuses"] = tuple(
            _range(document, (*place, index), each, allowed)
            for index, each in enumerate(_list(document, place, allowed))
        )
    for name in ("ignored_exceptions", "reported_exceptions"):
        if given.get(name) is not None:
            values[name] = _classes(document, (*_PLACE, name))
    if given.get("ignored_loggers") is not None:
        values["ignored_loggers"] = _loggers(document, (*_PLACE, "ignored_loggers"))
    return ErrorSettings(**values)


def _range(document: Document, place: Key, value: Any, allowed: str) -> tuple[int, int]:
    found = _STATUSES.fullmatch(str(value)) if isinstance(value, (str, int)) else None
    first, last = (int(found[1]), int(found[2] or found[1])) if found is not None else (1, 0)
    if first > last:
        raise document.error(place, value, allowed)
    return first, last


def _classes(document: Document, place: Key) -> tuple[str, ...]:
    allowed = "a list of classes such as ValueError and httpx.ConnectError"
    for index, each in enumerate(_list(document, place, allowed)):
        known = isinstance(each, str) and _CLASS.fullmatch(each) and ("." in each or _is_builtin(each))
        if not known:
            raise document.error((*place, index), each, "a built-in exception, or module.Class")
    return tuple(document.get(*place))


def _loggers(document: Document, place: Key) -> tuple[str, ...]:
    allowed = "a list of loggers' names such as celery.redirected, without wildcards"
    for index, each in enumerate(_list(document, place, allowed)):
        if not isinstance(each, str) or not _LOGGER.fullmatch(each):
            raise document.error((*place, index), each, "a logger's name, without wildcards")
    return tuple(document.get(*place))


def _is_builtin(name: str) -> bool:
    kind = getattr(builtins, name, None)
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _list(document: Document, place: Key, allowed: str) -> list[Any]:
    value = document.get(*place)
    if not isinstance(value, list):
        raise document.error(place, value, allowed)
    return value
