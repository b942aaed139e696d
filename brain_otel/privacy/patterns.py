"""Masks secrets in a text by their look: credentials, tokens, keys and card numbers, whatever their name.

Every expression takes time linear in the length of the text: a repetition is possessive, bounded, or the end of its
expression. A test makes near-matches of each expression from its own parts.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from brain_otel.privacy.addresses import mask_address_credentials
from brain_otel.privacy.api_keys import mask_api_keys
from brain_otel.privacy.cards import mask_cards
from brain_otel.privacy.remarks import is_outcome
from brain_otel.privacy.settings import FILTERED, Rules
from brain_otel.runtime.lazy_regex import expression

_BEARER = expression(
    r"\b(bearer(?:[ \t]{1,8}+|\.(?=[\w-]{16})))(?!\w{1,32}=[\"'])"
    r"(?:[\w.~+/=-]{20,}+|(?=(?:[^\W\d]|[.~+/=-])*+\d)[\w.~+/=-]{6,}+)",
    re.IGNORECASE,
)
_BASIC = expression(r"\b(basic[ \t]{1,8}+)([A-Za-z0-9+/_-]{4,}+={0,2}+)", re.IGNORECASE)
_DIGEST = expression(r"\b(Digest[ \t]{1,8}+username=)[^\r\n]++", re.IGNORECASE)
_SMTP = expression(r"\b(AUTH (?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER|CRAM-MD5) )[A-Za-z0-9+/=]{8,}+")
_CREDENTIALS = (
    r"(?:[\"']?[ ]{1,4}[\"']?|(?:\\r\\n|\r\n)\$\d{1,4}(?:\\r\\n|\r\n)))((?:[\w.@-]{1,64}[\"']?[ ][\"']?)?)"
    r"(?!(?:CRAM|DIGEST|SCRAM|NTLM|GSSAPI|X?OAUTH|PLAIN|LOGIN|ANONYMOUS|EXTERNAL)\b|\[Filtered)"
    r"(?=[^\s\"']{0,64}[\d!@#$%^&*+~])[^\s\"',;)\\]{4,256}+"
)
_LOG_IN = expression(
    r"((?:AUTH(?:(?<=\bAUTH)|(?<=\\nAUTH))|PASS(?:(?<=>PASS)|(?<=> PASS)|(?<=C: PASS))|IDENTIFY(?<=\bIDENTIFY))"
    + _CREDENTIALS
)
_IMAP_LOG_IN = expression(r"(\b[A-Za-z]{0,4}\d{1,6} LOGIN \S{1,128}+" + _CREDENTIALS)
"""Log-ins of Redis, FTP, POP3, IMAP and IRC; a plain word is said about one."""
_LENGTH = r"(?:\\r\\n|\r\n)\$\d{1,4}(?:\\r\\n|\r\n)"
"""Between the words of a command in Redis' protocol."""

_AUTH_WORD = expression(
    r"((?:(?:\d|redis|valkey)>[ ]AUTH[ ]|(?:\][ ]|^)\"AUTH\"[ ]\")(?:[\w.@-]{1,64}+\"?[ ]\"?)?+"
    rf"|\b(?i:redis|valkey|cache)[\w.-]{{0,64}}:[ ]AUTH[ ]|AUTH{_LENGTH}(?:[\w.@-]{{1,64}}+{_LENGTH})?+)"
    r"(?!\[Filtered)([^\s\"\\]{4,256}+)(?=\"?[ \t]*+$|\\r\\n|\r\n)",
    re.MULTILINE,
)
"""A log-in at the prompt of ``redis-cli``, in what ``MONITOR`` prints, or in a log; it may be a plain word."""

_TELLING_SIGN = expression(r"[\d!@#$%^&*+~]")
"""What such a password has, and a plain word has not."""

_COOKIE = expression(r"(<Cookie [^=\s]{1,128}+=)[^\s]++(?= for )")
_JWT = expression(
    r"\b(?:eyJ[\w-]{8,}+(?:(?:\.|%2E)[\w-]*+|=?(?:\r?\n|\\r\\n|\\n)[ \t]{0,64}+(?=[\w-]{16})[\w-]++){0,8}+"
    r"|ZXlK[\w+/-]{40,}+={0,2})"
)
"""Three parts, which may be broken over lines, and a token that is encoded once more."""

