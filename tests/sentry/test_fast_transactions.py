"""A transaction arrives the same on the fast path and through sentry-sdk's pipeline; when it takes which."""

import json
import math
import os
import time
import uuid
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
from brain_otel.runtime import guard
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.sentry import dynamic_sampling_context, fast_transactions
from brain_otel.sentry.scopes import scope_of
from brain_otel.sentry.span_threads import SpanThreads, Thread
from brain_otel.sentry.transaction_heads import HeadTemplate
from brain_otel.traces import collector, local_trace
from brain_otel.traces.collector import CollectedTrace
from brain_otel.traces.local_trace import LocalTrace, Name, Request
from tests.sentry.conftest import Bridge, Connect
from tests.support.ingest import Envelope, Json, SentryIngest, parse_envelope
from tests.support.relay import assert_accepted

CALLER = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))

Fill = Callable[[otel_trace.Span, otel_trace.Tracer], None]


FAST, SLOW = "fast path", "pipeline"

pytestmark = pytest.mark.usefixtures("fast_paths")


class Ways:
    """Sends a local trace the way it takes by itself, and once more through sentry-sdk's pipeline."""

    def __init__(self, bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
        self._bridge, self._monkeypatch = bridge, monkeypatch
        self._fast_path = bridge.processor.created_sender().fast_path  # type: ignore[attr-defined]
        self._send = self._fast_path.send
        self.took: list[str] = []
        self._scopes: list[sentry_sdk.Scope | None] = []
        monkeypatch.setattr(self._fast_path, "send", self._record)

    def _record(self, *given: Any) -> bool:
        is_fast: bool = self._send(*given)
        self.took.append(FAST if is_fast else SLOW)
        return is_fast

    def collect(self, fill: Fill, trace: LocalTrace | None = None) -> CollectedTrace:
        """Collect a local trace that `fill` fills, without sending it."""
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
        """Send it now, and return the envelope in which it arrives."""
        before = len(self._bridge.ingest.transactions)
        self._bridge.processor._send(collected)  # type: ignore[attr-defined]
        self._bridge.flush()
        self._bridge.ingest.wait_for(lambda it: len(it.transactions) > before)
        envelopes = [each for each in self._bridge.ingest.envelopes if "transaction" in {i.type for i in each.items}]
        assert len(envelopes) == before + 1
        return envelopes[-1]

    def both(self, collected: CollectedTrace) -> tuple[Envelope, Envelope]:
        """Send it the way it takes by itself, then through the pipeline."""
        own = self.send(collected)
        with self._monkeypatch.context() as patched:
            patched.setattr(fast_transactions, "_is_ours_alone", lambda *_: False)
            return own, self.send(collected)


@pytest.fixture
def ways_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Bridge], Ways]]:
    """Give the two ways of a bridge; restore the scopes that all tests share."""
    scopes = [sentry_sdk.get_global_scope(), sentry_sdk.get_isolation_scope()]
    yield lambda bridge: Ways(bridge, monkeypatch)
    # sentry-sdk cannot remove one, and adds ours once per process.
    global_event_processors[:] = [each for each in global_event_processors if each.__module__ != __name__]
    for scope in scopes:
        scope.clear()
        scope._event_processors.clear()


def comparable(envelope: Envelope) -> Json:
    """Return the envelope without the values that differ each time."""
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
CHANGED_BY_RELAY = ("odd_user", "surrogates", "attributes")
"""Cases of which Relay changes something, either way."""


@pytest.mark.parametrize("name", CASES)
def test_a_transaction_arrives_the_same_either_way(
    connect: Connect, ways_of: Callable[[Bridge], Ways], name: str
) -> None:
    """With the same headers and values, and Relay accepts it."""
    bridge = connect()
    sentry_sdk.get_global_scope().set_tag("everywhere", "yes")
    sentry_sdk.get_global_scope().set_context("cluster", {"name": "blue"})
    ways = ways_of(bridge)
    fast, slow = ways.both(ways.collect(CASES[name], LocalTrace(kind="request", tags={"own": "7"})))
    assert ways.took == [FAST, SLOW]
    assert comparable(fast) == comparable(slow)
    assert fast.items[0].json["tags"]["everywhere"] == "yes"
    if name not in CHANGED_BY_RELAY:
        assert_accepted(fast.items[0].json)


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


