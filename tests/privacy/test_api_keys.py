"""Tests of keys that vendors make recognizable. The keys of the corpus are looked for in every place there."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy.api_keys import _BY_PART, _BY_PREFIX, mask_api_keys
from tests.privacy.corpora.api_keys import FORMS
from tests.privacy.corpora.planting import fill
from tests.support.tiers import quick_one_in

BETWEEN = st.sampled_from(["", " ", "'", '"', "(", "=", ": ", "/", "-", "_", "\n", "\\n", ">", ","])


@given(
    form=st.sampled_from(FORMS), seed=st.text(), before=st.text(), sign=BETWEEN, after=st.sampled_from(" '\",)\n<")
)
def test_no_part_of_a_key_stays(form: tuple[str, str, str], seed: str, before: str, sign: str, after: str) -> None:
    """Each documented form, whatever stands before and after it, unless it continues a word."""
    secrets: list[str] = []
    key = fill(form[1], seed, secrets)
    text = f"{before}{sign or ' '}{key}{after}"
    shown = mask_api_keys(text)
    assert not [secret for secret in secrets if secret in shown]


@given(st.from_regex(r"([a-z]{1,12}[ _./-]){0,9}", fullmatch=True))
def test_words_stay(text: str) -> None:
    assert mask_api_keys(text) == text


def test_the_host_of_an_address_that_is_a_key_stays() -> None:
    address = "https://hooks.slack.com/services/T01234567/B0123456789/abcdefghijklmnopqrstuvwx"
    assert mask_api_keys(f"posted to {address}") == "posted to https://hooks.slack.com/[Filtered]"


def test_every_format_has_a_source() -> None:
    assert [row for row in (*_BY_PREFIX, *_BY_PART) if len(row) != 3 or not row[2]] == []


@pytest.mark.parametrize(
    "prefix", quick_one_in(8, [prefix for prefixes, _, _ in _BY_PREFIX for prefix in prefixes.split()])
)
def test_many_beginnings_of_keys_take_linear_time(prefix: str) -> None:
    def seconds(count: int) -> float:
        text = prefix * (count // len(prefix))
        started = time.thread_time()
        mask_api_keys(text)
        return time.thread_time() - started

    ratios = (seconds(32_000) / max(seconds(4_000), 1e-5) for _ in range(50))
    assert any(ratio < 10 for ratio in ratios)
