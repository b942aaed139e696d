"""Tests of nested values whose parts belong together."""

from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url

from brain_otel.privacy import FILTERED, Policy
from brain_otel.runtime.safe_repr import plain, safe_repr, variables
from brain_otel.sentry.before_send import mask

POLICY = Policy()


class Login(NamedTuple):
    """A named tuple with a password."""

    user: str
    password: str


OBJECTS = (
    Login("joe", "zqsecret"),
    make_url("postgresql://app:zqsecret@db/shop"),
    urlsplit("https://joe:zqsecret@shop.test/a"),
    [Login("joe", "zqsecret")],
)


@pytest.mark.parametrize("shape", [plain, variables, lambda value: value, lambda value: {"a": safe_repr(value["a"])}])
@pytest.mark.parametrize("value", OBJECTS)
def test_a_named_tuple_is_one_value_with_names(value: object, shape: object) -> None:
    assert callable(shape)
    shown = POLICY.value(shape({"a": value}))
    assert "zqsecret" not in str(shown)
    assert "joe" in str(shown) or "shop" in str(shown)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"loc": ("body", "age"), "input": "zq"}, {"loc": ("body", "age"), "input": FILTERED}),
        ({"loc": ("body", "age"), "input": None}, None),
        ({"loc": ["body", "age"], "input": {}}, None),
        ({"input": "shoes"}, None),
        ({"kty": "EC", "x": "a", "d": "zq"}, {"kty": "EC", "x": "a", "d": FILTERED}),
        ({"d": "zq"}, None),
        ({"kind": "Secret", "data": {"a": "zq"}}, {"kind": "Secret", "data": FILTERED}),
        ({"kind": "ConfigMap", "data": {"a": "zq"}}, None),
        ({"saslStart": 1, "payload": b"zq"}, {"saslStart": 1, "payload": FILTERED}),
        ({"tokens": 4, "token_ids": [1, 2], "cookies": 2}, None),
        ({"tokens": ["zq"]}, {"tokens": FILTERED}),
        ({"pwd": "/srv/app"}, None),
        ({"pwd": "hunter2"}, {"pwd": FILTERED}),
        ({"pin": 1234, "otp": 123456}, {"pin": FILTERED, "otp": FILTERED}),
    ],
)  # fmt: skip
def test_a_value_and_its_neighbours(given: dict[str, object], shown: object) -> None:
    assert POLICY.value(given) == (given if shown is None else shown)


def test_with_personal_data_a_rejected_value_is_masked_by_its_place() -> None:
    policy = Policy(send_default_pii=True)
    assert policy.value({"loc": ("body", "age"), "input": "x"}) == {"loc": ("body", "age"), "input": "x"}
    secret = {"loc": ("body", "api_key"), "input": "x"}
    assert policy.value(secret) == {**secret, "input": FILTERED}
    assert "zq" not in policy.text(str({"loc": ("body", "api_key"), "input": "zq"}))
    assert "zq" in policy.text(str({"loc": ("body", "age"), "input": "zq"}))


def test_the_lines_of_a_private_key_are_one_secret() -> None:
    lines = [
        "-----BEGIN RSA PRIVATE KEY-----",
        "Proc-Type: 4,ENCRYPTED",
        "",
        "A" * 64,
        "ab==",
        "-----END RSA PRIVATE KEY-----",
    ]
    assert POLICY.value(["read", *lines, "kept"]) == ["read", *[FILTERED] * len(lines), "kept"]
    assert POLICY.value([*lines[:1], "kept"]) == [FILTERED, "kept"]


def test_a_user_is_masked_by_names_and_has_no_address() -> None:
    user = {"id": 7, "email": "joe@shop.test", "ip_address": "203.0.113.77", "api_token": "zq"}
    assert mask({"user": user}, POLICY)["user"] == {"id": 7, "email": "joe@shop.test", "api_token": FILTERED}
    shown = mask({"user": user}, Policy(send_default_pii=True))["user"]
    assert shown == {**user, "api_token": FILTERED}


@pytest.mark.parametrize(
    "value",
    [
        {"a": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9", "b": "05m_dDVNmnXsXmTqMW8uYIm7"},
        {"a": "eyJhbGciOiJIUzI1NiJ9.", "b": "eyJzdWIiOiI0MiJ9.", "c": "05m_dDVNmnXsXmTqMW8uYIm7"},
        ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9", "05m_dDVNmnXsXmTqMW8uYIm7"],
    ],
)
def test_a_web_token_in_pieces_is_masked_up_to_its_signature(value: object) -> None:
    """Cookies that are too long are split; the signature alone looks like nothing."""
    assert "05m_dD" not in str(Policy().value(value))


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "X-Real-IP", "HTTP_X_FORWARDED_FOR", "REMOTE_ADDR", "cf-connecting-ip"]
)
def test_a_clients_address_is_masked_by_its_name_anywhere(name: str) -> None:
    """In a dict of headers, in its text, and in an environment, unless personal data may leave."""
    by, open_ = Policy(), Policy(send_default_pii=True)
    assert by.value({"headers": {name: "203.0.113.7"}}) == {"headers": {name: "[Filtered]"}}
    assert by.text(f"headers={{'{name}': '203.0.113.7'}}") == f"headers={{'{name}': '[Filtered]'}}"
    assert open_.value({name: "203.0.113.7"}) == {name: "203.0.113.7"}
    assert open_.text(f"'{name}': '203.0.113.7'") == f"'{name}': '203.0.113.7'"


@pytest.mark.parametrize("text", ["forwarded: 3 messages", "client_ip_count=3", "x-forwarded-proto: https"])
def test_names_that_are_no_address_stay(text: str) -> None:
    """A word, a count, a scheme."""
    assert Policy().text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "FormData([('user', 'joe'), ('password', 'Zq-29!')])",
            "FormData([('user', 'joe'), ('password', '[Filtered]')])",
        ),
        ("[(b'api_key', b'k-1842')]", "[(b'api_key', b'[Filtered]')]"),
        ('[("page", "2"), ("client_secret", "a)b\'c")]', '[("page", "2"), ("client_secret", "[Filtered]")]'),
        ("choices=[('password', 'Password'), ('secret', 'user_name')]", None),
        ("UniqueConstraint('secret', 'user_7')", None),
        ("[('password', 'a1', 3)]", None),
        ("x\\nLDAP_BIND_PW=Zq-41\\tDB_PASSWORD: zq9", "x\\nLDAP_BIND_PW=[Filtered]\\tDB_PASSWORD: [Filtered]"),
        ("C:\\new\\rates=3", None),
    ],
)
def test_pairs_and_names_after_escapes(text: str, shown: str | None) -> None:
    """Two words are two names, and three values are no pair."""
    assert Policy().text(text) == (text if shown is None else shown)


def test_pairs_whose_end_is_cut_off_are_pairs() -> None:
    """Of many headers in a variable, the first are shown."""
    pairs = [
        ["b'host'", "b'x'"],
        ["b'x-forwarded-for'", "b'203.0.113.7'"],
        ["b'x-token'", "b'zq'"],
        "'... 1,206 more'",
    ]
    shown = Policy().value({"raw": pairs})["raw"]
    assert shown == [
        ["b'host'", "b'x'"],
        ["b'x-forwarded-for'", "[Filtered]"],
        ["b'x-token'", "[Filtered]"],
        pairs[3],
    ]