_KEY_EDGE = expression(r"-----(?:BEGIN|(?P<end>END)) (?:[A-Z0-9]{1,16}+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PUTTY = expression(r"(Private-Lines: \d{1,4}+\s{1,4}+)(?:[^P]++|P(?!rivate-MAC))*+", re.DOTALL)
_ENCODED_KEY = expression(r"\bLS0tLS1CRUdJTi[A-Za-z0-9+/]{8,}+={0,2}+")
"""``-----BEGIN`` in base64, as in a Kubernetes' configuration."""


def create_pattern_mask(rules: Rules) -> Callable[[str], str]:
    """Create the function that masks what looks like a secret in a text; it returns a text without one itself."""
    masks = [mask for name, mask in _MASKS.items() if getattr(rules, name)]

    def mask_by_look(text: str) -> str:
        for mask in masks:
            text = mask(text)
        return text

    return mask_by_look


def _mask_authorization(text: str) -> str:
    lower = text.lower()
    if "bearer" in lower:
        text = _BEARER.sub(rf"\1{FILTERED}", text)
    if "AUTH " in text:
        text = _SMTP.sub(rf"\1{FILTERED}", text)
    if ("AUTH" in text or "PASS" in text or "IDENTIFY" in text) and _TELLING_SIGN.search(text) is not None:
        text = _LOG_IN.sub(rf"\1\2{FILTERED}", text)
    if "AUTH" in text:
        text = _AUTH_WORD.sub(lambda found: found[0] if is_outcome(found[2]) else f"{found[1]}{FILTERED}", text)
    if " LOGIN " in text:
        text = _IMAP_LOG_IN.sub(rf"\1\2{FILTERED}", text)
    if "digest" in lower:
        text = _DIGEST.sub(rf"\1{FILTERED}", text)
    if "<Cookie " in text:
        text = _COOKIE.sub(rf"\1{FILTERED}", text)
    return _BASIC.sub(_mask_basic, text) if "basic" in lower else text


def _mask_basic(match: re.Match[str]) -> str:
    """Mask ``Basic`` credentials, which decode to ``user:password``; ``basic understanding`` does not."""
    given = match[2].rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        decoded = base64.b64decode(given + "=" * (-len(given) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return match[0]
    return f"{match[1]}{FILTERED}" if ":" in decoded and decoded.isprintable() else match[0]


def _mask_jwt(text: str) -> str:
    return _JWT.sub(FILTERED, text) if "eyJ" in text or "ZXlK" in text else text


def _mask_private_keys(text: str) -> str:
    """Mask private keys, and all the text that belongs to one whose beginning or end was cut off."""
    if "Private-Lines" in text:
        text = _PUTTY.sub(rf"\1{FILTERED}\n", text)
    if "LS0tLS1CRUdJTi" in text:
        text = _ENCODED_KEY.sub(_mask_encoded_key, text)
    if "PRIVATE KEY" not in text:
        return text
    parts: list[str] = []
    done = 0
    is_open = False
    for edge in _KEY_EDGE.finditer(text):
        if edge["end"]:
            parts += ["" if is_open else FILTERED]  # its beginning was cut off
            done, is_open = edge.end(), False
        elif not is_open:
            parts += [text[done : edge.start()], FILTERED]
            is_open = True
    return "".join(parts if is_open else [*parts, text[done:]])


def _mask_encoded_key(match: re.Match[str]) -> str:
    """Mask a private key; a certificate begins in the same way."""
    begin = match[0][: len(match[0]) // 4 * 4][:48]
    return FILTERED if b"PRIVATE" in base64.b64decode(begin) else match[0]


_MASKS: dict[str, Callable[[str], str]] = {
    "private_keys": _mask_private_keys,
    "url_credentials": mask_address_credentials,
    "authorization": _mask_authorization,
    "jwt": _mask_jwt,
    "api_keys": mask_api_keys,
    "cards": mask_cards,
}
