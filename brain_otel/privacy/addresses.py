"""Masks the credentials in addresses: before the host, in a path and in a query."""

from __future__ import annotations

import re

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

_HOST = r"(?=(?:[\w.-]{1,255}+|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?(?:[,/?#\s\"'&)\]}]|$))"
_CREDENTIALS = expression(
    rf"""
    (?<=:/)/?+ (?! \[ [0-9a-fA-F:.]{{2,45}} \] ) (?: (?P<user>[^\s/?#@:\"'<>]{{1,256}}+)@ | @
      | [^\s/?#@:\"'<>]{{0,256}}+ : (?! \d{{1,5}} (?:[/?#\s\"']|$) )
        (?: (?: [^\s@\"'<>]{{0,256}}+ @ ){{1,4}}? {_HOST} | (?: [^\s@\"'<>]{{0,256}}+ @ ){{1,4}}+ ) )
    """,
    re.VERBOSE,
)
"""User and password, which may hold ``#``, ``?``, ``/`` and ``@``; the host follows. ``:8080/`` is no password."""

_USER_NAME = expression(r"[a-z][a-z._-]{0,19}+\d{0,2}$")
_ORACLE = expression(r"(?P<kept>thin:\w{1,64}+/)[^\s@/]{1,256}+(?=@)|(?P<easy>\b\w{1,64}+/)[^\s@/]{1,256}+(?=@//)")
_GO = expression(r"(?P<kept>\b[\w.-]{1,64}+:)[^\s@\"']{1,256}+(?=@(?:tcp|udp|unix)\()")
_NETLOC = expression(r"(?P<kept>netloc=['\"])[^'\"@]{1,512}+(?=@)")
_PGPASS = expression(
    r"(?m)^(?=[\w.-]{0,255}[A-Za-z*])([\w.*-]{1,255}+:(?:\d{4,5}|\*):[\w*-]{1,64}+:[\w*-]{1,64}+:)(?!\d++$)\S++$"
)

_PATH = expression(r"/[^\s\"'<>?#]{16,}+")
_LAST_WORD = expression(r"[\w-]{0,33}+$")
_LONG_SEGMENT = expression(r"/[\w-]{16}")
_IN_A_WORD = expression(r"[\w.+=/~-]")
_SEGMENT = expression(r"(?<=/)[\w-]{16,256}+(?!\.\w|[~%@+=:])")
_INVITES = expression(
    r"(?<![\w-])(?:magic|reset|token|confirm|verify|activate|unsubscribe|invit|auth|login|session|secret|password|key|share"
    r"|one[-_]?time|otp|sso|callback|recover)[a-z_-]{0,16}$",
    re.IGNORECASE,
)
"""The part of a path before a token."""

_SHORT, _LONG = 16, 32
"""Characters of a token in a path after a word that speaks of one, and after another."""

_HEX = expression(r"[0-9a-fA-F-]+$")
_CHANGES = expression(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[a-zA-Z])")
_ONE_TIME = frozenset(
    {"code", "state", "nonce", "key", "ticket", "hash", "hmac", "assertion", "verifier", "code_verifier", "oobcode"}
    | {"samlresponse", "samlrequest", "relaystate", "invite", "invitation", "proof"}
)
"""Parameters of OAuth, OpenID Connect, SAML and links in mails, which are secrets if they are random."""


def mask_address_credentials(text: str) -> str:
    """Mask the credentials before hosts and in paths."""
    if "@" in text:
        if ":/" in text:
            text = _CREDENTIALS.sub(_mask_credentials, text)
        if "@tcp(" in text or "@unix(" in text or "@udp(" in text:
            text = _GO.sub(rf"\g<kept>{FILTERED}", text)
        if "/" in text:
            text = _ORACLE.sub(lambda found: f"{found['kept'] or found['easy']}{FILTERED}", text)
        if "netloc=" in text:
            text = _NETLOC.sub(rf"\g<kept>{FILTERED}", text)
    if text.count(":") >= 4:
        text = _PGPASS.sub(rf"\1{FILTERED}", text)
    return _PATH.sub(_mask_path, text) if _LONG_SEGMENT.search(text) is not None else text


def is_one_time(name: str, value: str) -> bool:
    """Whether a parameter of a query is a code or key that is random: ``code=404`` is none."""
    return name.lower() in _ONE_TIME and len(value) >= _SHORT and _is_random(value)


def _mask_credentials(match: re.Match[str]) -> str:
    user = match["user"]
    slash = "/" if match[0].startswith("/") else ""
    if user is not None and _USER_NAME.match(user):
        return match[0]
    return match[0] if match[0].lstrip("/") == "@" else f"{slash}{FILTERED}@"


def _mask_path(match: re.Match[str]) -> str:
    start = match.start()
    if start and _IN_A_WORD.match(match.string, start - 1):  # of a fraction, base64, or a path without first slash
        word = _LAST_WORD.search(match.string[max(0, start - 33) : start])[0]  # type: ignore[index]  # it matches ""
        return _SEGMENT.sub(_mask_invited, f"{word}{match[0]}")[len(word) :]
    return _SEGMENT.sub(_mask_segment, match[0])


def _mask_segment(match: re.Match[str]) -> str:
    token = match[0]
    has_all = any(map(str.islower, token)) and any(map(str.isupper, token)) and any(map(str.isdigit, token))
    return FILTERED if len(token) >= _LONG and has_all and _is_random(token) else _mask_invited(match)


def _mask_invited(match: re.Match[str]) -> str:
    """Mask a part of a path after a word that speaks of a token."""
    before = match.string[max(0, match.start() - 33) : match.start() - 1]
    return FILTERED if _INVITES.search(before) is not None and _is_random(match[0]) else match[0]


def _is_random(text: str) -> bool:
    """Whether ``text`` is no word, slug, hash, UUID or ULID: the kind of its characters changes often."""
    if _HEX.match(text) or text.isupper() or not any(map(str.isdigit, text)):
        return False
    return 4 * len(_CHANGES.findall(text)) >= len(text)
