"""An ended span as it may leave the process: everything private in it is masked."""

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, TraceState

from brain_otel.privacy.attributes import masked_attributes, span_name_without_literals, url_without_route_secrets
from brain_otel.privacy.policy import Policy, policy
from brain_otel.privacy.resource import masked_resource, masked_scope
from brain_otel.runtime.guard import caught
from brain_otel.runtime.text import encodable
from brain_otel.traces.conventions import raw_attributes

_MASKING = "masking a span, which is sent without its"


_MAX_CACHED = 256
"""Characters of the longest name whose masked form is cached."""


@lru_cache(maxsize=4_096)
def _masked_name(by: Policy, name: str) -> str:
    """The name as it may leave; empty if that depends on the span's attributes, or is not cached."""
    depends = _is_sql(name) or ("/" in name and "{" not in name)
    return "" if depends or len(name) > _MAX_CACHED or by.mask is not None else encodable(by.text(name))


def _is_sql(name: str) -> bool:
    """Whether a literal or a comment of SQL may stand in ``name``."""
    return "'" in name or '"' in name or name.startswith(("--", "/*", "#", "$"))


def _masked_context(by: Policy, context: SpanContext) -> SpanContext:
    """``context`` with the values of its trace state masked; the caller of a request may have written it.

    The trace state is the fifth part of the tuple. Asking for it by its name would cost a call for every span.
    """
    given = dict(context.trace_state)
    masked = by.value(given)
    if masked == given:
        return context
    state = TraceState(list(masked.items()))
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags, state)


def _of_original(name: str) -> Any:
    """A property of the original span that holds nothing private."""
    return property(attrgetter(f"_MaskedSpan__span.{name}"))


class MaskedSpan(ReadableSpan):
    """An ended span whose name, status, attributes, events, links and resource are masked and fit into UTF-8.

    The original span does not change: other span processors see what the application wrote. Most masking happens on
    first read, so on the thread that exports and not on the request's. A part that cannot be masked is left out.

    Every public property is overridden here, and the SDK's private attributes never hold the original's values:
    code that reads one, as the SDK's own ``to_json`` does, gets it from a span that is built of the masked parts by
    the public constructor. So a private attribute that upstream adds or renames cannot bypass the mask.

    Raises:
        Exception: ``span`` has a name or status that cannot be masked.
    """

    def __init__(self, span: ReadableSpan, by: Policy | None = None) -> None:
        self.__span = span
        self.__policy = by or policy()
        name = span.name
        self.__name = _masked_name(self.__policy, name) or self.__text(
            self.__without_literals(self.__without_route_secrets(name))
        )
        status = span.status
        description = status.description
        self.__status = status if description is None else Status(status.status_code, self.__text(description))

    __attributes: dict[str, Any] | None = None
    __events: tuple[Event, ...] | None = None
    __copy: ReadableSpan | None = None

    kind = _of_original("kind")
    start_time = _of_original("start_time")
    end_time = _of_original("end_time")
    dropped_attributes = _of_original("dropped_attributes")
    dropped_events = _of_original("dropped_events")
    dropped_links = _of_original("dropped_links")

    def get_span_context(self) -> SpanContext | None:
        """The ids of the span, and its trace state, masked."""
        context = self.__span.get_span_context()
        return context if context is None or not context[4] else _masked_context(self.__policy, context)

    @property
    def context(self) -> SpanContext | None:
        """The same as :meth:`get_span_context`."""
        context: SpanContext | None = self.__span.context
        return context if context is None or not context[4] else _masked_context(self.__policy, context)

    @property
    def parent(self) -> SpanContext | None:
        """The ids of the parent, and its trace state, masked."""
        parent = self.__span.parent
        return parent if parent is None or not parent[4] else _masked_context(self.__policy, parent)

    @property
    def name(self) -> str:
        """The name, without the values of secret route parameters."""
        return self.__name

    @property
    def status(self) -> Status:
        """The status with its description masked."""
        return self.__status

    @property
    def attributes(self) -> dict[str, Any]:
        """The masked attributes."""
        if self.__attributes is None:
            try:
                self.__attributes = masked_attributes(self.__policy, raw_attributes(self.__span))
            except Exception as error:
                self.__attributes = {}
                caught(f"{_MASKING} attributes", error)
        return self.__attributes

    @property
    def events(self) -> Sequence[Event]:
        """The masked events."""
        if self.__events is None:
            try:
                self.__events = tuple(map(self.__masked_event, self.__span.events))
            except Exception as error:
                self.__events = ()
                caught(f"{_MASKING} events", error)
        return self.__events

    @property
    def links(self) -> Sequence[Link]:
        """The masked links."""
        try:
            return tuple(map(self.__masked_link, self.__span.links))
        except Exception as error:
            caught(f"{_MASKING} links", error)
            return ()

    @property
    def resource(self) -> Resource:
        """The masked resource."""
        try:
            return masked_resource(self.__policy, self.__span.resource)
        except Exception as error:
            caught(f"{_MASKING} resource", error)
            return Resource.get_empty()

    @property
    def instrumentation_scope(self) -> InstrumentationScope | None:
        """The masked instrumentation scope."""
        scope = self.__span.instrumentation_scope
        return scope if scope is None else masked_scope(self.__policy, scope)

    @property
    def instrumentation_info(self) -> Any:
        """What the SDK calls the scope in its deprecated form, unless something private is in it."""
        scope = self.__span.instrumentation_scope
        return self.__span.instrumentation_info if self.instrumentation_scope is scope else None

    def __getattr__(self, name: str) -> Any:
        """Private attributes of the SDK's, from a span that is built of the masked parts."""
        if not name.startswith("_") or name.startswith(("__", "_MaskedSpan__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self.__copy is None:
            self.__copy = ReadableSpan(
                name=self.name,
                context=self.context,
                parent=self.parent,
                resource=self.resource,
                attributes=self.attributes,
                events=self.events,
                links=self.links,
                kind=self.kind,
                status=self.status,
                start_time=self.start_time,
                end_time=self.end_time,
                instrumentation_scope=self.instrumentation_scope,
            )
        return getattr(self.__copy, name)

    def __text(self, text: str) -> str:
        return encodable(self.__policy.text(text))

    def __without_route_secrets(self, name: str) -> str:
        if "/" not in name or "{" in name:
            return name  # it has no path, or the route instead of the path
        route = (self.__span.attributes or {}).get("http.route")
        if not isinstance(route, str) or "{" not in route:
            return name
        return url_without_route_secrets(self.__policy, route, name)

    def __without_literals(self, name: str) -> str:
        """The name without literals and comments of SQL, of which contrib takes the first word."""
        if not _is_sql(name):
            return name
        return span_name_without_literals(name, self.__span.attributes or {})

    def __masked_event(self, event: Event) -> Event:
        original = event.attributes or {}
        name, masked = self.__text(event.name), masked_attributes(self.__policy, original)
        return event if name == event.name and masked == dict(original) else Event(name, masked, event.timestamp)

    def __masked_link(self, link: Link) -> Link:
        original = link.attributes or {}
        masked = masked_attributes(self.__policy, original)
        context = _masked_context(self.__policy, link.context) if link.context[4] else link.context
        return link if masked == dict(original) and context is link.context else Link(context, masked)
