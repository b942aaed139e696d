"""A span whose properties cost no call of Python's; each of OpenTelemetry's is a function."""

from operator import attrgetter
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan


def _field(name: str) -> Any:
    return property(attrgetter(name))


class PlainSpan(ReadableSpan):
    """A span whose fields have the names of OpenTelemetry's, and what span processors get of one that has ended."""

    context = _field("_context")
    kind = _field("_kind")
    parent = _field("_parent")
    start_time = _field("_start_time")
    end_time = _field("_end_time")
    status = _field("_status")
