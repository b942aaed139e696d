"""Tests of the policy: which values are private, how they are masked, and that none leaves the process."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy, is_sensitive
from brain_otel.privacy import attributes as by_key
from brain_otel.privacy.attributes import route_secrets
from brain_otel.runtime.quiet import MAX_CHARACTERS, one_budget
from brain_otel.runtime.text import MAX_TEXT
from tests.destinations.service import environment_of, write_config
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.otlp_data import read_lines
from tests.support.process import run_python
from tests.support.tiers import quick_first
from tests.support.yardstick import milliseconds

POLICY = Policy()
masked_query, masked_url, masked_value = POLICY.query, POLICY.url, POLICY.value


def masked_headers(headers: dict[str, str], *, send_default_pii: bool) -> dict[str, str]:
    return Policy(send_default_pii=send_default_pii).headers(headers)


def masked_attributes(attributes: dict[str, Any], *, send_default_pii: bool) -> dict[str, Any]:
    return by_key.masked_attributes(Policy(send_default_pii=send_default_pii), attributes)


SECRETS = [
    "password",
    "PASSWORD",
    "user_password",
    "userPassword",
    "passwd",
    "pwd",
    "db.pwd",
    "passphrase",
    "secret",
    "client_secret",
    "clientSecret",
    "SECRET_KEY",
    "token",
    "access_token",
    "refreshToken",
    "X-Auth-Token",
    "x-api-key",
    "api_key",
    "apiKey",
    "apikey",
    "API-KEY",
    "Authorization",
    "Proxy-Authorization",
    "auth",
    "Cookie",
    "Set-Cookie",
    "X-CSRF-Token",
    "csrftoken",
    "csrf_token",
    "xsrf",
    "session",
    "session_id",
    "sessionId",
    "PHPSESSID_sid",
    "private_key",
    "private-key",
    "access_key",
    "awsAccessKey",
    "credentials",
    "credential",
    "signature",
    "X-Amz-Signature",
    "sig",
    "otp",
    "pin",
    "user.pin",
    "ssn",
    "card_number",
    "cardNumber",
    "cvv",
    "jwt",
    "token1",
    "passwords",
    "secrets",
    "access_tokens",
    "refreshTokens",
    "user.cookies",
    "api_keys",
    "accessKeys",
    "x.access_key",
    "privatekey",
    "dsn",
    "SENTRY_DSN",
    "connection_string",
    "db.connectionString",
]

LOOK_ALIKES = [
    "author",
    "authority",
    "authored_by",
    "secretary",
    "tokenizer",
    "tokenize",
    "passport_control",
    "passenger",
    "pinned",
    "shipping",
    "pineapple",
    "opinion",
    "design",
    "signal",
    "signed_at",
    "signatures_required",
    "sidebar",
    "side",
    "obsession",
    "cookies_eaten",
    "keyboard",
    "key",
    "monkey",
    "apikeys_count",
    "passwords_changed",
    "access_tokens_used",
    "connection",
    "connection_strings_read",
    "cardigan",
    "card",
    "number",
    "page",
    "user_id",
    "Content-Type",
    "Accept-Language",
    "",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_secrets_name_is_known(name: str) -> None:
    """In snake, kebab, camel or dotted case, alone or as a word of the name."""
    assert is_sensitive(name)


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_a_look_alike_of_a_secrets_name_stays(name: str) -> None:
    """A name that only contains the letters of a sensitive one is not sensitive."""
    assert not is_sensitive(name)


@given(st.text())
def test_any_name_can_be_checked(name: str) -> None:
    """No name makes the check raise."""
    assert is_sensitive(name) in (True, False)


def test_secret_headers_are_always_masked() -> None:
    """Permission to send personal data does not include credentials."""
    headers = {"Authorization": "Bearer hunter2", "cookie": "a=hunter2", "x-api-key": "hunter2", "accept": "*/*"}
    for allowed in (True, False):
        masked = masked_headers(headers, send_default_pii=allowed)
        assert masked == {
            "Authorization": FILTERED,
            "cookie": FILTERED,
            "x-api-key": FILTERED,
            "accept": "*/*",
        }


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-real-ip", "Forwarded", "True-Client-IP", "Remote-Addr"])
def test_personal_headers_need_permission(name: str) -> None:
    """The client's address is sent only with `send_default_pii`."""
    assert masked_headers({name: "203.0.113.7"}, send_default_pii=False) == {name: FILTERED}
    assert masked_headers({name: "203.0.113.7"}, send_default_pii=True) == {name: "203.0.113.7"}


