"""Ended spans: one whose properties cost no call of Python's, and one with more attributes."""

from collections.abc import Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan


def _field(name: str) -> Any:
    return property(attrgetter(name))


class PlainSpan(ReadableSpan):
    """A span whose fields have the names of OpenTelemetry's, and what span processors get of one that has ended.

    Each property of OpenTelemetry's is a function.
    """

    context = _field("_context")
    kind = _field("_kind")
    parent = _field("_parent")
    start_time = _field("_start_time")
    end_time = _field("_end_time")
    status = _field("_status")


class ExtendedSpan(ReadableSpan):
    """An ended span with more attributes; it shares everything else with the original."""

    def __init__(self, span: ReadableSpan, more: Mapping[str, Any]) -> None:
        self.__dict__.update(span.__dict__)
        attributes = span.attributes or {}
        self._extended = self._attributes = {**more, **attributes} if more else attributes

    # The public name does not depend on where the base class keeps the attributes.

    @property
    def attributes(self) -> Any:  # noqa: D102
        return MappingProxyType(self._extended)
