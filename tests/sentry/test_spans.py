"""Spans in Sentry's protocol: a cached payload is used for equal spans only."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from brain_otel.privacy import Policy, PrivacySettings, configure_privacy
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.sentry import repeats
from brain_otel.sentry.span_cache import SpanCache
from brain_otel.sentry.spans import SpanFields, SpanPayload
from tests.sentry.conftest import Bridge
from tests.support.ingest import Json

SQL: dict[str, Any] = {"db.system.name": "postgresql", "db.query.text": "SELECT 'secret'", "server.port": 5432}


@pytest.fixture(autouse=True)
def policies() -> Iterator[Callable[..., None]]:
    """Set another policy until the test ends."""
    configure_privacy(Policy(PrivacySettings()))
    yield lambda **options: configure_privacy(Policy(PrivacySettings(), **options))
    configure_privacy(None)


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    return TracerProvider(shutdown_on_exit=False)


class Spans:
    """Makes ended spans, and their payloads with one cache."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self.cache = SpanCache()

    def make(
        self,
        attributes: dict[str, Any] | None = None,
        *,
        name: str = "SELECT",
        kind: SpanKind = SpanKind.CLIENT,
        scope: str = "opentelemetry.instrumentation.sqlalchemy",
        status: Status | None = None,
        links: tuple[Link, ...] = (),
        event: str | None = None,
    ) -> ReadableSpan:
        tracer = self._provider.get_tracer(scope)
        span: Any = tracer.start_span(
            name, kind=kind, attributes=SQL if attributes is None else attributes, links=links
        )
        if status is not None:
            span.set_status(status)
        if event is not None:
            span.add_event(event)
        span.end()
        readable: ReadableSpan = span._readable_span()
        return readable

    def payload(self, *args: Any, **options: Any) -> SpanPayload:
        """Make a span, and its payload."""
        return self.cache.create_payload(self.make(*args, **options))

    def as_dict(self, *args: Any, times: int = 3, **options: Any) -> Json:
        """Make equal spans, and return the last one's payload, which is the same as a dict and as JSON."""
        for _ in range(times):
            span = self.make(*args, **options)
            payload = self.cache.create_payload(span)
            made, written = payload.to_dict(), json.loads(payload.to_json())
            assert made == written
            assert [type(each) for each in made["data"].values()] == [type(each) for each in written["data"].values()]
            fresh = {**SpanFields(MaskedSpan(span)).values}
            assert {name: made[name] for name in fresh} == fresh
        return made


@pytest.fixture
def spans(provider: TracerProvider) -> Spans:
    return Spans(provider)


def is_cached(spans: Spans, *args: Any, **options: Any) -> bool:
    """Whether the second and third of equal spans share their fields."""
    payloads = [spans.payload(*args, **options) for _ in range(3)]
    return payloads[1].fields is payloads[2].fields


@pytest.mark.usefixtures("fast_paths")
def test_a_span_is_cached_when_it_is_seen_again(spans: Spans) -> None:
    """The first of its kind is not: a span that never comes again would evict others."""
    payloads = [spans.payload() for _ in range(4)]
    assert payloads[0].fields is not payloads[1].fields
    assert payloads[1].fields is payloads[2].fields is payloads[3].fields
    assert len({payload.span_id for payload in payloads}) == 4
    assert payloads[3].to_dict()["description"] == "SELECT ?"


OTHERS: dict[str, dict[str, Any]] = {
    "the usual": {},
    "a name": {"name": "connect", "attributes": {"db.system.name": "sqlite"}},
    "another name": {"name": "close", "attributes": {"db.system.name": "sqlite"}},
    "a kind": {"kind": SpanKind.INTERNAL},
    "a library": {"scope": "opentelemetry.instrumentation.asyncpg"},
    "nobody's library": {"scope": "shop"},
    "a status": {"status": Status(StatusCode.ERROR)},
    "a good status": {"status": Status(StatusCode.OK)},
    "a value": {"attributes": {**SQL, "server.port": 5433}},
    "a name of a value": {"attributes": {**SQL, "net.peer.port": 5432}},
    "a key for a value": {"attributes": {"db.system.name": "postgresql", "postgresql": "db.system.name"}},
    "a value for a key": {"attributes": {"postgresql": "db.system.name", "db.system.name": "postgresql"}},
    "this name": {"attributes": {"this": "value"}},
    "that name": {"attributes": {"that": "value"}},
    "nothing": {"attributes": {}},
    "one": {"attributes": {"n": 1}},
    "true": {"attributes": {"n": True}},
    "one point nothing": {"attributes": {"n": 1.0}},
    "the text": {"attributes": {"n": "1"}},
    "a list": {"attributes": {"n": [1]}},
}