@pytest.mark.parametrize(
    ("query", "masked"),
    [
        ("", ""),
        ("page=1&q=%20z", "page=1&q=%20z"),
        ("token=abc&page=1", f"token={FILTERED}&page=1"),
        ("page=1&api_key=a=b", f"page=1&api_key={FILTERED}"),
        ("password=", f"password={FILTERED}"),
        ("flag&token", "flag&token"),
        ("a=1&&b=2&", "a=1&&b=2&"),
        ("author=me", "author=me"),
    ],
)
def test_a_query_keeps_its_form(query: str, masked: str) -> None:
    """Only the values of secret parameters change, and the order stays."""
    assert masked_query(query) == masked


@pytest.mark.parametrize("name", ["pass%77ord", "%74oken", "user[password]", "api%5Fkey", "client+secret"])
def test_a_query_parameter_is_checked_as_the_server_reads_it(name: str) -> None:
    """Percent-encoding does not hide a secret from the mask."""
    assert "hunter2" not in masked_query(f"page=1&{name}=hunter2")


@given(st.text(alphabet="abctoken=&%;+[]12_-", max_size=40))
def test_masking_a_query_twice_equals_masking_it_once(query: str) -> None:
    """The marker is not masked again."""
    once = masked_query(query)
    assert masked_query(once) == once


@given(st.text(alphabet="0123456789xyz", min_size=8))
def test_the_marker_shows_nothing_of_the_secret(value: str) -> None:
    """Neither the value nor its length shows."""
    assert masked_query(f"password={value}") == f"password={FILTERED}"
    assert masked_headers({"x-token": value}, send_default_pii=True) == {"x-token": FILTERED}


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://shop.test/a?page=1", "https://shop.test/a?page=1"),
        ("https://shop.test/a?api_key=hunter2&page=1#top", f"https://shop.test/a?api_key={FILTERED}&page=1#top"),
        ("https://joe:hunter2@shop.test/a", f"https://{FILTERED}@shop.test/a"),
        ("https://joe:hunt@er2@shop.test", f"https://{FILTERED}@shop.test"),
        ("/a/b@c?token=hunter2", f"/a/b@c?token={FILTERED}"),
        ("https://shop.test/users/@joe", "https://shop.test/users/@joe"),
        ("", ""),
    ],
)
def test_a_url_keeps_its_form(url: str, masked: str) -> None:
    """Credentials before the host and secret parameters are masked; everything else stays."""
    assert masked_url(url) == masked


@given(st.text(alphabet="ab:/?#@[]%=&", max_size=30))
def test_any_url_can_be_masked(url: str) -> None:
    """No text makes the mask raise."""
    assert isinstance(masked_url(url), str)


def test_attributes_of_a_span_are_masked_in_both_conventions() -> None:
    """Queries, URLs and client addresses, under their old and new names."""
    attributes = {
        "url.query": "token=hunter2",
        "url.full": "http://a:hunter2@b/c?sig=hunter2",
        "http.url": "http://b/c?sig=hunter2",
        "http.target": "/c?sig=hunter2",
        "client.address": "203.0.113.7",
        "http.client_ip": "203.0.113.7",
        "net.peer.ip": "203.0.113.7",
        "http.route": "/c",
    }
    masked = masked_attributes(attributes, send_default_pii=False)
    assert masked.keys() == {"url.query", "url.full", "http.url", "http.target", "http.route"}
    assert "hunter2" not in str(masked)
    assert masked_attributes(attributes, send_default_pii=True)["client.address"] == "203.0.113.7"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("plain", "plain"),
        (7, 7),
        (None, None),
        ({"password": "x", "page": 1}, {"password": FILTERED, "page": 1}),
        (
            {"a": [{"token": "x"}, {"b": {"c": {"api_key": ["x"]}}}]},
            {"a": [{"token": FILTERED}, {"b": {"c": {"api_key": FILTERED}}}]},
        ),
        ([("password", 1), {"pin": 2}], [("password", 1), {"pin": FILTERED}]),
        ({7: "x", "user": ("a", {"sig": "x"})}, {7: "x", "user": ("a", {"sig": FILTERED})}),
        (["https://joe:x@shop.test/?token=x&page=1"], [f"https://{FILTERED}@shop.test/?token={FILTERED}&page=1"]),
        ({"link": "redis://:x@cache/0"}, {"link": f"redis://{FILTERED}@cache/0"}),
        ("see https://shop.test/?token=x", f"see https://shop.test/?token={FILTERED}"),
    ],
)
def test_nested_values_are_masked_by_their_names(value: Any, masked: Any) -> None:
    """In mappings and lists of any depth, and in URLs that stand alone. The original does not change."""
    before = repr(value)
    assert masked_value(value) == masked
    assert repr(value) == before


