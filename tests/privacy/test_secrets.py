"""Tests with planted secrets, which are masked in every kind of value, and with look-alikes, which stay."""

import json
import time
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from brain_otel.privacy import FILTERED, Policy, PrivacySettings, configure_privacy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.settings import Rules
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.privacy.sql import sql_without_literals
from brain_otel.privacy.statements import redis_without_values
from brain_otel.sentry.before_send import masked_event
from brain_otel.sentry.request import request_interface
from brain_otel.traces.local_trace import Request
from tests.support.secrets import LOOK_ALIKES, Planted, planted
from tests.support.tiers import quick_first, searched

POLICY = Policy()
PLANTED = planted(seed=7)
KINDS = sorted({each.kind for each in PLANTED})


def leaks(found: object, secret: Planted) -> bool:
    """Whether the secret is in what is left, in any form."""
    text = found if isinstance(found, str) else json.dumps(found, default=repr)
    return any(form in text for form in secret.encodings())


def of(kind: str) -> list[Planted]:
    return [each for each in PLANTED if each.kind == kind]


def test_the_corpora_are_large_enough() -> None:
    assert len(KINDS) >= 20
    assert len(PLANTED) >= 150
    assert len(set(LOOK_ALIKES)) >= 150
    assert all(leaks(each.text, each) for each in PLANTED)


IN_LONG = [(kind, number) for number in (2, 8) for kind in KINDS]
"""Kinds of secrets, and how many of each are also put into long texts."""


@pytest.mark.parametrize(("kind", "in_long"), quick_first(IN_LONG, len(KINDS)))
def test_a_text_loses_its_secret(kind: str, in_long: int) -> None:
    """Alone, within a longer text, and at the ends of a text that is cut."""
    filler = "x\n" * 20_000
    for number, each in enumerate(of(kind)):
        long = (filler + each.text, f"{each.text}\n{filler}") if number < in_long else ()
        for text in (each.text, f"first line\n{each.text}", *long):
            masked = POLICY.text(text)
            assert not leaks(masked, each), each
            assert FILTERED in masked


@pytest.mark.parametrize("kind", KINDS)
def test_an_attribute_loses_its_secret(kind: str) -> None:
    """Under any key, also in lists."""
    for each in of(kind):
        for key in ("note", "exception.message", "exception.stacktrace", "url.query", "user_agent.original"):
            found = masked_attributes(POLICY, {key: each.text, "list": [each.text, "kept"]})
            assert not leaks(found, each), each
            assert found["list"][1] == "kept"


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_loses_its_secret(kind: str) -> None:
    """In every interface of Sentry's events."""
    for each in of(kind):
        event: dict[str, Any] = {
            "event_id": "a" * 32,
            "transaction": each.text,
            "message": each.text,
            "logentry": {"message": "%s", "formatted": each.text, "params": [each.text]},
            "tags": {"note": each.text},
            "extra": {"list": [{"note": each.text}]},
            "contexts": {"work": {"note": each.text}, "trace": {"dynamic_sampling_context": {"a": each.text}}},
            "breadcrumbs": {"values": [{"message": each.text, "data": {"note": each.text}}]},
            "request": {"url": "http://shop.test/", "headers": {"x-note": each.text}, "data": {"note": each.text}},
            "exception": {
                "values": [
                    {
                        "type": "ValueError",
                        "value": each.text,
                        "stacktrace": {"frames": [{"module": "app", "vars": {"note": repr(each.text)}}]},
                    }
                ]
            },
            "fingerprint": [each.text],
        }
        before = json.dumps(event)
        assert not leaks(masked_event(event, {}), each), each
        assert json.dumps(event) == before


def bodies_with(text: str) -> list[tuple[str, bytes]]:
    """Bodies of every kind that is sent, with a text in them."""
    part = b'--b\r\ncontent-disposition: form-data; name="note"\r\n\r\n' + text.encode() + b"\r\n--b--"
    return [
        ("application/json", json.dumps({"notes": [{"note": text}], "author": "Ada"}).encode()),
        ("application/json; charset=utf-8", json.dumps([text]).encode()),
        ("application/x-www-form-urlencoded", urlencode({"note": text, "author": "Ada"}).encode()),
        ("multipart/form-data; boundary=b", part),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_loses_its_secret(kind: str) -> None:
    """In a body, a cookie and a query, where personal data may leave."""
    configure_privacy(Policy(send_default_pii=True))
    try:
        for each in of(kind):
            for content_type, body in bodies_with(each.text):
                request = Request(
                    method="POST",
                    url="http://shop.test/orders",
                    query_string=urlencode({"note": each.text}),
                    headers={"content-type": content_type, "cookie": f"note={quote(each.text)}; theme=dark"},
                    client_address="10.0.0.1",
                    body=body,
                )
                shown = masked_event({"request": request_interface(request)}, {})["request"]
                assert "data" in shown
                assert shown["cookies"]["theme"] == "dark"
                assert not leaks(shown, each), (content_type, shown)
    finally:
        configure_privacy(None)


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_a_look_alike_of_a_secret_stays(text: str) -> None:
    assert POLICY.text(text) == text
    assert masked_attributes(POLICY, {"note": text})["note"] == text


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("SELECT * FROM t WHERE a = 'x''y' AND b = 12.5e3", "SELECT * FROM t WHERE a = ? AND b = ?"),
        ("SELECT t1.c2 FROM t1 WHERE c = $1 AND d = :name AND e = %(p)s", None),
        ("INSERT INTO t VALUES (E'a\\'b', $$x$$, $tag$ x $tag$, -5, 0xFF)", "INSERT INTO t VALUES (?, ?, ?, -?, ?)"),
        ("SELECT 1 /* password */ FROM t -- secret\nWHERE a", "SELECT ?  FROM t \nWHERE a"),
        ("SET PASSWORD = 'cut of", "SET PASSWORD = ?"),
        ('SELECT "Name" FROM "T1"', None),
    ],
)
def test_sql_loses_its_literals(given: str, left: str | None) -> None:
    """Bound parameters and identifiers stay."""
    assert sql_without_literals(given) == (left or given)


