"""Tests of what counts as private and how it is masked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import (
    FILTERED,
    is_sensitive,
    masked_attributes,
    masked_headers,
    masked_query,
    masked_url,
)

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
def test_a_look_alike_is_left_alone(name: str) -> None:
    """What merely contains the letters of a secret's name is no secret."""
    assert not is_sensitive(name)


@given(st.text())
def test_any_name_can_be_judged(name: str) -> None:
    """No name is too odd to be judged."""
    assert is_sensitive(name) in (True, False)


def test_headers_that_are_secrets_are_always_masked() -> None:
    """Permission to send personal data is no permission to send credentials."""
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
def test_headers_that_tell_a_person_apart_need_permission(name: str) -> None:
    """The client's address goes out only with `send_default_pii`."""
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
def test_a_query_parameter_is_judged_as_the_server_reads_it(name: str) -> None:
    """Percent-encoding does not carry a secret past the mask."""
    assert "hunter2" not in masked_query(f"page=1&{name}=hunter2")


@given(st.text(alphabet="abctoken=&%;+[]12_-", max_size=40))
def test_masking_a_query_twice_changes_nothing_more(query: str) -> None:
    """The marker is no secret itself."""
    once = masked_query(query)
    assert masked_query(once) == once


@given(st.text(alphabet="0123456789xyz", min_size=8))
def test_the_marker_never_echoes_what_it_stands_for(value: str) -> None:
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
    """Credentials before the host and secret parameters go, everything else stays."""
    assert masked_url(url) == masked


@given(st.text(alphabet="ab:/?#@[]%=&", max_size=30))
def test_any_url_can_be_masked(url: str) -> None:
    """No text is too odd a URL to be masked."""
    assert isinstance(masked_url(url), str)


def test_attributes_of_a_span_are_masked_in_both_conventions() -> None:
    """Queries, URLs and client addresses, by their old and their new names."""
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