def test_values_nested_too_deep_are_masked_as_a_whole() -> None:
    """Also a value that contains itself."""
    circle: list[Any] = [{"password": "hunter2"}]
    circle.append(circle)
    deep: Any = "hunter2"
    for _ in range(2_000):
        deep = {"a": deep}
    for value in (circle, deep):
        assert "hunter2" not in str(masked_value(value))
        assert FILTERED in str(masked_value(value))


def test_attributes_with_lists_and_other_urls_are_masked() -> None:
    """By name, in each URL of a list, and in URLs with any name."""
    attributes = {
        "callback_urls": ["https://shop.test/?token=hunter2", "plain"],
        "next": "https://joe:hunter2@shop.test/",
        "passwords": ["hunter2"],
        "db.dsn": "hunter2",
        "pages": [1, 2],
    }
    assert masked_attributes(attributes, send_default_pii=True) == {
        "callback_urls": [f"https://shop.test/?token={FILTERED}", "plain"],
        "next": f"https://{FILTERED}@shop.test/",
        "passwords": FILTERED,
        "db.dsn": FILTERED,
        "pages": [1, 2],
    }


@pytest.mark.parametrize("name", ["http.request.header.x_forwarded_for", "http.request.header.x-real-ip"])
def test_captured_personal_headers_need_permission(name: str) -> None:
    """As instrumentations name them, with underscores or hyphens."""
    attributes = {name: ["203.0.113.7"], "http.request.header.accept": ["*/*"]}
    assert masked_attributes(attributes, send_default_pii=True) == attributes
    assert masked_attributes(attributes, send_default_pii=False) == {**attributes, name: FILTERED}


#: Whatever is secret in it is `hunter2`, whatever is not is `seen` with a number.
SECRETS_EVERYWHERE = """
import asyncio, logging
import brain_otel
brain_otel.setup()
import httpx
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.trace import Link

SECRET = "".join(["hunt", "er2"])
URL = f"https://joe:{SECRET}@shop.test/a?token={SECRET}&page=seen00"
NESTED = {"headers": {"authorization": SECRET, "accept": "seen01"}, "urls": [URL], "rows": [{"db_password": SECRET}]}

tracer = trace.get_tracer("test")
shop = logging.getLogger("shop")
shop.setLevel(logging.INFO)

def facts(number):
    return {
        "kept": f"seen{number:02}", "password": SECRET, "passwords": [SECRET, SECRET], "access_tokens": SECRET,
        "x.access_key": SECRET, "privatekey": SECRET, "dsn": SECRET, "connection_string": SECRET, "url.full": URL,
        "callback_url": URL, "urls": ["plain", URL],
    }

def context(number):
    return {**{name.replace(".", "_"): value for name, value in facts(number).items()}, "payload": NESTED}

def fail():
    raise ValueError("failed")

with tracer.start_as_current_span("other") as other:
    link = other.get_span_context()
with tracer.start_as_current_span("root", attributes=facts(2), links=[Link(link, facts(3))]) as span:
    span.add_event("event", facts(4))
    with tracer.start_as_current_span("child", attributes=facts(5)) as child:
        child.add_event("event", facts(6))
        child.add_link(link, facts(7))
brain_otel.add_breadcrumb("step", data=context(10))
brain_otel.capture_message("after the step")
with brain_otel.start_transaction("work", **context(8)) as transaction:
    transaction.set_tag("api_key", SECRET)
    transaction.set_tag("callback", URL)
    brain_otel.add_breadcrumb("step in the transaction", data=context(10))
    transaction.set_data("payload", NESTED)
    brain_otel.set_tag("session_id", SECRET)
    brain_otel.set_tag("next.url", URL)
    brain_otel.set_context("request", context(9))
    with brain_otel.start_span("step", **context(11)) as step:
        step.set_data("token", SECRET)
    brain_otel.capture_message("said", **context(12))
    try:
        fail()
    except ValueError as error:
        brain_otel.capture_exception(error, **context(13))
    shop.info("logged", extra=context(14))

app = FastAPI()

@app.get("/a")
async def endpoint():
    return 1

async def main():
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        headers = {"x-forwarded-for": "203.0.113.8", "authorization": SECRET, "x-plain": "seen15"}
        await client.get(f"/a?token={SECRET}&page=seen16", headers=headers)

asyncio.run(main())
print(brain_otel.flush(5))
"""


