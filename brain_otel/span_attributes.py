"""The attributes of a span, to be read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan


def held(span: ReadableSpan) -> Mapping[str, Any]:
    """What ``span.attributes`` gives, without the two views that OpenTelemetry puts around it; not to be kept."""
    attributes = span._attributes
    return attributes._dict if type(attributes) is BoundedAttributes else attributes or {}
