"""Decides by its name whether a value is a secret: ``X-Auth-Token`` names one, ``author`` does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.safe_repr import safe_repr

_SENSITIVE = r"""
    authorization | auth | pwd | pw | passcode | jwt | credentials? | dsn | connection[-_.]?string
    | [a-z]* (?: password | passwd | passphrase | secret | token )          # authtoken, PGPASSWORD
    | [a-z]* (?: passwords | secrets | tokens | cookies ) $
    | (?: api | access | private | secret | encryption | signing | master | account | ssh | license | subscription
        | hmac | service[-_.]?account ) [-_.]? key
    | (?: api | access | private | secret | ssh ) [-_.]? keys $
    | cookie | csrf(?:[-_]?token)? | xsrf
    | session(?:[-_]?id)? | sid | (?:php|j)?sess(?:ion)?[-_]?id | signature | sig | otp | totp | pin | ssn
    | social[-_.]?security(?:[-_.]?number)? | security[-_.]?(?:code|answer) | captcha[-_.]?response
    | (?: re | h ) captcha[-_.]?response
    | card[-_.]?number | cvv | cvc2? | cvv2 | mnemonic | seed[-_.]?phrase
    | (?: recovery | backup | verification | mfa ) [-_.]? codes?
    | (?: ^ | (?: user | db | database | smtp | mail | ftp | redis | mysql | pg | ssh | ldap | proxy | admin | root
        | key | store | trust | login | default ) [-_.]? ) pass $
    | (?: bind | root | user | admin | db | login ) pw
    | passwort | kennwort | contrase[ñn]a | senha | wachtwoord | mot[-_ ]de[-_ ]passe       # in other languages
"""

_ABOUT_A_SECRET = expression(
    r"""
    ^ (?: has | is | needs | num | max | min | total | n | count | use ) _
    | (?: ^ | _ ) (?: stop | eos | bos | pad | unk | sep | cls | mask | start | end | special | prompt | completion
        | input | output | cached | reasoning ) _tokens? $                                    # of language models
    | _ (?: counts? | total | length | len | size | limit | usage | used | budget | type | kind | method | mode
        | scheme | status | state | age | ttl | expir(?:y|es|ed) | expire(?:_\w+)?
        | (?: expires | issued | changed | created | updated ) _ (?: at | in )
        | duration | timeout | changed | algorithm | alg | enabled | disabled | required | strength | version
        | provider | name | url | uri | endpoint | consent | policy | format | index | domain | path | secure
        | samesite | httponly | level | time | backend | hasher | manager | result | replay | loaded | minutes | hours
        | days | seconds ) $
    | ^ (?: tokens | cookies | secrets | passwords | sessions ) _ (?: used | left | accepted )
    """,
    re.VERBOSE,
)
"""Names of facts about a secret: ``session_count``, ``token_type``, ``has_password``."""

_CAMEL = expression(r"(?<=[a-z0-9])(?=[A-Z])")
_GAPS = expression(r"[-. ]++")
_COUNTABLE = expression(r"(?:[^s]s|(?:^|_)pass)$")
_MAX_COUNT, _MAX_PASSED = 7, 3
"""Digits of a number that counts: of tokens, and of tests that pass."""

_NOTHING = ("None", "True", "False")
_DIRECTORY = expression(r"(?:/[\w.@+-]*+)++$|[A-Za-z]:\\")

PERSONAL_HEADERS = frozenset(
    {"cookie", "set-cookie", "forwarded", "x-forwarded-for", "x-real-ip", "remote-addr", "true-client-ip"}
    | {"x-client-ip", "x-cluster-client-ip", "cf-connecting-ip", "fastly-client-ip", "proxy-authorization"}
)

_PERSONAL_NAMES = frozenset(name.replace("-", "_") for name in PERSONAL_HEADERS if "-" in name)
"""Their normalised names anywhere, such as in a dict of headers; ``forwarded`` is a word of its own."""

_MAX_NAME = 256
"""Characters of a name that are checked; a longer one is checked at both ends."""


def create_name_check(
    sensitive: Iterable[str] = (), safe: Iterable[str] = (), *, hides_personal: bool = False
) -> Callable[[str], bool]:
    """Create the function that returns whether a value with a given name is a secret.

    Args:
        sensitive: More names of secrets, as a whole name or as words of a longer one.
        safe: Names that are not sensitive although the built-in list says so.
        hides_personal: Whether the names of headers with a client's address count too.
    """
    added = [r"[-_. ]?".join(map(re.escape, _normalised(each).split("_"))) for each in sensitive]
    own = re.compile(rf"(?<![a-z])(?:{'|'.join(added)})(?![a-z])", re.IGNORECASE) if added else None
    built_in = expression(rf"(?<![a-z])(?:{_SENSITIVE})(?![a-z])", re.IGNORECASE | re.VERBOSE)
    allowed = {_normalised(each) for each in safe}

    @lru_cache(maxsize=4_096)
    def is_sensitive(name: str) -> bool:
        if len(name) > _MAX_NAME:
            name = f"{name[: _MAX_NAME // 2]} {name[-_MAX_NAME // 2 :]}"
        spaced = _spaced(name)
        if own is not None and own.search(spaced):
            return True
        normal = _normalised(name)
        is_personal = hides_personal and normal.removeprefix("http_") in _PERSONAL_NAMES
        if not is_personal and built_in.search(spaced) is None:
            return False
        if normal in allowed or (allowed and _normalised(name.rpartition(".")[2]) in allowed):
            return False
        return _ABOUT_A_SECRET.search(normal) is None

    return is_sensitive


def _spaced(name: str) -> str:
    """``userPassword`` as ``user_Password``."""
    return name if name.islower() else _CAMEL.sub("_", name)


def _normalised(name: str) -> str:
    """``User-Password`` and ``user.password`` as ``user_password``."""
    return _GAPS.sub("_", _spaced(name.lstrip("-"))).lower()


def is_fact(name: str, value: Any) -> bool:
    """Whether ``value``, under a sensitive name, is no secret: a number of ``cookies``, the directory in ``PWD``.

    Texts may be quoted, as local variables are.
    """
    kind = type(value)
    if kind in (list, tuple):
        return len(value) > 0 and all(is_fact(name, each) for each in value)
    if kind in (int, float):
        return _COUNTABLE.search(_normalised(name)) is not None
    if kind is not str:
        return False
    bare = unquoted(value)
    if bare.isdigit() and _COUNTABLE.search(normal := _normalised(name)):
        return len(bare) <= (_MAX_PASSED if normal.endswith("pass") else _MAX_COUNT)
    return bare in _NOTHING or (name.lower() in ("pwd", "oldpwd") and _DIRECTORY.match(bare) is not None)


def unquoted(text: str) -> str:
    """``text`` without the quotes of its ``repr``."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


is_sensitive = create_name_check()
"""Whether a value with this name is a secret by the built-in list."""


def plain_name(key: Any) -> str:
    """A key as text, without the quotes and the ``b`` of a ``repr``."""
    if isinstance(key, bytes):
        return key.decode("latin-1")
    text = key if isinstance(key, str) else safe_repr(key, str)
    return text[2:-1] if text[:2] in ("b'", 'b"') else text.strip("'\"")


def are_pairs(value: Any) -> bool:
    """Whether ``value`` is a list of pairs of a name and a value, as headers are."""
    return len(value) > 0 and all(
        type(item) in (list, tuple) and len(item) == 2
        and isinstance(item[0], (str, bytes))
        for item in value
    )  # fmt: skip
