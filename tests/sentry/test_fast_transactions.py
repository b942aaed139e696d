"""A transaction arrives by the short way as by the long one, which it takes where others have a say in it."""

import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
import sentry_sdk
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags
from sentry_sdk.scope import add_global_event_processor, global_event_processors
from sentry_sdk.scrubber import EventScrubber

import brain_otel
from brain_otel.configuration.hooks import Hooks, configure_hooks
from brain_otel.events.listeners import local_trace_entered
from brain_otel.privacy import Policy, PrivacySettings, configure_privacy
from brain_otel.sentry import fast_transactions, span_processor
from brain_otel.sentry.scopes import scope_of
from brain_otel.traces.collector import CollectedTrace
from brain_otel.traces.local_trace import LocalTrace, Request
from tests.sentry.conftest import Bridge, Connect
from tests.support.ingest import Envelope, Json, SentryIngest
from tests.support.relay import assert_accepted

CALLER = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))

Fill = Callable[[otel_trace.Span, otel_trace.Tracer], None]


class Ways:
    """Sends a local trace as it goes by itself, and once more the long way."""

    def __init__(self, bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
        self._bridge, self._monkeypatch = bridge, monkeypatch
        self._plainly = fast_transactions.send_plainly
        self.took: list[str] = []
        self._scopes: list[sentry_sdk.Scope | None] = []
        monkeypatch.setattr(span_processor, "send_plainly", self._noted)

    def _noted(self, *given: Any) -> bool:
        is_short = self._plainly(*given)
        self.took.append("short" if is_short else "long")
        return is_short

    def collect(self, fill: Fill, trace: LocalTrace | None = None) -> CollectedTrace:
        """Collect a local trace that `fill` fills, and do not send it."""
        kept: list[CollectedTrace] = []
        with self._monkeypatch.context() as patched:
            patched.setattr(self._bridge.processor, "hand_over", kept.append)
            with (
                local_trace_entered(trace or LocalTrace(kind="request")),
                self._bridge.tracer.start_as_current_span("GET /users/{id}") as root,
            ):
                fill(root, self._bridge.tracer)
        (collected,) = kept
        self._scopes.append(scope_of(collected.trace))  # it is sent twice
        return collected

    def send(self, collected: CollectedTrace) -> Envelope:
        """Send it now; the envelope in which it arrives."""
        before = len(self._bridge.ingest.transactions)
        self._bridge.processor._send(collected)  # type: ignore[attr-defined]
        self._bridge.flush()
        self._bridge.ingest.wait_for(lambda it: len(it.transactions) > before)
        envelopes = [each for each in self._bridge.ingest.envelopes if "transaction" in {i.type for i in each.items}]
        assert len(envelopes) == before + 1
        return envelopes[-1]

    def both(self, collected: CollectedTrace) -> tuple[Envelope, Envelope]:
        """Send it by itself, then the long way."""
        own = self.send(collected)
        with self._monkeypatch.context() as patched:
            patched.setattr(fast_transactions, "_is_ours_alone", lambda *_: False)
            return own, self.send(collected)


@pytest.fixture
def ways_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Bridge], Ways]]:
    """Give the two ways of a bridge; what is set on scopes that all share is taken back."""
    scopes = [sentry_sdk.get_global_scope(), sentry_sdk.get_isolation_scope()]
    yield lambda bridge: Ways(bridge, monkeypatch)
    # sentry-sdk cannot take one back, and adds ours once a process.
    global_event_processors[:] = [each for each in global_event_processors if each.__module__ != __name__]
    for scope in scopes:
        scope.clear()
        scope._event_processors.clear()


def comparable(envelope: Envelope) -> Json:
    """Bring an envelope to a form without what is new each time."""
    headers = {name: value for name, value in envelope.headers.items() if name not in ("event_id", "sent_at")}
    items = []
    for item in envelope.items:
        event = dict(item.json)
        event.pop("event_id")
        items.append([item.type, {k: v for k, v in item.headers.items() if k != "length"}, event])
    return {"headers": headers, "items": items}


