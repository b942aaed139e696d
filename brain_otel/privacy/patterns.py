"""Values that are secrets by their look, wherever they stand.

Every expression is linear in the length of the text: none has a repetition within a repetition over the same
characters, and what may be long has a bound. A test holds them against hostile texts.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.privacy.settings import Rules

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
"""How the numbers of the large brands begin, and their lengths."""

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
"""No text that is shorter shows itself to be a secret."""


def create_patterns(rules: Rules) -> Callable[[str], str]:
    """Make the function that masks in a text what looks like a secret; a text without one is given back itself."""
    steps = [step for name, step in _STEPS.items() if getattr(rules, name)]

    def masked(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return masked


def is_card(digits: str) -> bool:
    """Whether ``digits`` are a card's number: a large brand's, and they pass Luhn's check (ISO/IEC 7812-1)."""
    if not any(len(digits) in lengths and digits.startswith(start) for start, lengths in _BRANDS):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(each - 9 if each > 9 else each for each in doubled) % 10 == 0 and len(set(digits)) > 1


def _authorization(text: str) -> str:
    if " " not in text and "\t" not in text:
        return text
    lower = text.lower()
    if "bearer" in lower:
        text = _BEARER.sub(rf"\1{FILTERED}", text)
    return _BASIC.sub(_masked_basic, text) if "basic" in lower else text


def _masked_basic(match: re.Match[str]) -> str:
    """``Basic`` and what decodes to a user and a password; ``basic understanding`` does not."""
    given = match[2].rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        decoded = base64.b64decode(given + "=" * (-len(given) % 4), validate=True)
    except (binascii.Error, ValueError):
        return match[0]
    return f"{match[1]}{FILTERED}" if b":" in decoded else match[0]


def _jwt(text: str) -> str:
    return _JWT.sub(FILTERED, text) if "eyJ" in text else text


def _private_keys(text: str) -> str:
    """Without the keys; of one whose end or beginning was cut off, without all there is of it."""
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


def _cards(text: str) -> str:
    return _CARD.sub(_masked_card, text)


def _masked_card(match: re.Match[str]) -> str:
    return FILTERED if is_card(re.sub(r"[ -]", "", match[0])) else match[0]


def _url_credentials(text: str) -> str:
    return _URL_CREDENTIALS.sub(f"{FILTERED}@", text) if "://" in text and "@" in text else text


def _api_keys(text: str) -> str:
    return _API_KEY.sub(FILTERED, text)


_STEPS: dict[str, Callable[[str], str]] = {
    "private_keys": _private_keys,
    "url_credentials": _url_credentials,
    "authorization": _authorization,
    "jwt": _jwt,
    "api_keys": _api_keys,
    "cards": _cards,
}
