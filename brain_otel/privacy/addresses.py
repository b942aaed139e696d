"""Masks the credentials in addresses: before the host, in a path and in a query."""

import re

from brain_otel.privacy.bounded_matches import sub_first
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.text import word_set

_HOST = expression(
    r"(?:[\w.-]{1,255}+|\[[0-9a-fA-F:.]{2,45}\])(?::\d{1,5})?"
    r"(?:[,/\s\"'&)\]}]|#(?![^@]*+@)|\?(?![^=@]*+@)|$)"
)
"""A host and what ends it. An ``@`` in what would be a fragment, or a query without ``=``, shows that it is none."""

_ADDRESS = expression(r"(?<=:/)/?+([^\s\"'<>]++)")
_AUTHORITY = expression(r"(?!\[[0-9a-fA-F:.]{2,45}\])([^/?#@:]*+)(?:(@)|:(?!\d{1,5}+(?:[/?#]|$)))")
"""The user of an address, and what follows: ``@``, or a password. ``:8080/`` is no password."""

_PORT = expression(r"\d{1,5}+[,;|][a-z+]{1,20}+$")
"""A port, and the scheme of the next address."""

_USER_NAME = expression(r"[a-z][a-z._-]{0,19}+\d{0,2}$")
_ORACLE = expression(r"(?P<kept>thin:\w{1,64}+/)[^\s@/]++(?=@)|(?P<easy>\b\w{1,64}+/)[^\s@/]++(?=@//)")
_GO = expression(r"(?<![^\s\"'])(?P<kept>[^\s\"':@]{1,128}+:)[^\s@\"']++(?=@(?:tcp|udp|unix)\()")
_NETLOC = expression(r"(?P<kept>netloc=['\"])[^'\"@]++(?=@)")
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

_HEX = expression(r"[0-9a-fA-F-]++$")
_CHANGES = expression(r"[a-z](?=[A-Z0-9])|[A-Z](?=[a-z0-9])|[0-9](?=[a-zA-Z])")
_BEFORE_A_TOKEN = word_set("bearer basic token access_token access-token authorization auth jwt")
_ONE_TIME = word_set("""
    code state nonce key ticket hash hmac assertion verifier code_verifier oobcode samlresponse samlrequest
    relaystate invite invitation proof
""")
"""Parameters of OAuth, OpenID Connect, SAML and links in mails, which are secrets if they are random."""


_PARAMETER = expression(r"(?<=[?&#])([\w.-]{1,32}+)=([^\s&\"'<>#)]++)")
_CODE = expression(r"(?=\D*+\d)[\w.~+/=%-]{6,}+$")
_SHORT_NAMES = frozenset("ctkhi") | {"sig", "signature", "link", "otp", "pin"}
_NEAR = 512
"""Characters before a parameter within which its path is searched."""


def mask_address_credentials(text: str) -> str:
    """Mask the credentials before hosts and in paths."""
    if "@" in text:
        if ":/" in text:
            text = sub_first(_ADDRESS, _mask_address, text)
        if "@tcp(" in text or "@unix(" in text or "@udp(" in text:
            text = _GO.sub(rf"\g<kept>{FILTERED}", text)
        if "/" in text:
            text = _ORACLE.sub(lambda found: f"{found['kept'] or found['easy']}{FILTERED}", text)
        if "netloc=" in text:
            text = _NETLOC.sub(rf"\g<kept>{FILTERED}", text)
    if "=" in text and ("?" in text or "&" in text):
        text = sub_first(_PARAMETER, _mask_parameter, text)
    if text.count(":") >= 4:
        text = _PGPASS.sub(rf"\1{FILTERED}", text)
    return sub_first(_PATH, _mask_path, text) if _LONG_SEGMENT.search(text) is not None else text


def mask_protocols(protocols: str) -> str:
    """Mask a token among the protocols of a WebSocket: a browser can send one in no other header."""
    first, *others = protocols.split(",")
    speaks_of_token = first.strip().lower() in _BEFORE_A_TOKEN
    shown = [
        FILTERED if speaks_of_token or (len(each) >= _SHORT and is_random(each)) else each
        for each in map(str.strip, others)
    ]
    return ", ".join([FILTERED if len(first) >= _SHORT and is_random(first) else first, *shown])


