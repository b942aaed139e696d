"""A payload from a template is the one that the span itself would have made."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

from brain_otel.privacy import Policy, PrivacySettings, configure_privacy
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.sentry import span_cache
from brain_otel.sentry.span_cache import SpanCache, SpanTemplate, varying_place
from brain_otel.sentry.spans import SpanFields
from brain_otel.traces.operations import CACHE
from brain_otel.traces.scope import OP_ATTRIBUTE

pytestmark = pytest.mark.usefixtures("fast_paths")

SQL = "opentelemetry.instrumentation.sqlalchemy"
REDIS = "opentelemetry.instrumentation.redis"
HTTPX = "opentelemetry.instrumentation.httpx"

KINDS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "redis": (REDIS, "GET", "db.query.text", {"db.system.name": "redis", "server.port": 6379, "db.namespace": "0"}),
    "old redis": (REDIS, "GET", "db.statement", {"db.system": "redis", "net.peer.name": "cache"}),
    "sql": (SQL, "SELECT shop", "db.query.text", {"db.system.name": "postgresql", "db.operation.name": "SELECT"}),
    "named by sql": (SQL, "SELECT 'x' -- y", "db.query.text", {"db.system.name": "postgresql"}),
    "no system": (SQL, "/* a */ SELECT", "db.statement", {}),
    "documents": (SQL, "find", "db.query.text", {"db.system.name": "mongodb"}),
    "call": (HTTPX, "GET", "url.full", {"http.request.method": "GET", "server.address": "shop.test"}),
    "old call": (HTTPX, "GET", "http.url", {"http.method": "GET", "http.status_code": 404}),
    "call of a route": (HTTPX, "GET", "url.full", {"http.request.method": "GET", "http.route": "/a/{password}"}),
    "named by path": (HTTPX, "GET /a/hunter2", "url.full", {"http.method": "GET", "http.route": "/a/{password}"}),
    "cache": (REDIS, "get", "db.query.text", {CACHE + "operation": "get", CACHE + "key": "a"}),
    "of a model": (HTTPX, "chat", "url.full", {"gen_ai.operation.name": "chat", "gen_ai.system": "x"}),
    "named op": (SQL, "own", "db.query.text", {OP_ATTRIBUTE: "db.own", "db.system.name": "sqlite"}),
    "of the application": ("shop", "SELECT", "db.query.text", {"code.file.path": "/a/b.py", "code.line.number": 7}),
    "socket": (HTTPX, "ws", "url.full", {"url.scheme": "wss", "http.route": "/{id}"}),
}
"""Library, name, the attribute that varies and the others of each kind of span."""

VALUES = (
    *("GET a:1", "GET a:2", "SET a:1 value", "", " ", "GET", "get", "a", "0", "redis", "AUTH hunter2", "x" * 9_000),
    *("SELECT 1", "SELECT 'secret' FROM t WHERE a = 1", "INSERT INTO t VALUES ('p\u00e4ss', 2)", "-- only a comment"),
    *(
        "http://shop.test/a/1",
        "http://user:pass@shop.test/a/hunter2?token=secret&b=1#c",
        "http://[",
        "//",
        "ok",
        "\x00",
    ),
    *("https://shop.test/a/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", '{"find": "a", "password": "b"}'),
    *(
        "\ue000description",
        "\ue000value",
        'quotes " and \\ and \n',
        "caf\u00e9 \U0001f600",
        "half \ud83d",
        "/a/hunter2",
    ),
    *("password=hunter2", "4111 1111 1111 1111", "SELECT shop", "GET /a/b", "postgresql", "db.redis"),
)


@pytest.fixture(autouse=True)
def _policy() -> Iterator[None]:
    configure_privacy(Policy(PrivacySettings()))
    yield
    configure_privacy(None)


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each span that asked a template got its payload from there."""
    answers: list[bool] = []
    fill = SpanTemplate.fill

    def recorded(template: SpanTemplate, by: Policy, value: Any) -> SpanFields | None:
        made = fill(template, by, value)
        answers.append(made is not None)
        return made

    monkeypatch.setattr(SpanTemplate, "fill", recorded)
    return answers


_provider = TracerProvider(shutdown_on_exit=False)


