"""Tests of the numbers of cards and of bank accounts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy
from brain_otel.privacy.cards import _COUNTRIES, is_card, mask_cards

POLICY = Policy()
CARDS = ("4242424242424242", "5555555555554444", "2223003122003222", "6011111111111117", "6205500000000000004")


def groups_of(digits: str, separator: str) -> str:
    return separator.join(digits[place : place + 4] for place in range(0, len(digits), 4))


@given(
    card=st.sampled_from(CARDS), separator=st.sampled_from(" -./"), before=st.text(max_size=20),
    after=st.text(max_size=20),
)  # fmt: skip
def test_a_card_in_groups_is_masked(card: str, separator: str, before: str, after: str) -> None:
    text = f"{before} {groups_of(card, separator)} {after}"
    assert groups_of(card, separator) not in mask_cards(text)


@given(
    card=st.sampled_from(CARDS), word=st.sampled_from(["card", "PAN: ", "credit card ", "charged ", "cc=", "Visa "]),
    between=st.sampled_from(["", " ", "-", "_", " no. ", "_number="]),
)  # fmt: skip
def test_a_word_before_it_speaks_for_a_card(card: str, word: str, between: str) -> None:
    assert card not in mask_cards(f"{word}{between}{card} declined")


@given(
    card=st.sampled_from(CARDS), word=st.sampled_from(["order", "", "id=", "wei: ", "at ", "discard ", "scorecard x"])
)
def test_a_number_alone_stays(card: str, word: str) -> None:
    """One of ten numbers passes Luhn's check."""
    assert mask_cards(f"{word} {card} shipped") == f"{word} {card} shipped"


@pytest.mark.parametrize("name", ["card_number", "payment.card", "creditCard", "cc", "cc_num", "pan"])
def test_the_name_speaks_for_a_card(name: str) -> None:
    assert POLICY.value({name: CARDS[0]}) == {name: FILTERED}
    assert POLICY.value({name: int(CARDS[0])}) == {name: FILTERED}


def test_a_card_has_the_name_of_the_mapping_that_holds_it() -> None:
    given = {"card": {"number": int(CARDS[0]), "text": CARDS[1], "type": "visa"}, "order": {"number": int(CARDS[0])}}
    assert POLICY.value(given) == {
        "card": {"number": FILTERED, "text": FILTERED, "type": "visa"},
        "order": {"number": int(CARDS[0])},
    }


@given(st.integers(10**12, 10**19))
def test_a_number_that_fails_luhns_check_is_no_card(number: int) -> None:
    text = str(number)
    wrong = text[:-1] + str((int(text[-1]) + 1) % 10)
    assert not (is_card(text) and is_card(wrong))


def iban(country: str, body: str) -> str:
    """An account number with the right check digits (ISO 7064)."""
    body = body[: _COUNTRIES[country] - 4].ljust(_COUNTRIES[country] - 4, "7")
    rest = int("".join(str(int(each, 36)) for each in f"{body}{country}00")) % 97
    return f"{country}{98 - rest:02}{body}"


@given(
    country=st.sampled_from(sorted(_COUNTRIES)), body=st.text("0123456789ABCDEFXYZ", max_size=30),
    before=st.sampled_from(["", "IBAN ", "to:", "(", '"']), after=st.sampled_from(["", " EUR", ", please", ")", '"']),
    is_grouped=st.booleans(),
)  # fmt: skip
def test_an_account_number_is_masked(country: str, body: str, before: str, after: str, is_grouped: bool) -> None:
    number = iban(country, body)
    shown = mask_cards(f"{before}{groups_of(number, ' ') if is_grouped else number}{after}")
    assert shown == f"{before}{FILTERED}{after}"


@given(country=st.sampled_from(sorted(_COUNTRIES)), body=st.text("0123456789", min_size=30), step=st.integers(1, 8))
def test_a_wrong_check_digit_or_country_is_no_account(country: str, body: str, step: int) -> None:
    number = iban(country, body)
    wrong = number[:-1] + str((int(number[-1]) + step) % 10)
    assert mask_cards(wrong) == wrong
    assert mask_cards(f"RF{number[2:]}") == f"RF{number[2:]}"
