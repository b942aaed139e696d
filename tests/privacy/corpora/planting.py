"""Fills marked places of a text with made-up secrets, the same ones in every run.

A mark stands between guillemets and says what is made there: ``«alnum 32»`` is 32 letters and digits, ``«word»`` a
word that nobody knows, ``«pass»`` such a word with a capital and two digits, ``«=text»`` the given text itself. What
is made for a mark is a secret; after ``~`` it is harmless filler, for example the number of a workspace within a key.
"""

import base64
import json
import random
import re
import string
import textwrap
from collections.abc import Callable
from typing import Any

from tests.privacy.corpora import Secret

_MARK = re.compile("«(~?)([^»]+)»")

_ALPHABETS = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "b32": string.ascii_uppercase + "234567",
    "b64": string.ascii_letters + string.digits + "+/",
    "bech32": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    "digits": string.digits,
    "hex": string.digits + "abcdef",
    "HEX": string.digits + "ABCDEF",
    "letters": string.ascii_lowercase,
    "lower": string.ascii_lowercase + string.digits,
    "upper": string.ascii_uppercase + string.digits,
    "url": string.ascii_letters + string.digits + "_-",
    "url_": string.ascii_letters + string.digits + "_",
}


def made(form: str, seed: str) -> str:
    """One made-up secret of the given form; equal seeds give equal secrets."""
    random_ = random.Random(seed)
    name, _, length = form.partition(" ")
    if form.startswith("="):
        return form[1:]
    if name in ("word", "pass"):
        word = "".join(random_.choice("bdfgjklmnprstvz") + random_.choice("aeiou") for _ in range(5))
        return word if name == "word" else f"{word.capitalize()}{random_.randint(10, 99)}"
    if name == "uuid":
        digits = "".join(random_.choices(_ALPHABETS["hex"], k=32))
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    size = int(length)
    # A key that has neither a capital nor a digit by chance would test something else than its format.
    while True:
        text = "".join(random_.choices(_ALPHABETS[name], k=size))
        if size < 16 or name in ("digits", "letters", "alpha") or any(char.isdigit() for char in text):
            return text


def fill(value: Any, seed: str, secrets: list[str]) -> Any:
    """Fill the marks of a text, also within dicts, lists, tuples and sets, and collect the secrets made."""
    if isinstance(value, dict):
        return {fill(key, seed, secrets): fill(item, seed, secrets) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)([fill(item, seed, secrets) for item in value])
    if not isinstance(value, str):
        return value

    def one(match: re.Match[str]) -> str:
        filler, form = match.groups()
        text = made(form, f"{seed} {match.start()} {len(secrets)}")
        if not filler:
            secrets.append(text)
        return text

    return _MARK.sub(one, value)


def planted(kind: str, where: str, value: Any) -> Secret:
    """The case of a text or value with marks."""
    secrets: list[str] = []
    text = fill(value, f"{kind} {where} {value!r}", secrets)
    first, *others = dict.fromkeys(secrets)
    return Secret(kind, text, first, where, tuple(others))


def built(kind: str, where: str, title: str, make: Callable[[str], Any], form: str = "word") -> Secret:
    """The case of a value that cannot be written as text, such as an object; ``make`` receives the secret."""
    secret = made(form, f"{kind} {where} {title}")
    return Secret(kind, make(secret), secret, where)


def web_token(seed: str, claims: dict[str, Any] | None = None) -> tuple[str, str, str]:
    """Header, payload and signature of a JSON web token (RFC 7519) that nobody has signed."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    payload = claims or {"sub": made("word", seed), "aud": "shop", "exp": 1893456000}
    return part({"alg": "HS256", "typ": "JWT"}), part(payload), made("url 43", seed)


def pem_lines(seed: str, label: str = "RSA PRIVATE KEY", lines: int = 5) -> list[str]:
    """The lines of a private key in PEM (RFC 7468), with random contents."""
    body = textwrap.wrap("MII" + made(f"b64 {64 * lines - 3}", seed), 64)
    return ["-----" + f"BEGIN {label}-----", *body, "-----" + f"END {label}-----"]
