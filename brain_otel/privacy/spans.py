"""An ended span as it may leave the process: what is private is masked, on a copy.

Other processors go on to see what the application wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from brain_otel.privacy.attributes import masked_attributes, without_parameters
from brain_otel.privacy.policy import policy
from brain_otel.runtime.text import encodable
from brain_otel.traces.conventions import raw_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.util.types import Attributes

    from brain_otel.privacy.policy import Policy


class MaskedSpan(ReadableSpan):
    """An ended span whose texts and attributes, and those of its events and links, are masked and can be encoded.

    The SDK sees to it that attributes can be encoded, and to nothing else: one name with half a surrogate pair would
    cost the exporter's whole batch.

    It shares everything else with the span, and masks when somebody reads it: on the thread that exports, not on
    the request's. ``_attributes`` and ``_events`` are where :class:`ReadableSpan` keeps them; its ``to_json`` reads
    them there, past the public properties. A test compares what every encoder makes of both.
    """

    def __init__(self, span: ReadableSpan, by: Policy | None = None) -> None:
        self.__dict__.update(span.__dict__)
        self._span = span
        self._policy = by or policy()
        self._name = encodable(self._policy.text(self._without_parameters(span.name)))
        if (description := span.status.description) is not None:
            self._status = Status(span.status.status_code, encodable(self._policy.text(description)))
        if (scope := span.instrumentation_scope) is not None and not scope.name.isascii():
            self._instrumentation_scope = InstrumentationScope(
                encodable(scope.name), scope.version, scope.schema_url, scope.attributes
            )
        self._masked: Attributes | None = None
        self._masked_events: Sequence[Event] | None = None

    def _without_parameters(self, name: str) -> str:
        if "/" not in name or "{" in name:
            return name  # it has no path, or the route instead
        route = (self._span.attributes or {}).get("http.route")
        return without_parameters(self._policy, route, name) if isinstance(route, str) and "{" in route else name

    @property
    def attributes(self) -> Attributes:
        """The masked ones, as the dict that they are: whoever makes a transaction asks for them many times."""
        if self._masked is None:
            self._masked = masked_attributes(self._policy, raw_attributes(self._span))
        return self._masked

    @property
    def events(self) -> Sequence[Event]:
        """The masked ones."""
        return tuple(self._events) if self._span.events else ()

    @property
    def links(self) -> Sequence[Link]:
        """The masked ones."""
        return self._links if self._span.links else ()

    @property
    def _attributes(self) -> Attributes:  # type: ignore[override]  # the SDK's is a plain attribute
        return self.attributes

    @property
    def _events(self) -> Sequence[Event]:  # type: ignore[override]  # as above
        if self._masked_events is None:
            self._masked_events = [self._masked_event(each) for each in self._span.events]
        return self._masked_events

    @property
    def _links(self) -> Sequence[Link]:  # type: ignore[override]  # as above
        return tuple(self._masked_link(each) for each in self._span.links)

    @property
    def dropped_attributes(self) -> int:
        """As many as of the span."""
        return self._span.dropped_attributes

    @property
    def dropped_events(self) -> int:
        """As many as of the span."""
        return self._span.dropped_events

    def _masked_link(self, link: Link) -> Link:
        given = link.attributes or {}
        masked = masked_attributes(self._policy, given)
        return link if masked == dict(given) else Link(link.context, masked)

    def _masked_event(self, event: Event) -> Event:
        given = event.attributes or {}
        name, masked = encodable(self._policy.text(event.name)), masked_attributes(self._policy, given)
        return event if name == event.name and masked == dict(given) else Event(name, masked, event.timestamp)