def test_spans_that_differ_share_no_payload(spans: Spans) -> None:
    """However small the difference is: each is masked and described as if it were the first."""
    found = {name: spans.as_dict(**options) for name, options in OTHERS.items()}
    assert {
        name: found[name]["data"]["n"] for name in ("one", "true", "one point nothing", "the text", "a list")
    } == {
        "one": 1,
        "true": True,
        "one point nothing": 1.0,
        "the text": "1",
        "a list": [1],
    }
    assert type(found["one"]["data"]["n"]) is int
    assert type(found["true"]["data"]["n"]) is bool
    assert (found["a name"]["op"], found["another name"]["op"]) == ("db", "db")
    assert (found["a status"]["status"], found["a good status"]["status"]) == ("internal_error", "ok")
    assert (found["a kind"]["data"].get("sentry.kind"), found["a status"]["data"]["sentry.kind"]) == (
        None,
        "client",
    )
    assert [found[f"{name} name"]["data"].get(name) for name in ("this", "that")] == ["value", "value"]
    assert found["a library"]["origin"] == "auto.db.otel.asyncpg"
    assert found["nobody's library"]["origin"] == "manual"


LINK = Link(SpanContext(1, 2, is_remote=True))


@pytest.mark.usefixtures("fast_paths")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"attributes": {"text": "x" * 1_900}}, True),
        ({"attributes": {"text": "x" * 2_100}}, False),
        ({"attributes": {"flag": True}}, False),
        ({"attributes": {"list": ["a"]}}, False),
        ({"links": (LINK,)}, False),
        ({"event": "retried"}, False),
        ({"status": Status(StatusCode.ERROR, "no")}, False),
    ],
)
def test_long_spans_and_those_that_cannot_be_compared_are_not_cached(
    spans: Spans, options: dict[str, Any], expected: bool
) -> None:
    """Their payload is complete."""
    assert is_cached(spans, **options) == expected
    payloads = spans.as_dict(**options)
    assert ("links" in payloads) == ("links" in options)
    assert ("otel.events" in payloads["data"]) == ("event" in options)
    assert ("otel.status_description" in payloads["data"]) == ("status" in options)


@pytest.mark.usefixtures("fast_paths")
def test_the_cache_is_per_policy(spans: Spans, policies: Callable[..., None]) -> None:
    """Another policy may mask what the first let pass, and empties the cache."""
    attributes = {"client.address": "10.0.0.9"}
    policies(send_default_pii=True)
    assert spans.as_dict(attributes)["data"]["client.address"] == "10.0.0.9"
    policies(send_default_pii=False)
    assert "10.0.0.9" not in str(spans.as_dict(attributes))
    assert len(spans.cache._caches[0]._known) == 1


def test_the_applications_mask_is_called_for_each_span(spans: Spans, policies: Callable[..., None]) -> None:
    """It may answer differently each time."""
    asked: list[str] = []

    def mask(name: str, value: Any) -> Any:
        asked.append(name)
        return value

    policies(mask=mask)
    for _ in range(4):
        spans.payload({"plan": "gold plated"})
    assert asked.count("plan") == 4