def nothing(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    pass


def helpers(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    brain_otel.set_user_context("u1", email="a@b", plan="gold", address={"ip": [1, {"deep": {"er": 1}}]})
    brain_otel.set_tag("tenant", "acme")
    brain_otel.set_tag("password", "hunter2")
    brain_otel.set_context(
        "order", {"id": 7, "card": "4111 1111 1111 1111", "items": [{"a": {"b": {"c": {"d": 1}}}}]}
    )
    brain_otel.add_breadcrumb("paid", category="shop", data={"token": "t", "n": 1})
    sentry_sdk.set_extra("more", {"a": [1, 2, {"b": object}]})
    sentry_sdk.set_tag("number", 7)


def attributes(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    root.set_attributes(
        {"long": "x" * 20_000, "text": "é\n\U0001f600", "many": ["a"] * 500, "nothing": "", "n": 2**70}
    )
    tracer.start_span("child", attributes={"flag": True, "half": 0.5, "list": [1, 2], "": "empty"}).end()


def statement(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    tracer.start_span("SELECT", attributes={"db.system.name": "postgresql", "db.query.text": "SELECT 'secret'"}).end()


def events(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    link = Link(CALLER, {"reason": "retry", "n": 1})
    root.add_event("cache.miss", {"key": "a", "sizes": [1, 2]})
    with tracer.start_as_current_span("child", links=[link]) as child:
        child.record_exception(ValueError("no"))
        child.set_status(Status(StatusCode.ERROR, "it broke: password=hunter2"))


def errors(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    brain_otel.capture_exception(ValueError("no"))
    root.set_status(StatusCode.ERROR, "broken")


def surrogates(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    root.set_attribute("half", "a\ud83db")
    brain_otel.set_tag("half", "a\ud83db")


def odd_user(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    sentry_sdk.set_user({"id": object(), "bytes": b"\xff", "when": math.inf, "set": {1}})
    sentry_sdk.set_context("odd", {"bytes": b"\xff\x00", "nan": math.nan, "self": print})


def overriding(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    sentry_sdk.set_context("runtime", {"name": "mine"})
    sentry_sdk.set_context("otel", {"resource": {"mine": "yes"}})
    sentry_sdk.set_tag("own", "scope's")


def infinite(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    root.set_attribute("inf", math.inf)
    tracer.start_span("child", attributes={"nan": math.nan}).end()


CASES: dict[str, Fill] = {
    each.__name__: each
    for each in (nothing, helpers, attributes, statement, events, errors, surrogates, odd_user, overriding)
}
NOT_AS_SENT = ("odd_user", "surrogates", "attributes")
"""Cases of which Relay changes something, whichever way they came."""


@pytest.mark.parametrize("name", CASES)
def test_what_arrives_is_the_same_either_way(connect: Connect, ways_of: Callable[[Bridge], Ways], name: str) -> None:
    """Headers, every value of the event, and that Relay takes it."""
    bridge = connect()
    sentry_sdk.get_global_scope().set_tag("everywhere", "yes")
    sentry_sdk.get_global_scope().set_context("cluster", {"name": "blue"})
    ways = ways_of(bridge)
    short, long = ways.both(ways.collect(CASES[name], LocalTrace(kind="request", tags={"own": "7"})))
    assert ways.took == ["short", "long"]
    assert comparable(short) == comparable(long)
    assert short.items[0].json["tags"]["everywhere"] == "yes"
    if name not in NOT_AS_SENT:
        assert_accepted(short.items[0].json)


def request() -> Request:
    return Request(
        method="POST",
        url="http://shop.test/users/7",
        query_string="a=1&token=secret",
        headers={
            "host": "shop.test",
            "content-type": "application/json",
            "cookie": "a=1; session=secret",
            "authorization": "Bearer secret",
            "x-long": "y" * 9_000,
        },
        client_address="10.0.0.9",
        body=b'{"card": {"number": "4111"}, "deep": {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}, "list": [1, [2]]}',
    )


@pytest.fixture
def privacy() -> Iterator[Callable[..., None]]:
    """Set the policy, until the test ends."""
    yield lambda **options: configure_privacy(Policy(PrivacySettings(), **options))
    configure_privacy(None)


@pytest.mark.parametrize("pii", [False, True])
def test_a_request_is_described_the_same_either_way(
    connect: Connect, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None], pii: bool
) -> None:
    """With its body, cookies and address where they may leave, and without."""
    privacy(send_default_pii=pii)
    ways = ways_of(connect(send_default_pii=pii))
    short, long = ways.both(ways.collect(helpers, LocalTrace(kind="request", describe_request=request)))
    assert ways.took == ["short", "long"]
    assert comparable(short) == comparable(long)
    found = short.items[0].json["request"]
    assert (found.keys() >= {"cookies", "data"}) == pii
    assert "secret" not in str(found)


def test_an_applications_mask_is_asked_either_way(
    connect: Connect, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None]
) -> None:
    """Of what it has put on the request's scope."""
    privacy(mask=lambda name, value: "masked" if name == "plan" or value == "gold" else value)
    ways = ways_of(connect())

    def fill(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
        brain_otel.set_tag("plan", "gold")
        sentry_sdk.set_context("order", {"plan": "gold"})
        sentry_sdk.set_extra("plan", "gold")

    short, long = ways.both(ways.collect(fill))
    assert ways.took == ["short", "long"]
    assert comparable(short) == comparable(long)
    assert "gold" not in str(short.items[0].json)


def test_an_applications_mask_is_asked_of_each_sampling_context(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None]
) -> None:
    """It may answer otherwise each time."""
    answers = count()
    privacy(mask=lambda name, value: f"no {next(answers)}" if name == "environment" else value)
    ways = ways_of(bridge)
    found = [ways.send(ways.collect(nothing)).headers["trace"]["environment"] for _ in range(3)]
    assert ways.took == ["short"] * 3
    assert len(set(found)) == 3


SAMPLING_CONTEXTS: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"trace_id": "a" * 32}, {}),
    ({"sampled": "true", "sample_rand": "0.123456"}, {}),
    ({"environment": "prod", "transaction": 'GET /"a"'}, {}),
    (
        {"trace_id": "a" * 32, "transaction": "password=hunter2", "release": "1"},
        {"transaction": "password=[Filtered]"},
    ),
    ({"trace_id": '"}password=hunter2', "sampled": "true"}, {"trace_id": '"}password=[Filtered]'}),
]


@pytest.mark.parametrize(("items", "masked"), SAMPLING_CONTEXTS)
def test_a_callers_sampling_context_is_written_masked(items: dict[str, str], masked: dict[str, str]) -> None:
    """Whatever it has sent, and each time the same."""
    for _ in range(2):
        assert json.loads(fast_transactions._context_json(items)) == {**items, **masked}


def test_a_context_of_the_applications_own_is_its_own_each_time(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways]
) -> None:
    """Python takes ``1`` and ``True`` for the same."""
    ways = ways_of(bridge)
    for value in (1, True, 1.0):
        fill = on_isolation(partial(sentry_sdk.Scope.set_context, key="otel", value={"n": value}))
        found = ways.send(ways.collect(fill)).items[0].json["contexts"]["otel"]["n"]
        assert (found, type(found)) == (value, type(value))
    assert ways.took == ["short"] * 3


def test_a_trace_that_nobody_announced_is_the_same_either_way(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no scope, and gets nobody's."""
    ways, kept = ways_of(bridge), list[CollectedTrace]()
    with monkeypatch.context() as patched:
        patched.setattr(bridge.processor, "hand_over", kept.append)
        bridge.tracer.start_span("lone", context=Context()).end()
    short, long = ways.both(kept[0])
    assert ways.took == ["short", "long"]
    assert comparable(short) == comparable(long)


def unchanged(event: Any, hint: Any) -> Any:
    return event


def marked(event: Any, hint: Any) -> Any:
    event.setdefault("tags", {})["marked"] = "yes"
    return event


def on_isolation(change: Callable[[sentry_sdk.Scope], Any]) -> Fill:
    return lambda *_: change(sentry_sdk.get_isolation_scope())


OTHERS: dict[str, Fill] = {
    "a processor of a request": on_isolation(lambda scope: scope.add_event_processor(marked)),
    "a processor of all": lambda *_: add_global_event_processor(unchanged),
    "a processor of the global scope": lambda *_: sentry_sdk.get_global_scope().add_event_processor(marked),
    "an attachment": on_isolation(lambda scope: scope.add_attachment(b"a", "a.txt", add_to_transactions=True)),
    "a level": on_isolation(lambda scope: scope.set_level("warning")),
    "a fingerprint": on_isolation(lambda scope: setattr(scope, "fingerprint", ["mine"])),
    "values that are no JSON": infinite,
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_others_have_a_say_in_goes_the_long_way(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways], name: str
) -> None:
    """What they say is in what arrives, and it arrives once."""
    ways = ways_of(bridge)
    envelope = ways.send(ways.collect(OTHERS[name]))
    assert ways.took == ["long"]
    transaction = envelope.items[0].json
    assert len(bridge.ingest.transactions) == 1
    assert {"trace", "otel", "runtime"} <= transaction["contexts"].keys()
    if "processor" in name and name != "a processor of all":
        assert transaction["tags"]["marked"] == "yes"
    assert transaction.get("level") == ("warning" if name == "a level" else None)
    assert transaction.get("fingerprint") == (["mine"] if name == "a fingerprint" else None)
    assert [item.type for item in envelope.items[1:]] == (["attachment"] if name == "an attachment" else [])


@pytest.fixture
def filtered() -> Iterator[None]:
    """Have a filter of the application's own."""
    configure_hooks(Hooks(before_send_transaction=marked))
    yield
    configure_hooks(Hooks())


@pytest.mark.usefixtures("filtered")
def test_an_applications_filter_sees_every_transaction(bridge: Bridge, ways_of: Callable[[Bridge], Ways]) -> None:
    """Which it may change."""
    ways = ways_of(bridge)
    assert ways.send(ways.collect(nothing)).items[0].json["tags"] == {"marked": "yes"}
    assert ways.took == ["long"]


@pytest.mark.parametrize("name", ["max_value_length", "max_request_body_size", "custom_repr", "event_scrubber"])
def test_options_of_the_serializer_hold_either_way(
    connect: Connect, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None], name: str
) -> None:
    """Those that the short way does not know make it the long one."""
    privacy(send_default_pii=True)
    options: dict[str, Any] = {
        "max_value_length": 50,
        "max_request_body_size": "always",
        "custom_repr": lambda value: "mine" if value is object else None,
        "event_scrubber": EventScrubber(denylist=["tenant"]),
    }
    ways = ways_of(connect(options={name: options[name]}, send_default_pii=True))
    short, long = ways.both(ways.collect(helpers, LocalTrace(kind="request", describe_request=request)))
    assert comparable(short) == comparable(long)
    assert ways.took[0] == ("short" if name in ("custom_repr", "max_request_body_size") else "long")


def test_a_profile_goes_along_the_long_way(connect: Connect, ways_of: Callable[[Bridge], Ways]) -> None:
    """In the envelope of its transaction."""
    ways = ways_of(connect(profiles_sample_rate=1.0))

    def work(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            sum(range(1_000))

    envelope = ways.send(ways.collect(work))
    assert ways.took == ["long"]
    assert sorted(item.type for item in envelope.items) == ["profile", "transaction"]


def _has_reports(count: int, ingest: SentryIngest) -> bool:
    return len(ingest.client_reports) >= count


def test_what_was_lost_is_told_after_a_transaction_either_way(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways]
) -> None:
    """In an envelope of its own, as after any other."""
    transport: Any = sentry_sdk.get_client().transport
    ways = ways_of(bridge)
    for told, fill in enumerate((nothing, OTHERS["a level"])):
        collected = ways.collect(fill)
        transport.record_lost_event("test", data_category="error", quantity=3)
        transport._reported = time.monotonic() - 3600.0
        bridge.processor._send(collected)  # type: ignore[attr-defined]
        bridge.ingest.wait_for(partial(_has_reports, told + 1))
        (lost,) = bridge.ingest.client_reports[told]["discarded_events"]
        assert lost == {"reason": "test", "category": "error", "quantity": 3}
    assert ways.took == ["short", "long"]
