"""Properties of every rule: it masks each secret of its kind in arbitrary text, and leaves what resembles one.

The rows are in :mod:`tests.privacy.rule_cases`; each row of the page's tables and each module has one.
"""

import pkgutil
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brain_otel.privacy
from brain_otel.privacy.api_keys import _BY_PART, _BY_PREFIX, mask_api_keys
from brain_otel.privacy.settings import FILTERED
from tests.privacy.rule_cases import ELSEWHERE, MASKED, NOT_MASKED, POLICY, ROOM, Row
from tests.privacy.test_page import rows
from tests.support.tiers import quick_first

RULES = {**MASKED, **ELSEWHERE}
EXAMPLES = quick_first([12, 150])
"""Texts for each direction of each rule."""

HARMLESS_ROOM = st.sampled_from(["", "at noon: ", "GET /stops 200, ", "line 7\n", "it's late; ", "(a) ", "x=1 y=2 "])
"""What stands before something harmless: no part of a secret."""

WITHOUT_VALUES = {
    # modules that find no secret in a text: they are told one, or apply, bound and describe the rules
    *("policy", "all_rules", "settings", "bounded_matches", "plain_texts", "canary"),
    *("spans", "processors", "resource", "model_clients"),
}


def filled(form: str, text: str) -> str:
    """``form`` with ``text`` at each of its places."""
    return form.format(*[text] * form.count("{}"))


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_masks_its_kind_in_any_text(rule: str, examples: int) -> None:
    row = RULES[rule]

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.sampled_from(row.catches), row.secret, ROOM, ROOM)
    def check(form: str, secret: str, before: str, after: str) -> None:
        text = filled(form, secret)
        surrounded = text if row.mask != POLICY.text else f"{before}\n{text}\n{after}"
        assert not leaked(secret, str(row.mask(surrounded))), row.mask(surrounded)

    check()


def leaked(secret: str, shown: str) -> list[str]:
    """The parts of a secret in what is shown; its words and lines count alone."""
    return [part for part in re.split(r"\s+", secret) if len(part) > 3 and part in shown]


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("rule", [*RULES, *NOT_MASKED])
def test_a_rule_leaves_what_resembles_its_kind(rule: str, examples: int) -> None:
    row = {**RULES, **NOT_MASKED}[rule]

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.sampled_from(row.leaves), row.harmless, HARMLESS_ROOM)
    def check(form: str, harmless: str, before: str) -> None:
        text = filled(form, harmless)
        surrounded = text if row.mask != POLICY.text or text.count("\n") else f"{before}{text}"
        assert row.mask(surrounded) == surrounded

    check()


VENDORS = [
    *((prefix, re.escape(prefix) + rest) for prefixes, rest, _ in _BY_PREFIX for prefix in prefixes.split()),
    *((part, rest.rpartition(r"(?<=\\u[0-9a-fA-F]{4}))")[2].removeprefix(r"(?<!\d)")) for part, rest, _ in _BY_PART),
]


def test_each_key_of_a_vendor_is_masked() -> None:
    """A key is generated from the format itself; its beginning alone is none."""
    for prefix, form in VENDORS:

        @settings(max_examples=1, deadline=None, database=None)
        @given(st.from_regex(form, fullmatch=True), ROOM)
        def check(key: str, before: str) -> None:
            shown = mask_api_keys(f"{before}\n{key}\n")
            assert key not in shown
            assert FILTERED in shown

        check()
        for text in (f"{prefix}a", f"the prefix {prefix} of", f"{prefix}short"):
            assert mask_api_keys(text) == text


def test_every_rule_of_the_page_has_a_row() -> None:
    """And the other way round; continuation rows of a rule have no name."""
    on_page = [cells[1] for cells in rows("## By look") if cells[1] and cells[1][0] != "|"]
    assert sorted(MASKED) == sorted(on_page)
    others = [cells[0] for cells in rows("## What is not masked") if cells[0] and "attachment" not in cells[0]]
    assert sorted(NOT_MASKED) == sorted(others)


def test_every_module_with_a_rule_has_a_row() -> None:
    modules = {module.name for module in pkgutil.iter_modules(brain_otel.privacy.__path__)}
    covered = {name for row in RULES.values() for name in row.modules}
    assert modules - WITHOUT_VALUES == covered


def test_every_row_has_both_directions() -> None:
    assert [rule for rule, row in RULES.items() if not row.catches or not row.leaves] == []
    assert all(isinstance(row, Row) and row.leaves for row in NOT_MASKED.values())