@pytest.mark.usefixtures("fast_paths")
def test_the_cache_is_bounded(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that no longer comes is evicted, and cached again when it returns."""
    monkeypatch.setattr(repeats, "MAX_CACHED", 3)
    monkeypatch.setattr(repeats, "MAX_SEEN", 10)
    for number in range(40):
        assert spans.as_dict({"n": number}, times=2)["data"]["n"] == number
        assert len(spans.cache._caches[0]._known) <= 3
        assert len(spans.cache._caches[0]._seen) <= 10
    assert len(spans.cache._caches[0]._known) == 3
    for _ in range(3):
        spans.payload({"n": 0})
    assert is_cached(spans, {"n": 0})


@pytest.mark.usefixtures("fast_paths")
def test_spans_that_come_in_turn_are_found_again(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """More kinds than there is room for: most are found each time, instead of none."""
    monkeypatch.setattr(repeats, "MAX_CACHED", 30)
    for _ in range(3):
        for number in range(40):
            spans.payload({"n": number})
    known = {id(fields) for fields in spans.cache._caches[0]._known.values()}
    found = [id(spans.payload({"n": number}).fields) in known for number in range(40)]
    assert sum(found) >= 25


@pytest.mark.usefixtures("fast_paths")
def test_spans_that_no_longer_come_make_room(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MAX_CACHED", 10)
    for number in (*range(10), *range(10), *range(10)):
        spans.payload({"n": number})
    for _ in range(5):
        for number in range(100, 110):
            spans.payload({"n": number})
    assert all(is_cached(spans, {"n": number}) for number in range(100, 110))


def test_the_number_of_dropped_attributes_is_never_cached() -> None:
    """Spans may have the same attributes left after the SDK dropped different numbers."""
    limited = Spans(TracerProvider(span_limits=SpanLimits(max_span_attributes=1), shutdown_on_exit=False))
    assert "otel.dropped_attributes_count" not in limited.as_dict({"b": 1})["data"]
    for count in (1, 2):
        given = {**dict.fromkeys(["a", "c"][:count], 1), "b": 1}
        assert limited.as_dict(given)["data"]["otel.dropped_attributes_count"] == count


def test_the_receiver_may_change_the_dict_of_a_span(spans: Spans) -> None:
    """Equal spans do not see the change."""
    spans.as_dict()
    for _ in range(3):
        payload = spans.payload()
        made = payload.to_dict()
        assert "mine" not in made["data"]
        made["data"]["mine"] = made["mine"] = True


def test_a_span_names_its_parent(provider: TracerProvider) -> None:
    """As a dict and as JSON; a root names none."""
    tracer = provider.get_tracer("shop")
    with tracer.start_as_current_span("parent") as parent, tracer.start_as_current_span("child") as child:
        pass
    for span, expected in ((parent, None), (child, f"{parent.get_span_context().span_id:016x}")):
        payload = SpanCache().create_payload(span._readable_span())  # type: ignore[attr-defined]  # the SDK's span
        for made in (payload.to_dict(), json.loads(payload.to_json())):
            assert made.get("parent_span_id", "none") == (expected or "none")
            assert made["span_id"] == f"{span.get_span_context().span_id:016x}"
            assert made["trace_id"] == f"{parent.get_span_context().trace_id:032x}"


def test_an_event_processor_may_change_the_spans_of_an_event(bridge: Bridge) -> None:
    """The next event does not see the change."""

    def spoil(event: Any, hint: Any) -> Any:
        for span in event["spans"]:
            span["data"]["db.query.text"] = span["description"] = "spoilt"
            span["data"]["spoilt"] = True
        return event

    def send() -> Json:
        with bridge.tracer.start_as_current_span("root"):
            bridge.tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=SQL).end()
        transaction = bridge.transaction()
        bridge.ingest.clear()
        (span,) = transaction["spans"]
        return {name: span[name] for name in ("description", "data")}

    expected = [send() for _ in range(3)][-1]
    scope = sentry_sdk.get_global_scope()
    try:
        scope.add_event_processor(spoil)
        assert send()["description"] == "spoilt"
    finally:
        scope._event_processors.remove(spoil)
    assert send() == expected


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, "0.000000"),
        (499, "0.000000"),
        (500, "0.000001"),
        (1_999_999_499, "1.999999"),
        (1_999_999_500, "2.000000"),
        (1_767_225_600_123_456_789, "1767225600.123457"),
    ],
)
def test_times_are_seconds_to_the_microsecond(provider: TracerProvider, nanoseconds: int, expected: str) -> None:
    """As JSON and as a number."""
    span: Any = provider.get_tracer("shop").start_span("a", start_time=nanoseconds)
    span.end(end_time=nanoseconds)
    payload = SpanCache().create_payload(span._readable_span())
    assert f'"start_timestamp":{expected},"timestamp":{expected}}}' in payload.to_json()
    made = payload.to_dict()
    assert made["start_timestamp"] == made["timestamp"] == float(expected)


def test_a_span_without_ids_is_an_error() -> None:
    """The message names the span."""
    with pytest.raises(ValueError, match="the span 'lost' has no ids"):
        SpanCache().create_payload(ReadableSpan("lost"))
