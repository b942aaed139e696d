"""Spans as Sentry's protocol has them: what is remembered of one is said of no other."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from brain_otel.privacy import Policy, PrivacySettings, configure_privacy
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.sentry import spans as span_payload
from brain_otel.sentry.spans import SpanFields, create_payload
from tests.sentry.conftest import Bridge
from tests.support.ingest import Json

SQL: dict[str, Any] = {"db.system.name": "postgresql", "db.query.text": "SELECT 'secret'", "server.port": 5432}


@pytest.fixture(autouse=True)
def policies() -> Iterator[Callable[..., None]]:
    """Begin with nothing remembered; set another policy, until the test ends."""
    configure_privacy(Policy(PrivacySettings()))
    yield lambda **options: configure_privacy(Policy(PrivacySettings(), **options))
    configure_privacy(None)


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    return TracerProvider(shutdown_on_exit=False)


class Spans:
    """Makes ended spans, and says what is made of them."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

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

    def said(self, *args: Any, times: int = 3, **options: Any) -> Json:
        """Say it so often; what the last one says, which is the same in both forms."""
        for _ in range(times):
            span = self.make(*args, **options)
            payload = create_payload(span)
            made, written = payload.to_dict(), json.loads(payload.to_json())
            assert made == written
            assert [type(each) for each in made["data"].values()] == [type(each) for each in written["data"].values()]
            fresh = {**SpanFields(MaskedSpan(span)).fields}
            assert {name: made[name] for name in fresh} == fresh
        return made


@pytest.fixture
def spans(provider: TracerProvider) -> Spans:
    return Spans(provider)


def is_remembered(spans: Spans, *args: Any, **options: Any) -> bool:
    """Whether two that are alike, of which the second was not the first time, share what they say."""
    payloads = [create_payload(spans.make(*args, **options)) for _ in range(3)]
    return payloads[1].said is payloads[2].said


def test_what_comes_again_is_remembered(spans: Spans) -> None:
    """From the second time on; what never comes again would take the place of what does."""
    payloads = [create_payload(spans.make()) for _ in range(4)]
    assert payloads[0].said is not payloads[1].said
    assert payloads[1].said is payloads[2].said is payloads[3].said
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


def test_no_span_says_what_another_does(spans: Spans) -> None:
    """However little they differ by: each is masked and described as if it were the first."""
    said = {name: spans.said(**options) for name, options in OTHERS.items()}
    assert {name: said[name]["data"]["n"] for name in ("one", "true", "one point nothing", "the text", "a list")} == {
        "one": 1,
        "true": True,
        "one point nothing": 1.0,
        "the text": "1",
        "a list": [1],
    }
    assert type(said["one"]["data"]["n"]) is int
    assert type(said["true"]["data"]["n"]) is bool
    assert (said["a name"]["op"], said["another name"]["op"]) == ("db.connection", "db")
    assert (said["a status"]["status"], said["a good status"]["status"]) == ("internal_error", "ok")
    assert (said["a kind"]["data"].get("otel.kind"), said["a status"]["data"]["otel.kind"]) == (None, "CLIENT")
    assert [said[f"{name} name"]["data"].get(name) for name in ("this", "that")] == ["value", "value"]
    assert said["a library"]["origin"] == "auto.db.otel.asyncpg"
    assert said["nobody's library"]["origin"] == "manual"


LINK = Link(SpanContext(1, 2, is_remote=True))


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
def test_what_cannot_be_compared_or_is_long_is_not_remembered(
    spans: Spans, options: dict[str, Any], expected: bool
) -> None:
    """It is said all the same."""
    assert is_remembered(spans, **options) == expected
    said = spans.said(**options)
    assert ("links" in said) == ("links" in options)
    assert ("otel.events" in said["data"]) == ("event" in options)
    assert ("otel.status_description" in said["data"]) == ("status" in options)


def test_another_policy_is_asked_anew(spans: Spans, policies: Callable[..., None]) -> None:
    """What one let pass another may mask; what was remembered for the first is let go."""
    attributes = {"client.address": "10.0.0.9"}
    policies(send_default_pii=True)
    assert spans.said(attributes)["data"]["client.address"] == "10.0.0.9"
    policies(send_default_pii=False)
    assert "10.0.0.9" not in str(spans.said(attributes))
    assert len(span_payload._cache._known) == 1


def test_an_applications_mask_is_asked_each_time(spans: Spans, policies: Callable[..., None]) -> None:
    """It may answer otherwise."""
    asked: list[str] = []

    def mask(name: str, value: Any) -> Any:
        asked.append(name)
        return value

    policies(mask=mask)
    for _ in range(4):
        create_payload(spans.make({"plan": "gold plated"}))
    assert asked.count("plan") == 4


def test_what_is_remembered_is_bounded(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes, and comes back when it is needed."""
    monkeypatch.setattr(span_payload, "MAX_REMEMBERED", 3)
    monkeypatch.setattr(span_payload, "MAX_SEEN", 10)
    for number in range(40):
        assert spans.said({"n": number}, times=2)["data"]["n"] == number
        assert len(span_payload._cache._known) <= 3
        assert len(span_payload._cache._seen) <= 10
    assert len(span_payload._cache._known) == 3
    assert is_remembered(spans, {"n": 0})


def test_what_the_sdk_left_out_is_told_each_time() -> None:
    """The attributes that are left are the same."""
    limited = Spans(TracerProvider(span_limits=SpanLimits(max_span_attributes=1), shutdown_on_exit=False))
    assert "otel.dropped_attributes_count" not in limited.said({"b": 1})["data"]
    for count in (1, 2):
        given = {**dict.fromkeys(["a", "c"][:count], 1), "b": 1}
        assert limited.said(given)["data"]["otel.dropped_attributes_count"] == count


def test_a_dict_is_its_receivers_own(spans: Spans) -> None:
    """To change as they like, however many say the same."""
    spans.said()
    for _ in range(3):
        payload = create_payload(spans.make())
        made = payload.to_dict()
        assert "mine" not in made["data"]
        made["data"]["mine"] = made["mine"] = True


def test_a_span_names_its_parent(provider: TracerProvider) -> None:
    """In both forms; a span without one names none."""
    tracer = provider.get_tracer("shop")
    with tracer.start_as_current_span("parent") as parent, tracer.start_as_current_span("child") as child:
        pass
    for span, expected in ((parent, None), (child, f"{parent.get_span_context().span_id:016x}")):
        payload = create_payload(span._readable_span())  # type: ignore[attr-defined]  # the SDK's span
        for made in (payload.to_dict(), json.loads(payload.to_json())):
            assert made.get("parent_span_id", "none") == (expected or "none")
            assert made["span_id"] == f"{span.get_span_context().span_id:016x}"
            assert made["trace_id"] == f"{parent.get_span_context().trace_id:032x}"


def test_an_event_is_its_receivers_own(bridge: Bridge) -> None:
    """What an event processor of the application does to one is not done to the next."""

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
    """As text and as a number alike."""
    span: Any = provider.get_tracer("shop").start_span("a", start_time=nanoseconds)
    span.end(end_time=nanoseconds)
    payload = create_payload(span._readable_span())
    assert f'"start_timestamp":{expected},"timestamp":{expected}}}' in payload.to_json()
    made = payload.to_dict()
    assert made["start_timestamp"] == made["timestamp"] == float(expected)


def test_a_span_without_ids_is_refused() -> None:
    """The mistake would be ours, and is named."""
    with pytest.raises(ValueError, match="the span 'lost' has no ids"):
        create_payload(ReadableSpan("lost"))