def test_double_quotes_enclose_a_literal_in_mysql() -> None:
    assert sql_without_literals('SELECT "x" FROM `t1`', "mysql") == "SELECT ? FROM `t1`"


def test_a_database_error_loses_its_values() -> None:
    """In messages of SQLAlchemy and PostgreSQL."""
    text = (
        "(psycopg.errors.UniqueViolation) duplicate key\nDETAIL:  Key (email)=(joe@b.test) already exists.\n"
        "[SQL: INSERT INTO t (a, b) VALUES ('joe', %(b)s)]\n[parameters: {'b': 'joe'}]\n"
        "(Background on this error at: https://sqlalche.me/e/20/gkpj)"
    )
    found = POLICY.text(text)
    assert "joe" not in found
    assert "INSERT INTO t (a, b) VALUES (?, %(b)s)]" in found
    assert found.endswith("(Background on this error at: https://sqlalche.me/e/20/gkpj)")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("SET", "k", "v", "EX", 5), "SET k ? ? ?"),
        ((b"get", b"k"), "GET k"),
        (("MGET", "a", "b"), "MGET a b"),
        (("MSET", "a", 1, "b", 2), "MSET a ? b ?"),
        (("HSET", "session:8f2a", "f", "v"), f"HSET session:{FILTERED} ? ?"),
        (("AUTH", "joe", "x"), "AUTH ? ?"),
        (("HELLO", 3, "AUTH", "joe", "x"), "HELLO ? ? ? ?"),
        (("CONFIG SET", "requirepass", "x"), "CONFIG SET ? ?"),
        (("EVAL", "return 'x'", 1, "k"), "EVAL ? ? ?"),
        (("FT.SEARCH", "idx", "@name:joe"), "FT.SEARCH idx ?"),
        (("SET k v",), "SET k ?"),
        ((), ""),
    ],
)
def test_a_redis_command_shows_only_its_key(command: tuple[Any, ...], shown: str) -> None:
    assert redis_without_values(command, POLICY.text) == shown


def test_a_parameter_of_a_route_is_masked_by_its_name() -> None:
    attributes = {
        "http.route": "/reset/{token}/of/{user_id}",
        "url.path": "/v1/reset/abc/of/7",
        "url.full": "http://shop.test/v1/reset/abc/of/7?page=2",
    }
    found = masked_attributes(POLICY, attributes)
    assert found["url.path"] == f"/v1/reset/{FILTERED}/of/7"
    assert found["url.full"] == f"http://shop.test/v1/reset/{FILTERED}/of/7?page=2"


def test_frames_of_clients_and_servers_show_no_variables() -> None:
    """Frames of the application do."""
    frames = [{"module": f"{name}.core", "vars": {"a": "1"}} for name in ("sqlalchemy", "redis", "starlette", "app")]
    event = {"exception": {"values": [{"type": "E", "stacktrace": {"frames": frames}}]}}
    (failure,) = masked_event(event, {})["exception"]["values"]
    assert ["vars" in frame for frame in failure["stacktrace"]["frames"]] == [False, False, False, True]


def test_log_parameters_that_are_masked_in_the_text_are_masked() -> None:
    entry = {"message": "user %s password=%s", "formatted": "user joe password=hunter2", "params": ["joe", "hunter2"]}
    assert masked_event({"logentry": entry}, {})["logentry"]["params"] == ["joe", FILTERED]


