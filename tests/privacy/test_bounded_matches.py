"""Tests of the bounds on matches: the text behind the last one that is looked at is masked."""

import pytest

from brain_otel.privacy import Policy
from brain_otel.privacy.bounded_matches import MAX_MATCHES, MAX_NAMES, MAX_PARTIAL_NAMES
from brain_otel.privacy.percent_encoded import _MAX_ENCODED
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.quiet import one_budget
from tests.support.yardstick import milliseconds

LENGTH = 32_768
SECRETS = {
    "assignments": ("token=hunter%d ", MAX_NAMES),
    "addresses": ("https://user:hunter%d@host/ ", MAX_MATCHES),
    "parameters": ("?page=hunter%d ", MAX_MATCHES),
    "encoded texts": ("token%%3dhunter%d ", _MAX_ENCODED),
    "words of names": ("error code: hunter%d ", MAX_PARTIAL_NAMES),
}
HOSTILE = [
    *("token%3dabc%26 ", "password%3Dx%26", "token=abc ", "passwd -", "%s", "%", "_i", "lö", "%41=%42&", "dup key: "),
    *("%22password%22%3A%22x%22 ", "'password': 'x', ", "-token ", "sk-", "?a=b", "/aaaaaaaaaaaaaaaa", "://a:b@c "),
    *(" key ", "Key  ", "code  ", "AUTH "),
]


@pytest.mark.parametrize("rule", SECRETS)
def test_the_rest_of_a_text_of_many_matches_is_masked(rule: str) -> None:
    """As a whole, and what stands before the bound as in a short text."""
    unit, limit = SECRETS[rule]
    text = "".join(unit % number for number in range(2 * limit))
    masked = Policy()._mask_text(f"begin {text}")
    assert masked.startswith("begin ")
    assert masked.endswith(FILTERED)
    assert f"hunter{2 * limit - 1}" not in masked
    few = "".join(unit % number for number in range(50)) + "and more"
    assert Policy()._mask_text(few).endswith("and more")


@pytest.mark.parametrize("unit", HOSTILE)
def test_near_matches_take_little(unit: str) -> None:
    """The CPU time of 32 KB."""
    policy, hostile = Policy(), (unit * LENGTH)[:LENGTH]
    assert milliseconds(lambda: policy._mask_text(hostile), 16) < 16


def test_the_long_texts_of_one_event_end() -> None:
    """Each costs at least the mask of its beginning; after some of them, they are masked as a whole."""
    policy = Policy()
    with one_budget():
        masked = [policy.text(f"{number} " + "harmless words " * 1_000) for number in range(200)]
    assert masked[0].startswith("0 harmless")
    assert masked[-1] == FILTERED
    assert sum(map(len, masked)) < 40_000