@pytest.fixture(scope="module", params=[False, True], ids=["private", "pii"])
def sent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, dict[str, str]]:
    """Whether personal data may be sent, and what left the process in all, as text, by where it went."""
    folder = tmp_path_factory.mktemp("secrets")
    kept = folder / "kept.jsonl"
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        others: list[Any] = [{"otlp": {"endpoint": receiver.endpoint}}, {"file": {"path": str(kept)}}]
        config = write_config(folder, traces=[{"sentry": {}}, *others], logs=others, dsn=ingest.dsn)
        resource = '"value": "shop"}, {"name": "shop.api_key", "value": "hunter2"}'
        config.write_text(config.read_text().replace('"value": "shop"}', resource))
        if request.param:
            config.write_text(
                config.read_text().replace(
                    '"profiles_sample_rate"', '"send_default_pii": true, "profiles_sample_rate"'
                )
            )
        headers = {
            "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": "authorization,x-forwarded-for,x-plain"
        }
        done = run_python(SECRETS_EVERYWHERE, environment_of(config, headers), pythonpath=[ROOT], cwd=folder)
        assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
        assert "failed while" not in done.stderr
        return request.param, {
            "sentry": "\n".join(item.payload.decode() for item in ingest.items()),
            "otlp": "\n".join(str(each.message) for each in receiver.requests),
            "file": "\n".join(map(str, read_lines(kept))),
        }


Sent = tuple[bool, dict[str, str]]


@pytest.mark.parametrize("where", ["sentry", "otlp", "file"])
def test_no_secret_leaves_the_process(where: str, sent: Sent) -> None:
    """Wherever the application puts it: attributes, events, links, contexts, tags and breadcrumbs."""
    lines = sent[1][where].split(",") if where == "sentry" else sent[1][where].splitlines()
    assert [line for line in lines if "hunter2" in line] == []


@pytest.mark.parametrize(
    ("where", "missing"),
    [("sentry", {14}), ("otlp", set()), ("file", set())],
)
def test_values_that_are_no_secrets_leave(where: str, missing: set[int], sent: Sent) -> None:
    """They stand next to the secrets."""
    assert {number for number in range(17) if f"seen{number:02}" not in sent[1][where]} == missing


@pytest.mark.parametrize("where", ["sentry", "otlp", "file"])
def test_the_clients_address_leaves_only_with_permission(where: str, sent: Sent) -> None:
    """Also the one that a proxy passes on in a header."""
    allowed, text = sent[0], sent[1][where]
    assert ("203.0.113.8" in text) is allowed
    assert ("203.0.113.7" in text) is allowed


LONG_SECRETS = {
    "assignment": ("password=", "hunter2-4Zq-hunter2", ""),
    "address": ("postgresql://app:", "hunter2-4Zq-hunter2", "@db/shop"),
    "token of 3 KB": ("eyJ", "hbGciOiJIUzI1NiJ9." + "h4Zq" * 800, ""),
    "phrase": ('"password": "', "correct horse battery staple " * 12, '"'),
    "key": ("-----BEGIN PRIVATE KEY-----\n", "h4Zq\n" * 600, "-----END PRIVATE KEY-----"),
    "duplicate": ("Duplicate entry '", "hunter2 4Zq hunter2", "' for key 'users.email'"),
}


