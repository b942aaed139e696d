"""Masks secrets in a text by their look: credentials, tokens, keys and card numbers, whatever their name.

Every expression takes time linear in the length of the text: none repeats a repetition over the same characters, and
repetitions that may match long texts are bounded. A test runs them on hostile texts.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from brain_otel.privacy.settings import FILTERED, Rules
from brain_otel.runtime.lazy_regex import expression

_BEARER = expression(r"\b(bearer[ \t]{1,8})(?=[^\s\"',;]*[0-9._~+/=-])([\w.~+/=-]{6,})", re.IGNORECASE)
_BASIC = expression(r"\b(basic[ \t]{1,8})([A-Za-z0-9+/_-]{4,}={0,2})", re.IGNORECASE)
_JWT = expression(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}")
_PRIVATE_KEY = expression(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PRIVATE_KEY_END = expression(r"-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_URL_CREDENTIALS = expression(
    r"(?<=://)(?:[^\s/?#@\"'<>]{0,1024}@|[^\s/?#@:\"'<>]{0,256}:(?!\d{1,5}(?:[/?#\s\"']|$))[^\s?#@\"'<>]{0,1024}@)+"
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

_API_KEY = expression(
    r"""(?<![A-Za-z0-9]) (?:
      (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b                          # Amazon
    | AIza[\w-]{30,}  | ya29\.[\w.-]{10,} | GOCSPX-[\w-]{10,}        # Google
    | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,}
    | gl(?:pat|dt|rt|ptt|cbt|soat)-[\w.-]{16,}                       # GitLab
    | xox[a-z]-[\w-]{8,} | xapp-[\w-]{10,}                           # Slack
    | (?:sk|rk)_(?:live|test)_\w{10,} | whsec_[\w+/=]{10,}           # Stripe
    | sk-(?:[a-z0-9]{2,12}-){0,3}[A-Za-z0-9_]{16,}[\w-]*             # OpenAI, Anthropic and their like
    | SG\.[\w-]{16,}\.[\w-]{16,} | SK[0-9a-f]{32}\b                  # SendGrid, Twilio
    | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{16,} | hf_[A-Za-z0-9]{20,}
    | do[opr]_v1_[0-9a-f]{32,} | dapi[0-9a-f]{32} | dop_v1_\w{32,}   # DigitalOcean, Databricks
    | shp(?:at|ca|pa|ss)_[0-9a-fA-F]{24,} | sq0(?:atp|csp)-[\w-]{20,}
    | key-[0-9a-f]{32}\b | \d{8,10}:AA[\w-]{32,}                     # Mailgun, Telegram
    | lin_api_\w{20,} | PMAK-[\w-]{20,} | NRAK-[A-Z0-9]{20,} | gl(?:sa|c)_[\w+/=-]{20,}
    | sntry[su]_[\w+/=-]{20,} | hv[sb]\.[\w-]{20,} | dp\.[a-z]{2,5}\.[A-Za-z0-9]{20,}
    | gsk_[A-Za-z0-9]{20,} | xai-[A-Za-z0-9]{20,} | r8_[A-Za-z0-9]{20,} | AGE-SECRET-KEY-1[A-Z0-9]{20,}
    | T[A-Z0-9]{8,10}/B[A-Z0-9]{8,10}/[A-Za-z0-9]{20,}               # the end of a Slack webhook's address
    )""",
    re.VERBOSE,
)

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
    return FILTERED if is_card(re.sub(r"[ -]", "", match[0])) else match[0]


def _mask_url_credentials(text: str) -> str:
    return _URL_CREDENTIALS.sub(f"{FILTERED}@", text) if "://" in text and "@" in text else text


def _mask_api_keys(text: str) -> str:
    return _API_KEY.sub(FILTERED, text)


_MASKS: dict[str, Callable[[str], str]] = {
    "private_keys": _mask_private_keys,
    "url_credentials": _mask_url_credentials,
    "authorization": _mask_authorization,
    "jwt": _mask_jwt,
    "api_keys": _mask_api_keys,
    "cards": _mask_cards,
}