def got(**facts: Any) -> LocalTrace:
    given = {"method": "GET", "url": "http://shop/users/7", "query_string": "", "headers": {"a": "b", "c": "d"}}
    asked = Request(**{"client_address": "10.0.0.9", "body": None, **given, **facts})
    return LocalTrace(kind="request", describe_request=lambda: asked)


def changed(**fields: Any) -> LocalTrace:
    trace = got()
    for name, value in fields.items():
        setattr(trace, name, value)
    return trace


def on_root(**attributes: Any) -> Fill:
    return lambda root, _: root.set_attributes({name.replace("__", "."): each for name, each in attributes.items()})


def steps(number: int) -> Fill:
    def fill(_: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
        for _number in range(number):
            tracer.start_span("step").end()

    return fill


def described(name: str) -> LocalTrace:
    return changed(describe=lambda: Name(text=f"GET {name}", source="route"))


def breadcrumb(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    with tracer.start_as_current_span("step"):
        brain_otel.add_breadcrumb("paid")


def three_statements(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    for _ in range(3):
        statement(root, tracer)


def in_another_thread(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
    trace = local_trace.current()
    assert trace is not None
    trace.extras["sentry.threads"] = SpanThreads(Thread(7, "another"))


ALIKE: list[tuple[Fill, Callable[[], LocalTrace]]] = [
    (nothing, got),
    (nothing, partial(LocalTrace, kind="request")),
    (nothing, partial(got, method="POST")),
    (nothing, partial(got, url="http://shop/users/8")),
    (nothing, partial(got, url="http://shop/users/7?token=secret")),
    (nothing, partial(got, query_string="token=secret")),
    (nothing, partial(got, headers={"a": "b", "c": "e"})),
    (nothing, partial(got, headers={"e": "b", "c": "d"})),
    (nothing, partial(got, headers={"c": "d", "a": "b"})),
    (nothing, partial(got, headers={"authorization": "Bearer secret"})),
    (nothing, partial(got, client_address=None)),
    (nothing, partial(got, body=b'{"a": 1}', headers={"content-type": "application/json"})),
    (nothing, partial(got, headers={"content-type": "application/json"})),
    (nothing, partial(got, client_address=1)),
    (nothing, partial(got, client_address=True)),
    (nothing, partial(changed, is_failed=True)),
    (nothing, partial(changed, is_cancelled=True)),
    (nothing, partial(changed, tags={"own": "7"})),
    (nothing, partial(changed, extras={"measurements": {"cart": (7, "item")}})),
    (on_root(a="b"), got),
    (on_root(a="b", c="d"), partial(got, headers={})),
    (
        on_root(**{"/users/{id}": "GET"}),
        partial(got, method="POST", url="u", query_string="q", client_address="c", headers={"h": "x"}),
    ),
    (
        nothing,
        partial(got, url="/users/{id}", query_string="POST", client_address="u", headers={"q": "h", "c": "x"}),
    ),
    (lambda root, _: root.update_name("HTTP"), partial(described, "/users/{id}")),
    (lambda root, _: root.update_name("HTTP"), partial(described, "/{token}/7")),
    (lambda root, _: root.update_name("other"), got),
    (on_root(n=1), got),
    (on_root(n=True), got),
    (on_root(n=1.0), got),
    (on_root(n=["1"]), got),
    (on_root(n="1"), got),
    (on_root(http__route="/users/{id}", http__request__method="GET"), got),
    (on_root(http__response__status_code=404), got),
    (lambda root, _: root.update_name("GET /users/{token}"), partial(got, url="http://shop/users/secret")),
    (lambda root, _: root.set_status(StatusCode.ERROR), got),
    (lambda root, _: root.set_status(StatusCode.ERROR, "it broke"), got),
    (lambda root, _: root.add_event("seen"), got),
    (lambda *_: sentry_sdk.set_tag("plan", "gold"), got),
    (lambda *_: sentry_sdk.set_user({"id": "7", "password": "hunter2"}), got),
    (lambda *_: sentry_sdk.set_context("otel", {"mine": 1}), got),
    (lambda *_: sentry_sdk.set_context("trace", {"trace_id": "a" * 32, "span_id": "b" * 16}), got),
    (lambda *_: sentry_sdk.get_current_scope().set_transaction_name("mine", source="task"), got),
    (steps(1), got),
    (breadcrumb, got),
    (steps(5), got),
    (steps(6), got),
    (three_statements, got),
    (in_another_thread, got),
]
"""Requests of which each differs from another in one thing."""


def test_equal_requests_share_what_only_they_share(
    connect: Connect, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of many that are nearly alike arrives as through the pipeline, also when it comes again."""
    privacy(send_default_pii=True)
    bridge = connect(send_default_pii=True)
    ways, bodies = ways_of(bridge), list[bytes]()
    monkeypatch.setattr(collector, "MAX_SPANS_PER_TRACE", 5)
    transport: Any = sentry_sdk.get_client().transport
    monkeypatch.setattr(transport, "_take", lambda *records: bodies.extend(each.body for each in records))
    for fill, trace in [*ALIKE, *ALIKE, *reversed(ALIKE)]:
        collected = ways.collect(fill, trace())
        bridge.processor._send(collected)  # type: ignore[attr-defined]
        bridge.processor._write()  # type: ignore[attr-defined]
        with monkeypatch.context() as patched:
            patched.setattr(fast_transactions, "_is_ours_alone", lambda *_: False)
            bridge.processor._send(collected)  # type: ignore[attr-defined]
        fast, slow = (json.dumps(comparable(parse_envelope(each, {})), sort_keys=True) for each in bodies[-2:])
        assert fast == slow  # as texts: `1` and `True` are equal
        assert "secret" not in fast
    heads = bridge.processor.created_sender().fast_path._heads  # type: ignore[attr-defined]
    assert len(ALIKE) / 2 < len(heads._known) < len(ALIKE)


PATHS: list[dict[str, Any]] = [
    *({"url__path": f"/users/{number}", "user_agent__original": "curl"} for number in range(3)),
    *({"url__path": f"/users/{number}", "user_agent__original": f"agent {number}"} for number in range(3)),
    {"url__path": "/users/4111 1111 1111 1111", "user_agent__original": "password=hunter2"},
    {"url__path": "/users/{id}", "user_agent__original": "/users/{id}"},
    {"url__path": "\ue000request", "user_agent__original": "\ue000value 0"},
    {"url__path": '/users/"\n\\é', "user_agent__original": "x" * 9_000},
    {"url__path": "", "user_agent__original": ""},
    {"url__path": "/users/7", "user_agent__original": "curl", "url__query": "token=hunter2&a=1"},
    {"url__path": "/users/7", "user_agent__original": "curl", "url__query": "token=hunter2&a=2"},
    {"url__path": "/users/7", "user_agent__original": "curl", "url__query": "b"},
    {"url__path": "/users/7", "user_agent__original": "curl", "http__target": "/users/7"},
    {"url__path": "/users/8", "user_agent__original": "curl", "http__target": "/users/8"},
    {"url__path": "/users/9", "user_agent__original": "curl", "http__target": "/users/8?password=hunter2"},
]
"""Attributes of requests that take one route."""


@pytest.mark.parametrize("route", ["/users/{id}", "/users/{password}", None])
def test_requests_of_one_route_share_what_only_they_share(
    connect: Connect, ways_of: Callable[[Bridge], Ways], monkeypatch: pytest.MonkeyPatch, route: str | None
) -> None:
    """Each arrives as through the pipeline, whatever its path, query and headers; without a route, it is new."""
    bridge = connect()
    ways, bodies, filled = ways_of(bridge), list[bytes](), list[bool]()
    fill = HeadTemplate.fill

    def recorded(*given: Any) -> Any:
        made = fill(*given)
        filled.append(made is not None)
        return made

    monkeypatch.setattr(HeadTemplate, "fill", recorded)
    transport: Any = sentry_sdk.get_client().transport
    monkeypatch.setattr(transport, "_take", lambda *records: bodies.extend(each.body for each in records))
    for number, attributes in enumerate([*PATHS, *PATHS[::-1], *PATHS]):
        named = {**attributes, "http__request__method": "GET", **({} if route is None else {"http__route": route})}
        url = f"http://shop.test{attributes['url__path']}"
        trace = got(url=url, query_string=attributes.get("url__query", ""), headers={"x": str(number)})
        trace.describe = lambda: Name(text=f"GET {route}", source="route")
        collected = ways.collect(on_root(**named), trace)
        collected.root._name = f"GET {route}" if route is not None else "GET"  # type: ignore[union-attr]
        bridge.processor._send(collected)  # type: ignore[attr-defined]
        bridge.processor._write()  # type: ignore[attr-defined]
        with monkeypatch.context() as patched:
            patched.setattr(fast_transactions, "_is_ours_alone", lambda *_: False)
            bridge.processor._send(collected)  # type: ignore[attr-defined]
        fast, slow = (json.dumps(comparable(parse_envelope(each, {}))) for each in bodies[-2:])
        assert json.loads(fast) == json.loads(slow)
        assert "hunter2" not in fast
        assert fast.count(f'"x": "{number}"') == 1
    assert (sum(filled) > len(PATHS)) == (route is not None)


@pytest.mark.parametrize("pii", [False, True])
def test_requests_of_other_clients_are_equal_unless_their_addresses_leave(
    connect: Connect, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None], pii: bool
) -> None:
    """Each connection has another port. The address that is sent is the request's own."""
    privacy(send_default_pii=pii)
    bridge = connect(send_default_pii=pii)
    ways = ways_of(bridge)
    for number in range(1, 6):
        address = f"10.0.0.{number}"
        fill = on_root(client__address=address, client__port=50_000 + number)
        fast, slow = ways.both(ways.collect(fill, got(client_address=address)))
        assert comparable(fast) == comparable(slow)
        assert (address in json.dumps(fast.items[0].json)) == pii
    heads = bridge.processor.created_sender().fast_path._heads  # type: ignore[attr-defined]
    assert len(heads._seen) == (5 if pii else 1)


@pytest.mark.parametrize("pii", [False, True])
def test_a_request_is_described_the_same_either_way(
    connect: Connect, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None], pii: bool
) -> None:
    """With `send_default_pii` it has body, cookies and address."""
    privacy(send_default_pii=pii)
    ways = ways_of(connect(send_default_pii=pii))
    fast, slow = ways.both(ways.collect(helpers, LocalTrace(kind="request", describe_request=request)))
    assert ways.took == [FAST, SLOW]
    assert comparable(fast) == comparable(slow)
    found = fast.items[0].json["request"]
    assert (found.keys() >= {"cookies", "data"}) == pii
    assert "secret" not in str(found)


def test_the_applications_mask_is_called_either_way(
    connect: Connect, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None]
) -> None:
    """For the data that it put on the request's scope."""
    privacy(mask=lambda name, value: "masked" if name == "plan" or value == "gold" else value)
    ways = ways_of(connect())

    def fill(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
        brain_otel.set_tag("plan", "gold")
        sentry_sdk.set_context("order", {"plan": "gold"})
        sentry_sdk.set_extra("plan", "gold")

    fast, slow = ways.both(ways.collect(fill))
    assert ways.took == [FAST, SLOW]
    assert comparable(fast) == comparable(slow)
    assert "gold" not in str(fast.items[0].json)


def test_the_applications_mask_is_called_for_each_sampling_context(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None]
) -> None:
    """It may answer differently each time."""
    answers = count()
    privacy(mask=lambda name, value: f"no {next(answers)}" if name == "environment" else value)
    ways = ways_of(bridge)
    found = [ways.send(ways.collect(nothing)).headers["trace"]["environment"] for _ in range(3)]
    assert ways.took == [FAST] * 3
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
def test_the_callers_sampling_context_is_masked(items: dict[str, str], masked: dict[str, str]) -> None:
    """Whatever the caller sent, each time the same."""
    for _ in range(2):
        assert json.loads(dynamic_sampling_context.context_json(items)) == {**items, **masked}


def test_a_context_of_the_application_keeps_its_types(bridge: Bridge, ways_of: Callable[[Bridge], Ways]) -> None:
    """`1` and `True` are equal in Python, and must not share their JSON."""
    ways = ways_of(bridge)
    for value in (1, True, 1.0):
        fill = on_isolation(partial(sentry_sdk.Scope.set_context, key="otel", value={"n": value}))
        found = ways.send(ways.collect(fill)).items[0].json["contexts"]["otel"]["n"]
        assert (found, type(found)) == (value, type(value))
    assert ways.took == [FAST] * 3


def test_an_implicit_trace_arrives_the_same_either_way(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no scope, and gets no other's."""
    ways, kept = ways_of(bridge), list[CollectedTrace]()
    with monkeypatch.context() as patched:
        patched.setattr(bridge.processor, "hand_over", kept.append)
        bridge.tracer.start_span("lone", context=Context()).end()
    fast, slow = ways.both(kept[0])
    assert ways.took == [FAST, SLOW]
    assert comparable(fast) == comparable(slow)


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
def test_a_transaction_that_others_may_change_takes_the_pipeline(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways], name: str
) -> None:
    """It arrives once, with their changes."""
    ways = ways_of(bridge)
    envelope = ways.send(ways.collect(OTHERS[name]))
    assert ways.took == [SLOW]
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
    """Set a filter of the application."""
    configure_hooks(Hooks(before_send_transaction=marked))
    yield
    configure_hooks(Hooks())


@pytest.mark.usefixtures("filtered")
def test_the_applications_filter_sees_every_transaction(bridge: Bridge, ways_of: Callable[[Bridge], Ways]) -> None:
    """It may change them."""
    ways = ways_of(bridge)
    assert ways.send(ways.collect(nothing)).items[0].json["tags"] == {"marked": "yes"}
    assert ways.took == [SLOW]


@pytest.mark.parametrize("name", ["max_value_length", "max_request_body_size", "custom_repr", "event_scrubber"])
def test_options_of_the_serializer_hold_either_way(
    connect: Connect, ways_of: Callable[[Bridge], Ways], privacy: Callable[..., None], name: str
) -> None:
    """A transaction takes the pipeline if the fast path does not support the option."""
    privacy(send_default_pii=True)
    options: dict[str, Any] = {
        "max_value_length": 50,
        "max_request_body_size": "always",
        "custom_repr": lambda value: "mine" if value is object else None,
        "event_scrubber": EventScrubber(denylist=["tenant"]),
    }
    ways = ways_of(connect(options={name: options[name]}, send_default_pii=True))
    fast, slow = ways.both(ways.collect(helpers, LocalTrace(kind="request", describe_request=request)))
    assert comparable(fast) == comparable(slow)
    assert ways.took[0] == (FAST if name in ("custom_repr", "max_request_body_size") else SLOW)


def test_a_transaction_with_a_profile_takes_the_pipeline(connect: Connect, ways_of: Callable[[Bridge], Ways]) -> None:
    """The profile arrives in the envelope of its transaction."""
    ways = ways_of(connect(profiles_sample_rate=1.0))

    trace = LocalTrace(kind="request")

    def work(root: otel_trace.Span, tracer: otel_trace.Tracer) -> None:
        deadline = time.monotonic() + 5
        while not trace.extras["sentry.profile"].unique_samples > 3 and time.monotonic() < deadline:
            sum(range(1_000))

    envelope = ways.send(ways.collect(work, trace))
    assert ways.took == [SLOW]
    assert sorted(item.type for item in envelope.items) == ["profile", "transaction"]


def _has_reports(count: int, ingest: SentryIngest) -> bool:
    return len(ingest.client_reports) >= count


def test_discarded_events_are_reported_after_a_transaction_either_way(
    bridge: Bridge, ways_of: Callable[[Bridge], Ways]
) -> None:
    """In an envelope of their own."""
    transport: Any = sentry_sdk.get_client().transport
    ways = ways_of(bridge)
    for reported, fill in enumerate((nothing, OTHERS["a level"])):
        collected = ways.collect(fill)
        transport.record_lost_event("test", data_category="error", quantity=3)
        transport._reported = time.monotonic() - 3600.0
        bridge.processor._send(collected)  # type: ignore[attr-defined]
        bridge.ingest.wait_for(partial(_has_reports, reported + 1))
        (lost,) = bridge.ingest.client_reports[reported]["discarded_events"]
        assert lost == {"reason": "test", "category": "error", "quantity": 3}
    assert ways.took == [FAST, SLOW]


def test_without_fast_paths_there_is_none(connect: Connect) -> None:
    """The pipeline sends every transaction."""
    configure_fast_paths(False)
    bridge = connect()
    assert bridge.processor.created_sender().fast_path is None  # type: ignore[attr-defined]
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("GET /"):
        pass
    assert bridge.transaction()["transaction"] == "GET /"


@pytest.mark.parametrize("fault", ["a missing field", "a failing mask", "a failing serializer"])
def test_every_failure_falls_back_to_the_pipeline(
    connect: Connect,
    ways_of: Callable[[Bridge], Ways],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    """Every transaction arrives, masked, and one line says why."""
    bridge = connect()
    guard.reraise_failures(False)
    guard.forget_logged_places()
    ways = ways_of(bridge)
    expected = comparable(ways.send(ways.collect(helpers)))

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(fault)

    targets: dict[str, tuple[str, Any]] = {
        "a missing field": ("_is_plain", lambda scope: scope._renamed_upstream),
        "a failing mask": ("mask", fail),
        "a failing serializer": ("serialize", fail),
    }
    monkeypatch.setattr(fast_transactions, *targets[fault])
    for _ in range(3):
        found = comparable(ways.send(ways.collect(helpers)))
        assert "hunter2" not in str(found)
        assert found["items"][0][2]["tags"] == expected["items"][0][2]["tags"]
    assert ways.took == [FAST, SLOW, SLOW, SLOW]
    lines = [record.message.partition(";")[0] for record in caplog.records if record.levelname == "ERROR"]
    assert lines == ["brain_otel failed while sending a transaction on the fast path"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_event_ids_are_uuids_and_differ_in_a_forked_child() -> None:
    """Sentry would take a second event with a known id for the first."""
    ids, others = fast_transactions._EventIds(), fast_transactions._EventIds()
    made = [each.new() for each in (ids, others) for _ in range(1_000)]
    assert len(set(made)) == 2_000
    parsed = [uuid.UUID(each) for each in made]
    assert {(each.version, each.variant) for each in parsed} == {(4, uuid.RFC_4122)}
    assert [each.hex for each in parsed] == made
    reading, writing = os.pipe()
    if os.fork() == 0:  # no assertion may leave this branch
        try:
            os.write(writing, ids.new().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        of_child = answer.read()
    os.wait()
    assert len(of_child) == 32
    assert of_child != ids.new()
