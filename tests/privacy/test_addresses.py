"""Tests of credentials in addresses."""

import string
import uuid
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brain_otel.privacy import Policy
from brain_otel.privacy.addresses import is_one_time, mask_address_credentials
from brain_otel.privacy.attributes import masked_attributes, path_secrets

POLICY = Policy()
SCHEMES = st.sampled_from(["postgresql", "mysql+pymysql", "redis", "amqps", "https", "mongodb+srv", "ssh", "a"])
HOSTS = st.sampled_from(["db", "db.internal:5432", "[::1]:80", "127.0.0.1", "a.b,c.d:27017"])
TAILS = st.sampled_from(["", "/shop", "/shop?a=b", "?a=b@c", "/x@y", "#a", " now", "'", ", next"])
PASSWORDS = st.text(string.ascii_letters + string.digits + "#?/@:%+!$&*()=,;~.", min_size=3, max_size=20)


@given(SCHEMES, PASSWORDS, HOSTS, TAILS)
def test_no_password_stays(scheme: str, password: str, host: str, tail: str) -> None:
    """Whatever it holds; the host stays if the password does not look like one."""
    address = f"{scheme}://app:zq{password}zq@{host}{tail}"
    shown = mask_address_credentials(address)
    assert f"zq{password}" not in shown
    if "@" not in password and "@" not in tail:
        assert shown.endswith(f"{host}{tail}")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://app:zq://zq@db/shop", "postgresql://[Filtered]@db/shop"),
        ("redis://:a://b://c@cache", "redis://[Filtered]@cache"),
        ("amqp://app:x://y@mq,amqp://app:z@mq2", "amqp://[Filtered]@mq,amqp://[Filtered]@mq2"),
        ("http://db:5432,redis://app:zq@cache", "http://db:5432,redis://[Filtered]@cache"),
        ("https://shop.test/to?next=https://app:zq@api", "https://shop.test/to?next=https://[Filtered]@api"),
    ],
)
def test_a_password_may_hold_a_scheme(address: str, shown: str) -> None:
    assert mask_address_credentials(address) == shown


@given(SCHEMES, HOSTS, st.sampled_from(["", "/shop", "/shop?a=b", "/@me", "/a@b/c", " me@shop.test"]))
def test_an_address_without_a_password_stays(scheme: str, host: str, tail: str) -> None:
    for user in ("", "git@", "app@"):
        address = f"{scheme}://{user}{host}{tail}"
        assert mask_address_credentials(address) == address


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("dial app:zq@tcp(db:3306)/shop", "dial app:[Filtered]@tcp(db:3306)/shop"),
        ("app:zq@unix(/run/db.sock)/shop", "app:[Filtered]@unix(/run/db.sock)/shop"),
        ("jdbc:oracle:thin:app/zq@db:1521:shop", "jdbc:oracle:thin:app/[Filtered]@db:1521:shop"),
        ("app/zq@//db:1521/shop", "app/[Filtered]@//db:1521/shop"),
        ("db:5432:shop:app:zq", "db:5432:shop:app:[Filtered]"),
        ("*:*:*:app:zq\ndb:5432:a:b:zq", "*:*:*:app:[Filtered]\ndb:5432:a:b:[Filtered]"),
        (
            "SplitResult(netloc='joe:zq@shop.test', path='/a')",
            "SplitResult(netloc='[Filtered]@shop.test', path='/a')",
        ),
        ("amqp://joe:a@zq1#k@mq//", "amqp://[Filtered]@mq//"),
        ("amqp://joe:a@zq1?k@mq//", "amqp://[Filtered]@mq//"),
        ("https://joe:a@zq1#b@zq2#c@host/x", "https://[Filtered]@host/x"),
        ("https://joe:zq@host?email=a@b.test", "https://[Filtered]@host?email=a@b.test"),
        ("postgresql:/app:zq@db/shop", "postgresql:/[Filtered]@db/shop"),
        ("https://0123456789abcdef0123456789abcdef@o1.ingest.test/42", "https://[Filtered]@o1.ingest.test/42"),
        ("see @types/node and app/models@v2", None),
        ("mailto:help@shop.test", None),
        ("at 17:55:26.123 12:30:15:10:5", None),
    ],
)
def test_other_forms_of_credentials(given: str, shown: str | None) -> None:
    assert mask_address_credentials(given) == (given if shown is None else shown)


TOKENS = st.text(string.ascii_letters + string.digits, min_size=40, max_size=60)


