"""What a span stands for, beyond the operations that the tests of the Sentry bridge cover."""

from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, SpanContext

from brain_otel.traces.conventions import has_events_or_links

LINK = Link(SpanContext(1, 2, is_remote=True))


def test_events_and_links_are_seen_without_a_copy() -> None:
    """As the public properties show them."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    for links, event in (((), None), ((LINK,), None), ((), "event"), ((LINK,), "event")):
        span: Any = tracer.start_span("a", links=links)
        if event is not None:
            span.add_event(event)
        span.end()
        assert has_events_or_links(span) is bool(span.events or span.links) is bool(links or event)
