"""Finds a value in captured telemetry, in every encoding in which it could have left.

Texts are decoded, step by step, and the value is searched for in each result: encoders differ in what they escape, so
the encoded forms of a value are too many to list. Forms that are no text of their own, such as base64, are listed.
"""

import base64
import html
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus

MIN_LENGTH = 4
"""Characters of the shortest value that is searched for; a shorter one stands in harmless texts."""

_MAX_STEPS = 3
"""How many times a text is decoded."""

_ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|([^uxU]))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "0": "\0"}
_SEPARATORS = re.compile(r"(?<=[0-9a-f]{2})[: ](?=[0-9a-f]{2})")


def _unescaped(text: str) -> str:
    """``text`` without the backslashes of JSON and of a ``repr``, and with the bytes that they stand for decoded."""

    def char(match: re.Match[str]) -> str:
        number = match[1] or match[2] or match[3]
        if number is None:
            return _CONTROLS.get(match[4], match[4])
        code = int(number, 16)
        return chr(code) if code <= 0x10FFFF else ""

    return _joined(_ESCAPES.sub(char, text))


def _joined(text: str) -> str:
    """``text`` with surrogate pairs, and UTF-8 read byte by byte, as the characters that they stand for."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEXADECIMAL = re.compile(r"(?<![0-9a-zA-Z])(?:[0-9a-fA-F]{2}){4,}(?![0-9a-zA-Z])")


def _text_of(data: bytes) -> str:
    """The text in ``data``, which may be UTF-16 and then has zeros."""
    texts = [data.decode("utf-8", "replace")]
    if b"\0" in data:
        pairs = [data, data[1:]]  # it may begin in the middle of a pair
        texts += [each.decode(encoding, "replace") for each in pairs for encoding in ("utf-16-le", "utf-16-be")]
    return "\n".join(texts)


def _without_base64(text: str) -> str:
    """``text`` with the words decoded that are base64 of a text."""

    def decoded(word: re.Match[str]) -> str:
        given = word[0].rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
        data = base64.b64decode(given[: len(given) - (len(given) % 4 == 1)] + "=" * (-len(given) % 4))
        return _text_of(data) if b"\0" in data or data.isascii() or _is_text(data) else word[0]

    return _BASE64.sub(decoded, text)


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeError:
        return False


def _without_hexadecimal(text: str) -> str:
    return _HEXADECIMAL.sub(lambda digits: _text_of(bytes.fromhex(digits[0])), text)


_DECODERS: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "percent-encoded": ("%", unquote),
    "form": ("+", unquote_plus),
    "escaped": ("\\", _unescaped),
    "HTML": ("&", html.unescape),
    "base64": ("", _without_base64),
    "hexadecimal": ("", _without_hexadecimal),
}
"""Each with a character that the encoded text has, if there is one."""


def places_of(value: str, data: Any, place: str = "") -> Iterator[str]:
    """The places in ``data`` that hold ``value``, such as ``events.0.extra.note (base64)``, keys included.

    Raises:
        ValueError: ``value`` is shorter than 4 characters.
    """
    if len(value) < MIN_LENGTH:
        raise ValueError(f"{value!r} is too short to be searched for; allowed: {MIN_LENGTH} or more characters")
    yield from _places(_forms(value), data, place)


def _forms(value: str) -> dict[str, str]:
    """The forms of ``value`` by their names, each folded to lower case."""
    forms = {"plain": value, "reversed": value[::-1], "hexadecimal": value.encode().hex()}
    for offset in range(3):  # where the value begins within the three bytes that become four characters
        encoded = base64.b64encode(b"\0" * offset + value.encode()).decode()
        core = encoded[(0, 2, 3)[offset] : len(encoded.rstrip("=")) // 4 * 4]
        if len(core) >= MIN_LENGTH:
            forms[f"base64 {offset}"] = core
            forms[f"base64url {offset}"] = core.translate(str.maketrans("+/", "-_"))
    return {name: form.lower() for name, form in forms.items()}


def _places(forms: dict[str, str], data: Any, place: str) -> Iterator[str]:
    if isinstance(data, Mapping):
        for key, each in data.items():
            yield from _places(forms, str(key), f"{place}.{key} as a key")
            yield from _places(forms, each, f"{place}.{key}")
    elif isinstance(data, (list, tuple, set, frozenset)):
        for index, each in enumerate(data):
            yield from _places(forms, each, f"{place}.{index}")
    else:
        text = _text_of(bytes(data)) if isinstance(data, (bytes, bytearray)) else str(data)
        found = next(filter(None, (_form_in(each, forms, name) for name, each in _decoded(text))), "")
        if found:
            yield f"{place.lstrip('.')} ({found})"


def _form_in(text: str, forms: dict[str, str], encoding: str) -> str:
    """How the value stands in ``text``, which was decoded from ``encoding``; empty if it does not."""
    lower = text.lower()
    form = next((name for name, form in forms.items() if form in lower), "")
    if not form and forms["hexadecimal"] in _SEPARATORS.sub("", lower):
        form = "hexadecimal"
    if not form or not encoding:
        return form.partition(" ")[0].removesuffix("url")
    return encoding if form == "plain" else _name(form.partition(" ")[0].removesuffix("url"), encoding)


def _decoded(text: str) -> Iterator[tuple[str, str]]:
    """``text`` and what it is decoded to, each after the names of its encodings, the inner one first."""
    seen = {text: ""}
    level = seen
    for _ in range(_MAX_STEPS + 1):
        yield from ((encoding, each) for each, encoding in level.items())
        found = {
            decode(each): _name(kind, encoding)
            for each, encoding in level.items()
            for kind, (mark, decode) in _DECODERS.items()
            if mark in each
        }
        level = {each: encoding for each, encoding in found.items() if each not in seen}
        seen = {**seen, **level}


def _name(kind: str, outer: str) -> str:
    if kind == outer:
        return f"{kind} twice"
    return f"{kind}, {outer}" if outer else kind
