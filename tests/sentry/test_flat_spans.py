"""A flat span says in Sentry what the span says, and the garbage collector does not track it."""

import copy
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, set_span_in_context

from brain_otel.privacy import Policy, PrivacySettings, configure_privacy
from brain_otel.sentry.breadcrumbs import breadcrumbs_of
from brain_otel.sentry.flat_spans import IDS_AND_TIMES, _flat_fields, _flat_properties, flat, restored
from brain_otel.sentry.span_cache import SpanCache

SQL: dict[str, Any] = {"db.system.name": "postgresql", "db.query.text": "SELECT 'secret'", "server.port": 5432}
HTTP: dict[str, Any] = {"http.request.method": "GET", "url.full": "https://a.test/b?token=c", "server.port": 443}
PROVIDER = TracerProvider(shutdown_on_exit=False)


@pytest.fixture(autouse=True)
def policies() -> Iterator[None]:
    configure_privacy(Policy(PrivacySettings()))
    yield
    configure_privacy(None)


def ended(attributes: dict[str, Any], *, provider: TracerProvider = PROVIDER, **more: Any) -> ReadableSpan:
    """Make a span in another one."""
    status, event = more.pop("status", None), more.pop("event", None)
    tracer = provider.get_tracer("shop", "1.0")
    parent = tracer.start_span("parent")
    span: Any = tracer.start_span("work", context=set_span_in_context(parent), attributes=attributes, **more)
    span.set_status(status or Status(StatusCode.UNSET))
    if event:
        span.add_event(event)
    span.end()
    readable: ReadableSpan = span._readable_span()
    return readable


USUAL: dict[str, ReadableSpan] = {
    "statement": ended(SQL, kind=SpanKind.CLIENT),
    "call": ended(HTTP, kind=SpanKind.CLIENT),
    "failed": ended(HTTP, kind=SpanKind.CLIENT, status=Status(StatusCode.ERROR)),
    "ok": ended({}, status=Status(StatusCode.OK)),
    "producer": ended({"a": "b", "c": 1}, kind=SpanKind.PRODUCER),
    "secret name": ended({"api_key": "k3j4h5k3j4h5k3j4h5"}),
    "key and value alike": ended({"a": "b", "b": "a"}),
    "without ends": ReadableSpan(
        "work", context=SpanContext(1, 2, is_remote=False), attributes={"a": 1}, start_time=7, end_time=None
    ),
}


@pytest.mark.parametrize("name", USUAL)
def test_a_flat_span_gives_the_same_payload_and_breadcrumb(name: str) -> None:
    """As JSON, as a dict, and in the trail of an error; with a full cache or an empty one."""
    span = USUAL[name]
    kept = flat(span)
    assert isinstance(kept, tuple)
    cache = SpanCache()
    for _ in range(3):
        theirs, ours = SpanCache().create_payload(span), cache.create_payload(kept)
        assert ours.to_dict() == theirs.to_dict()
        assert ours.to_json() == theirs.to_json()
    assert breadcrumbs_of([kept]) == breadcrumbs_of([span])
    again, parent = restored(kept), span.parent
    assert (again.name, again.kind, again.start_time) == (span.name, span.kind, span.start_time)
    assert again.parent == (parent and SpanContext(parent.trace_id, parent.span_id, is_remote=False))


@pytest.mark.parametrize(
    "span",
    [
        ended({"a": 1.5}),
        ended({"a": True}),
        ended({"a": ("b",)}),
        ended({}, event="cache miss"),
        ended({}, links=(Link(SpanContext(1, 2, is_remote=True)),)),
        ended({}, status=Status(StatusCode.ERROR, "it failed")),
        ended({"a": 1, "b": 2}, provider=TracerProvider(span_limits=SpanLimits(1), shutdown_on_exit=False)),
        ReadableSpan("without ids"),
    ],
    ids=["float", "boolean", "list", "event", "link", "description", "dropped attribute", "no ids"],
)
def test_a_span_that_a_flat_one_cannot_express_is_kept(span: ReadableSpan) -> None:
    """A dropped attribute counts: the limits of another provider may be one."""
    assert flat(span) is span
    assert restored(span) is span


@pytest.mark.parametrize("name", USUAL)
def test_a_flat_span_is_the_same_from_fields_and_from_properties(name: str) -> None:
    """The fields are private: without one of them, the properties are read."""
    span = copy.copy(USUAL[name])
    assert type(span) is ReadableSpan
    known = _flat_properties(span)
    assert (_flat_fields(span) or known) == flat(span) == known
    assert name == "without ends" or _flat_fields(span) is not None
    del span._instrumentation_scope
    assert _flat_fields(span) is None


def test_the_collector_does_not_track_flat_spans() -> None:
    """Nor the texts and numbers in them."""
    kept = flat(USUAL["statement"])
    gc.collect()
    assert not gc.is_tracked(kept)


def test_equal_facts_are_equal_spans() -> None:
    """Names and values that are exchanged are other facts, and so are a library and a kind."""
    facts = [flat(span)[IDS_AND_TIMES:] for span in USUAL.values() if isinstance(flat(span), tuple)]  # type: ignore[index]
    assert len(set(facts)) == len(USUAL)
    assert flat(ended(SQL, kind=SpanKind.CLIENT))[IDS_AND_TIMES:] == facts[0]  # type: ignore[index]
