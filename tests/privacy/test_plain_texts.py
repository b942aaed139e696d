"""Tests of texts in which no rule finds anything."""

from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import Policy
from brain_otel.privacy.plain_texts import is_plain
from tests.privacy.corpora.secrets import SECRETS

POLICY = Policy()
RULES = import_module("brain_otel.privacy.policy").rules
TEXTS = [str(case.text) for case in SECRETS]
PIECES = sorted(
    {piece for text in TEXTS for piece in text.replace("=", " ").replace("'", " ").split() if len(piece) < 40}
)
SIGNS = st.sampled_from([" ", "/", ", ", ".", "; ", " (", ")", "-", "--", "(--", ""])


@pytest.mark.parametrize(
    "text",
    [
        "/missions/17/items",
        "/orders/9c5b94b1-35ad-49bb-b118-8e8fc24abf80/items",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.109 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "GET /missions/17/items",
        "order shipped",
    ],
)
def test_a_typical_text_takes_one_look(text: str) -> None:
    assert is_plain(text)
    assert POLICY.text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Bearer abc12345",
        "got 4111 1111 1111 1111",
        "GB29 NWBK 6016",
        "a=b",
        "x: y",
        "curl -u a",
        "(--password a)",
        "x;-p a",
        "'x'",
        "naïve",
        "a\nb",
    ],
)
def test_a_text_with_more_is_looked_at(text: str) -> None:
    assert not is_plain(text)


@given(st.lists(st.tuples(st.sampled_from(PIECES), SIGNS), min_size=1, max_size=6))
def test_no_rule_finds_anything_in_a_plain_text(pieces: list[tuple[str, str]]) -> None:
    """Made of the words that secrets consist of and stand beside."""
    text = "".join(piece + sign for piece, sign in pieces)
    if is_plain(text):
        assert looked_at(text) == text


def test_no_secret_is_a_plain_text() -> None:
    assert [text for text in TEXTS if is_plain(text) and looked_at(text) != text] == []


def looked_at(text: str) -> str:
    """``text`` as all rules leave it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RULES, "is_plain", lambda _: False)
        return POLICY._mask_text(text)