@pytest.mark.parametrize("kind", LONG_SECRETS)
@pytest.mark.parametrize("gap", quick_first(["\n", " "]))
@pytest.mark.parametrize("offsets", quick_first([4, 24]))
def test_a_cut_leaves_no_part_of_a_secret(kind: str, gap: str, offsets: int) -> None:
    """Wherever the first and the second cut fall within it, in a text of one line and in one of many."""
    before, secret, after = LONG_SECRETS[kind]
    filler = f"ordinary words of a message,{gap}" * 2_000
    whole = f"{before}{secret}{after}"
    for edge in (MAX_TEXT // 2, MAX_TEXT, 50_000 - MAX_TEXT // 2):
        for offset in range(0, len(whole) + 40, max(1, len(whole) // offsets)):
            start = edge - offset
            text = f"{filler[:start]}{gap}{whole}{gap}{filler}"[:50_000]
            masked = Policy().text(text)
            pieces = {secret[place : place + 7] for place in range(0, len(secret) - 7, 7)}
            assert not [piece for piece in pieces if piece in masked], (edge, offset)


def test_the_long_texts_of_one_event_share_a_budget() -> None:
    """Each keeps its beginning; a text that occurs again costs nothing."""
    policy = Policy()
    texts = [f"{number} {'word ' * 2_000}" for number in range(20)]
    with one_budget():
        masked = [policy.text(text) for text in texts]
        again = [policy.text(text) for text in texts]
        assert [policy.text(text) for text in masked] == masked
    assert masked == again
    assert masked[0] == texts[0]
    assert sum(map(len, masked)) < MAX_CHARACTERS + 20 * 600
    assert all(text.startswith(f"{number} word") for number, text in enumerate(masked))
    assert all("characters left out" in text for text in masked[2:])
    assert policy.text(texts[-1]) == texts[-1]  # outside of an event


def test_a_long_query_is_cut_by_parameters() -> None:
    """Beyond 200 parameters or 8,192 characters, and the last one is whole."""
    policy = Policy()
    many = policy.query("&".join(f"a{number}=1" for number in range(1_000)))
    assert many.startswith("a0=1&a1=1&")
    assert many.endswith("a199=1&... 800 parameters left out")
    large = policy.query(f"a={'b' * 5_000}&token=hunter2&c={'d' * 5_000}&e=f")
    assert large == f"a={'b' * 5_000}&token={FILTERED}&... 2 parameters left out"
    assert policy.query("a=1&b=2") == "a=1&b=2"


def test_many_percent_encoded_parts_are_masked_beyond_a_number() -> None:
    """One of them is a secret, so the text is looked at part by part."""
    text = " ".join(["password%3Dhunter2", *(f"part%20{number}" for number in range(500))])
    masked = Policy().text(text)
    assert "hunter2" not in masked
    assert "part%20" in masked
    assert masked.count(FILTERED) > 300
    assert Policy().text(text.replace("password", "harmless")) == text.replace("password", "harmless")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Password:          s3cr3t-X9", "Password:          [Filtered]"),
        ("password        = hunter2", "password        = [Filtered]"),
        ("got\n--password zqaaaa", "got\n--password [Filtered]"),
        ("Invalid bearer token.", "Invalid bearer token."),
        ("Basic Options saved", "Basic Options saved"),
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("order:2024:eu:shop:17", "order:2024:eu:shop:17"),
        (
            "NotificationDeliveryEngine.models.NotificationDeliveryAttempt",
            "NotificationDeliveryEngine.models.NotificationDeliveryAttempt",
        ),
    ],
)
def test_what_a_reader_of_the_rules_has_found(text: str, masked: str) -> None:
    """Aligned dumps and options at a line's begin; ids, class names and sentences that look like a secret."""
    assert Policy().text(text) == masked


def test_digits_that_are_no_number_are_no_card() -> None:
    """`str.isdigit()` is true for superscripts, of which `int()` makes nothing."""
    assert Policy().query("card=4" + "%C2%B2" * 15) == "card=4" + "%C2%B2" * 15


def test_a_long_address_of_a_route_with_a_secret_is_masked_as_a_whole() -> None:
    """A `:path` parameter makes the search for its parts quadratic."""
    attributes = {"http.route": "/f/{p:path}/{token}/raw", "url.path": "/f/" * 8_000 + "t/raw"}
    assert by_key.masked_attributes(Policy(), attributes)["url.path"] == FILTERED
    with pytest.raises(ValueError, match="too long"):
        route_secrets(Policy(), "/f/{p:path}/{token}/raw", "/f/" * 8_000)
    assert milliseconds(lambda: by_key.masked_attributes(Policy(), attributes), 100) < 100  # searched: seconds
    short = {**attributes, "url.path": "/f/a/b/hunter2/raw"}
    assert by_key.masked_attributes(Policy(), short)["url.path"] == "/f/a/b/[Filtered]/raw"


def test_a_command_line_of_digits_takes_linear_time() -> None:
    """`curl -u` looks for a user's name before a colon."""
    policy = Policy()
    assert milliseconds(lambda: policy._mask_text("curl -u " + "1" * 30_000), 100) < 100
    assert milliseconds(lambda: policy.value(["curl", "-u", "1" * 30_000]), 100) < 100


COLOUR, PLAIN = "\x1b[35m", "\x1b[0m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{COLOUR}password{PLAIN}={COLOUR}hunter2{PLAIN}", "password=[Filtered]"),
        (f"[\x1b[1;31merror{PLAIN}] {COLOUR}token{PLAIN}: {COLOUR}k-1842-x{PLAIN} a", "[error] token: [Filtered] a"),
        (f"sent Bearer {COLOUR}mF_9.B5f-4.1JqM{PLAIN}", "sent Bearer [Filtered]"),
        (f"{COLOUR}event{PLAIN}=paid {COLOUR}tokens{PLAIN}=3", None),
        (f"{COLOUR}all fine{PLAIN}", None),
    ],
)
def test_colours_hide_no_secret(text: str, shown: str | None) -> None:
    """Loggers for terminals write them between a name and its value; a text without secrets keeps them."""
    assert Policy().text(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('Digest username="joe", realm="r", nonce="a", response="6629fa"', "Digest username=[Filtered]"),
        ('got Digest username=joe, uri="/",\r\nAccept: a', "got Digest username=[Filtered]\r\nAccept: a"),
        ('WWW-Authenticate: Digest realm="r", qop="auth"', 'WWW-Authenticate: Digest realm="r", qop="auth"'),
        ("the Digest of the file", "the Digest of the file"),
    ],
)
def test_digest_credentials_are_masked(text: str, shown: str) -> None:
    """RFC 7616; a server's challenge stays."""
    assert Policy().text(text) == shown