def is_one_time(name: str, value: str) -> bool:
    """Whether a parameter of a query is a code or key that is random: ``code=404`` is none."""
    return name.lower() in _ONE_TIME and len(value) >= _SHORT and is_random(value)


def _mask_address(match: re.Match[str]) -> str:
    """Mask the credentials of an address, and of others that follow it without a space."""
    slash = match[0][: len(match[0]) - len(match[1])]
    addresses: list[list[str]] = []
    is_open = False
    for part in match[1].split("://"):
        if is_open:
            addresses[-1].append(part)
        else:
            addresses.append([part])
        is_open = "@" not in part and (is_open or _begins_password(part))
    return slash + "://".join(_mask_authority("://".join(parts)) for parts in addresses)


def _begins_password(address: str) -> bool:
    """Whether a password begins, which may hold ``://``. In ``db:5432,redis``, another address follows a port."""
    user = _AUTHORITY.match(address)
    return user is not None and not user[2] and _PORT.match(address, user.end()) is None


def _mask_authority(address: str) -> str:
    end = _credentials_end(address)
    return f"{FILTERED}{address[end:]}" if end > 0 else address


def _credentials_end(address: str) -> int:
    """Where the ``@`` after user and password stands; 0 if the address has no credentials.

    A password may hold ``#``, ``?``, ``/`` and ``@``: it ends at the first ``@`` that a host follows.
    """
    user = _AUTHORITY.match(address)
    if user is None or (user[2] and (not user[1] or _USER_NAME.match(user[1]))):
        return 0
    if user[2]:
        return user.end() - 1
    place = last = address.find("@", user.end())
    while place >= 0 and _HOST.match(address, place + 1) is None:
        last = place
        place = address.find("@", place + 1)
    return max(place if place >= 0 else last, 0)


def _mask_parameter(match: re.Match[str]) -> str:
    """Mask a one-time code of a query, by its value, or by the path before: ``/verify?code=839201``."""
    name, value = match[1], match[2]
    before = match.string[max(0, match.start() - _NEAR) : match.start()].rpartition("?")[0]
    is_invited = any(_INVITES.match(part) for part in before.rpartition(" ")[2].split("/")[-3:])
    is_code = is_invited and _CODE.match(value) is not None and name.lower() in _ONE_TIME | _SHORT_NAMES
    return f"{name}={FILTERED}" if is_code or is_one_time(name, value) else match[0]


def _mask_path(match: re.Match[str]) -> str:
    start = match.start()
    if start and _IN_A_WORD.match(match.string, start - 1):  # of a fraction, base64, or a path without first slash
        word = _LAST_WORD.search(match.string[max(0, start - 33) : start])[0]  # type: ignore[index]  # it matches ""
        return _SEGMENT.sub(_mask_invited, f"{word}{match[0]}")[len(word) :]
    return _SEGMENT.sub(_mask_segment, match[0])


def _mask_segment(match: re.Match[str]) -> str:
    token = match[0]
    has_all = any(map(str.islower, token)) and any(map(str.isupper, token)) and any(map(str.isdigit, token))
    return FILTERED if len(token) >= _LONG and has_all and is_random(token) else _mask_invited(match)


def _mask_invited(match: re.Match[str]) -> str:
    """Mask a part of a path after a word that speaks of a token."""
    before = match.string[max(0, match.start() - 33) : match.start() - 1]
    return FILTERED if _INVITES.search(before) is not None and is_random(match[0]) else match[0]


def is_random(text: str) -> bool:
    """Whether ``text`` is no word, slug, hash, UUID or ULID: the kind of its characters changes often."""
    if _HEX.match(text) or text.isupper() or not any(map(str.isdigit, text)):
        return False
    return 4 * len(_CHANGES.findall(text)) >= len(text)