def test_names_can_be_added_and_declared_safe() -> None:
    policy = Policy(PrivacySettings(sensitive_names=("patientNumber",), safe_names=("session",)))
    found = policy.value({"patient_number": 7, "the.patient-number": 7, "session": "s", "token": "t"})
    assert found == {"patient_number": FILTERED, "the.patient-number": FILTERED, "session": "s", "token": FILTERED}
    assert policy.text("patient_number=7abc session=abc1") == f"patient_number={FILTERED} session=abc1"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("authorization", "Bearer abcdef1234"),
        ("jwt", "eyJhbGciOiJI.eyJhbGciOiJI.abc"),
        ("private_keys", "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"),
        ("cards", "4111 1111 1111 1111"),
        ("url_credentials", "redis://:abc@cache/0"),
        ("api_keys", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("assignments", "password=abc"),
        ("sql_literals", "[SQL: SELECT 'x']\n[parameters: (1,)]"),
    ],
)
def test_one_rule_can_be_switched_off(rule: str, text: str) -> None:
    assert POLICY.text(text) != text
    assert Policy(PrivacySettings(rules=Rules(**{rule: False}))).text(text) == text


def test_the_applications_mask_runs_last_and_a_failing_one_masks() -> None:
    def mask(name: str, value: Any) -> Any:
        if name == "odd":
            raise ValueError("no")
        return value.replace("ACME", "***") if isinstance(value, str) else value

    policy = Policy(mask=mask)
    found = masked_attributes(policy, {"a": "ACME password=x1", "odd": "x", "odd.not": 7, "n": 7})
    assert found == {"a": f"*** password={FILTERED}", "odd": FILTERED, "odd.not": 7, "n": 7}
    assert policy.value({"odd": [1], "a": ["ACME"]}) == {"odd": [FILTERED], "a": ["***"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_percent_encoded_secret_is_found(kind: str) -> None:
    """In a header such as baggage, in a query and in a path."""
    for each in of(kind):
        for text in (f"a=1,note={quote(each.text)}", f"/reset/{quote(each.text, safe='')}/x"):
            assert not leaks(POLICY.text(text), each), each
            assert not leaks(POLICY.headers({"baggage": text}), each)


HOSTILE = [
    "%41" * 11_000,
    "password=" * 4_000,
    "password=(" * 4_000,
    "[SQL: " * 6_000,
    "[SQL: [parameters: " * 2_000,
    "Key (a)=(" * 4_000,
    "Key (" * 7_000,
    "input_value=" * 3_000,
    "https://a:" * 3_000,
    "4111 " * 7_000,
    "-----BEGIN PRIVATE KEY" * 1_500,
    '\\"token\\":\\"' * 3_000,
    "a.b-" * 9_000,
    "'" * 33_000,
]


def test_hostile_texts_take_linear_time() -> None:
    """Compared with a plain text that every rule looks at, in the same run."""

    def seconds(text: str) -> float:
        started = time.thread_time()
        POLICY._mask_text(text)
        return time.thread_time() - started

    plain = min(seconds("name=value; " * 2_700) for _ in range(3))
    assert max(min(seconds(text) for _ in range(3)) for text in HOSTILE) < 30 * plain


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class OddDict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.builds(Odd)
    | st.builds(OddDict),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary() | st.integers(), inner),
    max_leaves=20,
)


@searched(60, 300, value=VALUES)
def test_no_value_makes_the_mask_raise(value: Any) -> None:
    POLICY.value(value)
    masked_attributes(POLICY, {"a": value, "url.query": value, "db.statement": value, "exception.stacktrace": value})


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_masking_a_text_twice_equals_masking_it_once(text: str) -> None:
    once = POLICY.text(text)
    assert POLICY.text(once) == once


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLANTED), st.text(max_size=40), st.text(max_size=40))
def test_a_secret_is_masked_in_any_surrounding_text(secret: Planted, before: str, after: str) -> None:
    text = f"{before}\n{secret.text}\n{after}"
    assert not leaks(POLICY.text(text), secret)


HTTP: dict[str, Any] = {
    "http.request.method": "GET",
    "url.scheme": "http",
    "url.path": "/missions/7",
    "http.route": "/missions/{mission_id}",
    "server.address": "shop.test",
    "server.port": 8000,
    "client.address": "10.0.0.1",
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    "network.protocol.version": "1.1",
    "http.response.status_code": 200,
    "user.id": "u1",
}


def test_masking_a_span_costs_a_fraction_of_recording_it() -> None:
    """The best of many alternating rounds; docs/privacy.md has the figures."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    span = tracer.start_span("GET /missions/{mission_id}", attributes=HTTP)
    span.end()
    assert isinstance(span, ReadableSpan)
    records: list[float] = []
    masks: list[float] = []
    for _ in range(40):
        began = time.thread_time()
        for _ in range(250):
            tracer.start_span("GET /missions/{mission_id}", attributes=HTTP).end()
        records.append(time.thread_time() - began)
        began = time.thread_time()
        for _ in range(250):
            assert MaskedSpan(span).attributes
        masks.append(time.thread_time() - began)
    recorded, masked = min(records) / 250 * 1e6, min(masks) / 250 * 1e6
    print(f"recording {recorded:.1f} us, masking {masked:.1f} us, ratio {masked / recorded:.2f}")
    assert masked < 0.6 * recorded