@pytest.mark.parametrize(
    "label", ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "CERTIFICATE", "PUBLIC KEY"]
)
def test_a_private_key_in_base64_is_masked(label: str) -> None:
    """Kubernetes' configurations hold keys and certificates that are encoded once more."""
    encoded = base64.b64encode(f"-----BEGIN {label}-----\nMIIEvQIBADANBg\n-----END {label}-----\n".encode()).decode()
    masked = Policy().text(f"data: {encoded}\nserver: a")
    assert (encoded not in masked) is ("PRIVATE" in label)
    assert masked.endswith("\nserver: a")


def test_the_files_in_a_traceback_are_masked() -> None:
    """Code may run under any name; the rest of the line stays."""
    text = (
        'Traceback (most recent call last):\n  File "/jobs/token=hunter2/a.py", line 3, in f\n    pay()\nKeyError: 7'
    )
    masked = Policy().stacktrace(text)
    assert "hunter2" not in masked
    assert masked.count("\n") == 3
    assert "line 3, in f" in masked


def test_a_header_is_masked_by_its_own_name_each_time() -> None:
    """Equal values under other names, and under another policy, are looked at anew; long ones too."""
    value = "4111-1111-1111-1112"
    headers = {"x-note": value, "x-api-key": value, "x-forwarded-for": value, "x-long": f"{value} " * 20}
    for by in (Policy(), Policy(send_default_pii=True), Policy(mask=lambda name, text: f"{name} {text}")):
        first, again = by.headers(headers), by.headers(headers)
        assert first == again
        assert (first["x-api-key"], first["x-note"] == FILTERED) == (FILTERED, False)
        assert (first["x-forwarded-for"] == FILTERED) is not by.send_default_pii
        assert first["x-note"].startswith("x-note ") is (by.mask is not None)


@pytest.mark.parametrize("frames", ["", '  File "<string>", line 1, in <module>\n'])
def test_an_error_behind_a_frame_without_source_is_a_message(frames: str) -> None:
    """Frames of compiled modules have no source line: the error follows at once."""
    text = (
        'Traceback (most recent call last):\n  File "app.py", line 3, in login\n    ask(name, password="zq1")\n'
        f'    ~~~^^^^\n{frames}  File "asyncpg/protocol.pyx", line 1, in bind\n'
    )
    shown = Policy().stacktrace(f'{text}DataError: invalid input syntax for type date: "zq2"\n\nE: token zq3=zq3')
    assert "zq2" not in shown
    assert shown == f'{text}DataError: invalid input syntax for type date: "?"\n\nE: token zq3=zq3'.replace(
        "zq1", "[Filtered]"
    )