@given(
    TOKENS,
    st.sampled_from(
        ["/magic/{}", "magic/{}", "GET /reset/{}", "https://shop.test/verify-email/{}/now", "/v1/{}?a=b"]
    ),
)
def test_a_random_segment_of_a_path_is_masked(token: str, form: str) -> None:
    changes = sum(
        one.isdigit() != other.isdigit() or one.isupper() != other.isupper() for one, other in pairwise(token)
    )
    assume(changes > len(token) / 3 and any(map(str.isdigit, token)))
    assume(any(map(str.islower, token)) and any(map(str.isupper, token)))
    assert token not in mask_address_credentials(form.format(token))
    assert token not in POLICY.url(form.format(token).removeprefix("GET "))


IDS = (
    st.uuids().map(str) | st.uuids().map(lambda each: each.hex) | st.binary(min_size=20, max_size=32).map(bytes.hex)
    | st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26)
    | st.lists(st.from_regex(r"[A-Z]?[a-z]{2,12}|v?[0-9]{1,4}", fullmatch=True), min_size=3, max_size=9).map("-".join)
    | st.lists(st.from_regex(r"[A-Z]?[a-z]{2,12}", fullmatch=True), min_size=3, max_size=6).map("_".join)
)  # fmt: skip


@given(IDS, st.sampled_from(["/orders/{}", "/orders/{}/items", "https://shop.test/a/{}?page=2", "GET /reset/{}"]))
def test_an_id_or_slug_in_a_path_stays(part: str, form: str) -> None:
    assert mask_address_credentials(form.format(part)) == form.format(part)


def test_a_code_of_oauth_is_masked_and_a_status_stays() -> None:
    assert is_one_time("code", "GISKuj6WDRgXSlnJLJ8iG_KF")
    assert not is_one_time("code", "404")
    assert not is_one_time("state", "open")
    assert not is_one_time("state", str(uuid.UUID(int=7)))
    assert not is_one_time("q", "GISKuj6WDRgXSlnJLJ8iG_KF")
    assert POLICY.query("code=404&state=GISKuj6WDRgXSlnJLJ8iG_KF") == "code=404&state=[Filtered]"


TOKEN = "l6p2h0EY2y2fHctwjSwAz4Jq"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (f"api/v1/token/{TOKEN}/refresh", "api/v1/token/[Filtered]/refresh"),
        (f"reset/{TOKEN}", "reset/[Filtered]"),
        (f"path='magic-links/{TOKEN}'", "path='magic-links/[Filtered]'"),
        (f"users/7/confirm/{TOKEN}", "users/7/confirm/[Filtered]"),
        (f"abc/def/{TOKEN}", None),
        (f"Zx9/q7/{TOKEN}+8/aB3dE5fG7hI9jK1lM3", None),
        ("src/auth/session/test_handlers_of_things_1.py", None),
        ("2026/11/28 and 3/4 of all, see docs/token/how-to-make-one-in-5-steps", None),
    ],
)
def test_a_token_in_a_relative_path_is_masked_after_a_word_that_speaks_of_one(given: str, shown: str | None) -> None:
    """Wherever the word stands in the path; base64 and file names stay."""
    assert mask_address_credentials(given) == (given if shown is None else shown)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("bearer, zq-token", "bearer, [Filtered]"),
        ("access_token,zq-token, chat", "access_token, [Filtered], [Filtered]"),
        ("chat, aB3dE5fG7hI9jK1lM3", "chat, [Filtered]"),
        ("aB3dE5fG7hI9jK1lM3", "[Filtered]"),
        ("graphql-ws, graphql-transport-ws", "graphql-ws, graphql-transport-ws"),
        ("v1.chat.example", "v1.chat.example"),
    ],
)
def test_a_token_among_the_protocols_of_a_websocket_is_masked(given: str, shown: str) -> None:
    """A browser can send it in no other header; names of protocols stay."""
    assert POLICY.headers({"Sec-WebSocket-Protocol": given}) == {"Sec-WebSocket-Protocol": shown}
    key = "http.request.header.sec_websocket_protocol"
    assert masked_attributes(POLICY, {key: (given,)}) == {key: (shown,)}
    assert POLICY.value([["sec-websocket-protocol", given]]) == [["sec-websocket-protocol", shown]]


def test_the_secrets_of_a_path_are_few_and_different() -> None:
    """Each costs a look at every text of an event. A request chooses its path and its host."""
    policy = Policy()
    token = "ghp_" + "aB3" * 12
    assert path_secrets(policy, f"http://shop.test/a/{token}/b/{token}") == (token,)
    assert len(path_secrets(policy, "http://a:b@" * 5_000)) <= 2
    many = "http://shop.test/" + "/".join(f"ghp_{number:036}" for number in range(2_000))
    with pytest.raises(ValueError, match="too many parts"):
        path_secrets(policy, many)
    assert path_secrets(policy, "http://shop.test/" + "/".join(map(str, range(2_000)))) == ()
