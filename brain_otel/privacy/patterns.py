"""Masks secrets in a text by their look: credentials, tokens, keys and card numbers, whatever their name.

Every expression takes time linear in the length of the text: a repetition is possessive, bounded, or the end of its
expression. A test makes near-matches of each expression from its own parts.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from brain_otel.privacy.api_keys import mask_api_keys
from brain_otel.privacy.settings import FILTERED, Rules
from brain_otel.runtime.lazy_regex import expression

_BEARER = expression(r"\b(bearer[ \t]{1,8}+)(?=[^\s\"',;]*[0-9._~+/=-])([\w.~+/=-]{6,}+)", re.IGNORECASE)
_BASIC = expression(r"\b(basic[ \t]{1,8}+)([A-Za-z0-9+/_-]{4,}+={0,2}+)", re.IGNORECASE)
_JWT = expression(r"\beyJ[\w-]{8,}+(?:\.[\w-]*+){0,4}+")
_PRIVATE_KEY = expression(r"-----BEGIN (?:[A-Z0-9]{1,16}+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PRIVATE_KEY_END = expression(r"-----END (?:[A-Z0-9]{1,16}+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_URL_CREDENTIALS = expression(
    r"(?<=://)(?:[^\s/?#@\"'<>]{0,1024}+@|[^\s/?#@:\"'<>]{0,256}+:(?!\d{1,5}(?:[/?#\s\"']|$))[^\s?#@\"'<>]{0,1024}+@)+"
)
_CARD = expression(r"(?<![\w.+-])(?:[2-6]\d{3}(?:([ -]?)\d{4}\1\d{4}\1\d{1,7}|([ -]?)\d{6}\2\d{4,5}))(?![\w-]|\.\d)")
_BRANDS = (
    ("4", (13, 16, 19)),
    ("34", (15,)),
    ("37", (15,)),
    ("36", (14,)),
    ("38", (14,)),
    ("30", (14,)),
    ("35", (16,)),
    ("5018", (16,)),
    ("5020", (16,)),
    ("6304", (16,)),
    ("6759", (16,)),
    ("6011", (16,)),
    ("62", (16, 19)),
    ("64", (16,)),
    ("65", (16,)),
    *((str(number), (16,)) for number in range(51, 56)),
    *((str(number), (16,)) for number in range(222, 273)),
)
"""The first digits of the large brands' numbers, and how many digits such a number has."""

SMALLEST_CARD = 10**12
"""The smallest number with the digits of a card's."""

MIN_LENGTH = 6
"""Characters of the shortest text that may look like a secret."""


def create_pattern_mask(rules: Rules) -> Callable[[str], str]:
    """Create the function that masks what looks like a secret in a text; it returns a text without one itself."""
    masks = [mask for name, mask in _MASKS.items() if getattr(rules, name)]

    def mask_by_look(text: str) -> str:
        for mask in masks:
            text = mask(text)
        return text

    return mask_by_look


def is_card(digits: str) -> bool:
    """Whether ``digits`` are the number of a large brand's card and pass Luhn's check (ISO/IEC 7812-1)."""
    if not any(len(digits) in lengths and digits.startswith(start) for start, lengths in _BRANDS):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(each - 9 if each > 9 else each for each in doubled) % 10 == 0 and len(set(digits)) > 1


def _mask_authorization(text: str) -> str:
    if " " not in text and "\t" not in text:
        return text
    lower = text.lower()
    if "bearer" in lower:
        text = _BEARER.sub(rf"\1{FILTERED}", text)
    return _BASIC.sub(_mask_basic, text) if "basic" in lower else text


def _mask_basic(match: re.Match[str]) -> str:
    """Mask ``Basic`` credentials, which decode to ``user:password``; ``basic understanding`` does not."""
    given = match[2].rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        decoded = base64.b64decode(given + "=" * (-len(given) % 4), validate=True)
    except (binascii.Error, ValueError):
        return match[0]
    return f"{match[1]}{FILTERED}" if b":" in decoded else match[0]


def _mask_jwt(text: str) -> str:
    return _JWT.sub(FILTERED, text) if "eyJ" in text else text


def _mask_private_keys(text: str) -> str:
    """Mask private keys, and all the text that belongs to one whose beginning or end was cut off."""
    if "PRIVATE KEY" not in text:
        return text
    parts: list[str] = []
    position = 0
    while True:
        begin = _PRIVATE_KEY.search(text, position)
        end = _PRIVATE_KEY_END.search(text, begin.end() if begin else position)
        if begin is None:
            if end is not None:
                parts = [FILTERED]
                position = end.end()
            return "".join(parts) + text[position:]
        parts += [text[position : begin.start()], FILTERED]
        if end is None:
            return "".join(parts)
        position = end.end()


def _mask_cards(text: str) -> str:
    return _CARD.sub(_mask_card, text)


def _mask_card(match: re.Match[str]) -> str:
    return FILTERED if is_card(match[0].replace(" ", "").replace("-", "")) else match[0]


def _mask_url_credentials(text: str) -> str:
    return _URL_CREDENTIALS.sub(f"{FILTERED}@", text) if "://" in text and "@" in text else text


_MASKS: dict[str, Callable[[str], str]] = {
    "private_keys": _mask_private_keys,
    "url_credentials": _mask_url_credentials,
    "authorization": _mask_authorization,
    "jwt": _mask_jwt,
    "api_keys": mask_api_keys,
    "cards": _mask_cards,
}