def span(scope: str, name: str, attributes: dict[str, Any], kind: SpanKind = SpanKind.CLIENT) -> ReadableSpan:
    made: Any = _provider.get_tracer(scope).start_span(name, kind=kind, attributes=attributes)
    made.set_status(Status(StatusCode.ERROR))
    made.end()
    ended: ReadableSpan = made._readable_span()
    return ended


def fields_of(cache: SpanCache, ended: ReadableSpan) -> dict[str, Any]:
    return comparable(cache.create_payload(ended).fields)


def comparable(fields: SpanFields) -> dict[str, Any]:
    found = {name: getattr(fields, name) for name in SpanFields.__slots__ if name != "came_again"}
    return {**found, "names": (list(found["values"]), list(found["data"]))}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("first", [0, 3, 13])
def test_a_span_from_a_template_is_the_same(name: str, first: int, filled: list[bool]) -> None:
    """Field by field and in the same order, whichever values were there first."""
    scope, title, key, others = KINDS[name]
    cache = SpanCache()
    for value in (*VALUES[first:], *VALUES[:first]):
        ended = span(scope, title, {**others, key: value, "last": 1})
        assert fields_of(cache, ended) == comparable(SpanFields(MaskedSpan(ended)))
    assert filled.count(True) > len(VALUES) / 2


def test_no_secret_of_another_span_is_in_a_template(filled: list[bool]) -> None:
    cache = SpanCache()
    for number in range(4):
        made = span(REDIS, "SET", {"db.system.name": "redis", "db.query.text": f"SET key:{number} secret-{number}"})
        fields = cache.create_payload(made).fields
        assert f"key:{number}" in str(fields.json)
        assert str(fields.json).count("key:") == 2
        assert "secret" not in str(fields.json)
    assert filled == [True, True]


def test_a_span_with_two_statements_or_none_has_no_template(filled: list[bool]) -> None:
    """They may differ in both."""
    cache = SpanCache()
    for number in range(4):
        both = span(SQL, "SELECT", {"db.statement": f"SELECT a{number}", "db.query.text": f"SELECT b{number}"})
        for ended in (both, span(SQL, "SELECT", {"n": number})):
            assert fields_of(cache, ended) == comparable(SpanFields(MaskedSpan(ended)))
    assert filled == []
    assert varying_place(("db.query.text", None, 1, 0, "n", 1)) is None


def test_a_new_policy_starts_new_templates(filled: list[bool]) -> None:
    cache = SpanCache()

    def send(number: int) -> str:
        ended = span(REDIS, "GET", {"db.system.name": "redis", "db.query.text": f"GET key:{number}", "plan": "gold"})
        return str(cache.create_payload(ended).fields.json)

    assert all("gold" in send(number) for number in range(3))
    assert filled == [True]
    configure_privacy(Policy(PrivacySettings(sensitive_names=("plan",))))
    assert not any("gold" in send(number) for number in range(3, 6))
    assert filled == [True, True]


@pytest.mark.parametrize("way", ["no fast paths", "the application's mask"])
def test_there_are_templates_only_where_they_are_allowed(filled: list[bool], way: str) -> None:
    """The application's own mask may vary in its answers."""
    if way == "no fast paths":
        configure_fast_paths(False)
    else:
        configure_privacy(Policy(PrivacySettings(), mask=lambda _name, value: value))
    cache = SpanCache()
    for number in range(4):
        cache.create_payload(span(REDIS, "GET", {"db.query.text": f"GET key:{number}"}))
    assert filled == []


def calls_of(work: Callable[[], object]) -> int:
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_a_template_saves_a_third_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """With those of the mask, which looks at a new text either way."""
    calls: dict[bool, int] = {}
    for is_fast in (True, False):
        if not is_fast:
            monkeypatch.setattr(span_cache, "varying_place", lambda _: None)
        cache, counts = SpanCache(), []
        for number in range(20):
            ended = span(REDIS, "GET", {"db.system.name": "redis", "db.query.text": f"GET {is_fast}:{number}"})
            counts.append(calls_of(partial(cache.create_payload, ended)))
        calls[is_fast] = min(counts[-5:])  # a garbage collection calls the finalizers of other tests
    assert calls[True] < calls[False] * 0.67, calls
