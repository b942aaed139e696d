"""Reads ``distribution.brain_otel.instrumentation``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brain_otel.configuration.settings import InstrumentationSettings
from brain_otel.configuration.values import OURS, read_boolean, reject_unknown

if TYPE_CHECKING:
    from brain_otel.configuration.document import Document


def read_instrumentation(document: Document) -> InstrumentationSettings:
    """Which libraries are instrumented and how.

    Raises:
        ConfigurationError: a value is wrong.
    """
    place = (*OURS, "instrumentation")
    given = document.get(*place) or {}
    known = InstrumentationSettings._fields
    reject_unknown(document, place, given, known)
    values: dict[str, Any] = {}
    for name in given:
        if name == "fastapi":
            choice = "off" if given[name] is False else given[name]
            if choice not in ("contrib", "native", "off"):
                raise document.error((*place, name), given[name], "contrib, native, off")
            values[name] = choice
        elif name == "health_checks":
            values[name] = _paths(document, (*place, name))
        else:
            values[name] = read_boolean(document, (*place, name), InstrumentationSettings._field_defaults)
    return InstrumentationSettings(**values)


def _paths(document: Document, place: tuple[str, ...]) -> tuple[str, ...]:
    value = document.get(*place)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) and each.startswith("/") for each in value):
        raise document.error(place, value, "a list of paths, each beginning with /")
    return tuple(value)
