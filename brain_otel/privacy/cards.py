"""Masks the numbers of cards and bank accounts: the look of the number, and what speaks for it beside the number.

Orders, amounts and ids pass Luhn's check by chance, one number of ten. So a card needs its brand's first digits, its
brand's length, and also a separator between its groups, a name or a word nearby that speaks of cards.
"""

import re

from brain_otel.privacy.names import unquoted
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.text import word_set

_CARD = expression(
    r"(?<!\d)(?<!\d[.,])[2-6]\d{3}+(?:([ ./-]?)\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?|([ ./-]?)\d{6}\2\d{4,5})"
    r"(?!\d)(?![.,-]\d)"
)
_FOUR_DIGITS = expression(r"\d{4}")
"""Stand in every number of a card."""

_SPEAKS_OF_CARDS = expression(
    r"(?<![a-z])(?:cards?|credit|debit|pan|cc|visa|master ?card|amex|diners|maestro|charged?|charging|paid|payment)"
    r"(?![a-rt-z])|(?<![a-z])cardx?$",
    re.IGNORECASE,
)
_CARD_NAME = expression(
    r"(?<![a-z])(?:cards?|credit[_.-]?cards?|pan|cc(?:[_.-]?(?:num(?:ber)?|no))?)(?![a-z])", re.IGNORECASE
)
_NOT_A_CARD = expression(r"(?:type|brand|id|count|holder|country|network|scheme|expiry)$", re.IGNORECASE)
_NEAR = 24
"""Characters before a number within which a word speaks for it."""

_BRANDS = {
    13: ("4",),
    14: ("30", "36", "38"),
    15: ("34", "37"),
    16: (*word_set("4 35 5018 5020 6304 6759 6011 62 64 65"), *map(str, (*range(51, 56), *range(222, 273)))),
    19: ("4", "62"),
}
"""How many digits a number has, and the first digits of the large brands' numbers of that length."""

SMALLEST_CARD = 10**12
"""The smallest number with the digits of a card's."""

_IBAN = expression(
    r"[A-Z]{2}\d{2}(?<![A-Za-z0-9][A-Z]{2}\d{2})(?: ?[A-Z0-9]{4}){2,7}+"
    r"(?: ?[A-Z0-9]{1,3}(?![A-Z0-9]))?(?![A-Za-z0-9])"
)
_IBAN_LENGTHS = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
"""Characters of an account number by country: SWIFT's IBAN registry (ISO 13616), release 101."""

_COUNTRIES = {country: length for length, countries in _IBAN_LENGTHS.items() for country in countries.split()}


def mask_cards(text: str) -> str:
    """Mask the numbers of cards and of bank accounts in ``text``."""
    if not text.islower():
        text = _IBAN.sub(_mask_iban, text)
    return text if _FOUR_DIGITS.search(text) is None else _CARD.sub(_mask_card, text)


def mask_card_of(name: str, text: str) -> str:
    """Mask ``text`` that is a card's number, without separators, if ``name`` speaks of cards."""
    digits = unquoted(text)
    return FILTERED if digits.isascii() and digits.isdigit() and is_card_name(name) and is_card(digits) else text


def is_card_name(name: str) -> bool:
    """Whether a value of this name may be the number of a card."""
    return _CARD_NAME.search(name) is not None and _NOT_A_CARD.search(name) is None


def is_card(digits: str) -> bool:
    """Whether ``digits`` are the number of a large brand's card and pass Luhn's check (ISO/IEC 7812-1)."""
    if not digits.startswith(_BRANDS.get(len(digits), ())):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(each - 9 if each > 9 else each for each in doubled) % 10 == 0 and len(set(digits)) > 1


def _mask_card(match: re.Match[str]) -> str:
    separator = match[1] or match[2]
    digits = match[0].replace(separator, "") if separator else match[0]
    if not is_card(digits):
        shorter, _, rest = match[0].rpartition(separator) if separator else ("", "", "")
        return f"{FILTERED}{separator}{rest}" if is_card(shorter.replace(separator or " ", "")) else match[0]
    before = match.string[max(0, match.start() - _NEAR) : match.start()]
    return FILTERED if separator or _SPEAKS_OF_CARDS.search(before) else match[0]


def _mask_iban(match: re.Match[str]) -> str:
    """Mask an account number whose length is its country's and whose remainder is 1 (ISO 7064, mod 97-10)."""
    length = _COUNTRIES.get(match[0][:2], 0)
    end = length
    while (missing := length - len(match[0][:end].replace(" ", ""))) and end < len(match[0]):
        end += missing
    number = match[0][:end].replace(" ", "")
    digits = "".join(str(int(each, 36)) for each in number[4:] + number[:4])
    is_whole = len(number) == length and (end == len(match[0]) or match[0][end] == " ")
    return FILTERED + match[0][end:] if is_whole and int(digits) % 97 == 1 else match[0]
