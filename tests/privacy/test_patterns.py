"""Tests of credentials, web tokens and private keys, which are recognized by their look."""

import base64
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy
from brain_otel.privacy.patterns import create_pattern_mask
from brain_otel.privacy.settings import Rules

POLICY = Policy()
ALL = create_pattern_mask(Rules())
URL = string.ascii_letters + string.digits + "-_"
TOKENS = st.text(URL, min_size=20, max_size=900)
AROUND = st.text(max_size=20)
LABELS = st.sampled_from(
    ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"]
)


@given(token=TOKENS, word=st.sampled_from(["Bearer", "bearer", "BEARER"]), before=AROUND, after=AROUND)
def test_no_bearer_token_stays(token: str, word: str, before: str, after: str) -> None:
    assume(token not in before + after)
    assert token not in ALL(f"{before} {word} {token} {after}")


@given(user=st.text("abc1", min_size=1), password=st.text(string.printable[:94], min_size=1), before=AROUND)
def test_no_basic_credentials_stay(user: str, password: str, before: str) -> None:
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    assert ALL(f"{before} Basic {encoded} sent").endswith(f"Basic {FILTERED} sent")


@given(
    st.sampled_from(["Bearer", "Basic", "bearer", "basic", "AUTH"]),
    st.from_regex(r"[a-z]{1,15}( [a-z]{1,15}){0,3}", fullmatch=True),
)
def test_words_after_the_name_of_a_scheme_stay(word: str, words: str) -> None:
    assume(words.partition(" ")[0] not in ("plain", "login"))
    assert ALL(f"{word} {words}") == f"{word} {words}"


@given(parts=st.tuples(TOKENS, TOKENS, TOKENS), before=AROUND, after=st.sampled_from(["", " ", "'", ",", "\n", ")"]))
def test_no_web_token_stays(parts: tuple[str, str, str], before: str, after: str) -> None:
    header, payload, signature = parts
    assume(not {payload, signature} & {header, before})
    assume(payload not in before and signature not in before)
    shown = ALL(f"{before} eyJ{header}.eyJ{payload}.{signature}{after}")
    assert payload not in shown
    assert signature not in shown


@given(st.from_regex(r"(ey|eyes|Jey|eyJ)[a-z]{0,4}( [a-z]{1,9}){0,3}", fullmatch=True))
def test_a_word_is_no_web_token(text: str) -> None:
    assert ALL(text) == text


@given(
    labels=st.lists(LABELS, min_size=1, max_size=3),
    cut=st.integers(0, 6),
    sign=st.sampled_from(["\n", "\\n", "\r\n", " "]),
)
def test_no_private_key_stays(labels: list[str], cut: int, sign: str) -> None:
    """Several in one text, of which the first may have lost its beginning and the last its end."""
    lines = []
    for label in labels:
        lines += [f"-----BEGIN {label}-----", "zq" * 32, "zq=", f"-----END {label}-----", "kept"]
    for text in (lines[min(cut, 3) :], lines[: len(lines) - cut], lines):
        if any("PRIVATE" in line for line in text):
            assert "zq" not in ALL(sign.join(text))
    assert ALL(sign.join(lines)).count("kept") == len(labels)
    assert "zq" not in str(POLICY.value(lines))


@given(st.sampled_from(["PUBLIC KEY", "CERTIFICATE", "RSA PUBLIC KEY", "CERTIFICATE REQUEST"]), AROUND)
def test_what_is_public_stays(label: str, before: str) -> None:
    text = f"-----BEGIN {label}-----\nMIIC\n-----END {label}-----"
    assert ALL(text) == text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("zq\n-----END PRIVATE KEY-----\nok\n-----BEGIN PRIVATE KEY-----\nzq", f"{FILTERED}\nok\n{FILTERED}"),
        ("zq\n-----END PRIVATE KEY-----\nok\nzq\n-----END PRIVATE KEY-----\nok", f"{FILTERED}{FILTERED}\nok"),
        (
            "-----BEGIN PRIVATE KEY-----\nzq\n-----BEGIN EC PRIVATE KEY-----\nzq\n-----END EC PRIVATE KEY-----",
            FILTERED,
        ),
        ("Private-Lines: 1\nzqP\nPrivate-MAC: a", f"Private-Lines: 1\n{FILTERED}\nPrivate-MAC: a"),
        ("AUTH PLAIN enF6cXpxenE=", f"AUTH PLAIN {FILTERED}"),
        ("redis: AUTH Hun7er", f"redis: AUTH {FILTERED}"),
        ("> AUTH default Hun7er -> OK", f"> AUTH default {FILTERED} -> OK"),
        ('"AUTH" "Hun7er"', f'"AUTH" "{FILTERED}"'),
        ("*2\\r\\n$4\\r\\nAUTH\\r\\n$6\\r\\nHun7er\\r\\n", f"*2\\r\\n$4\\r\\nAUTH\\r\\n$6\\r\\n{FILTERED}\\r\\n"),
        ("C: PASS Hun7er", f"C: PASS {FILTERED}"),
        ("a1 LOGIN anna Hun7er", f"a1 LOGIN anna {FILTERED}"),
        ("AUTH is required for 3 clients", "AUTH is required for 3 clients"),
        ("AUTH LOGIN CRAM-MD5 DIGEST-MD5 offered", "AUTH LOGIN CRAM-MD5 DIGEST-MD5 offered"),
        ("PASS tests/test_app2.py", "PASS tests/test_app2.py"),
    ],
)
def test_patterns_by_example(given: str, shown: str) -> None:
    assert ALL(given) == shown
