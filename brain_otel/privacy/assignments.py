"""What a text gives to a sensitive name: ``password=...`` in a message, ``"token": "..."`` in JSON.

The names are the same as for attributes. After ``=`` the value is masked whatever it is; after a colon and a space
only if it does not read like a word, so that ``token: expired`` stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = expression(
    r"""(?<![\w.-]) (?P<name>[\w.-]{2,128}) (?P<close>\\{0,3}["'])? \]? \\{0,4} [ \t]{0,4}
    (?: (?P<sign>=>|:=|=(?!=)|:(?![:/=])) [ \t]{0,4}
      | (?P<pair>,) [ \t]{0,4} (?=\(?b?\\{0,3}["'])
      | (?P<space>[ \t]) )
    """,
    re.VERBOSE,
)
_OPENING = expression(r"(?:[brufBRUF]{1,2})?(\\{0,3})([\"'])(\2{1,7}(?=[^\s,;&)\]}]))?")
"""A quote, doubled where the whole was put into a literal of SQL."""
_UNQUOTED = r"(?:\[Filtered\]|[^\s,;&)\]}\"'<>\\])+"
_PLAIN = expression(_UNQUOTED)
_MORE = expression(r"[ \t]{1,4}" + _UNQUOTED)
_WORD = expression(r"(?:[A-Z]?[a-z]+(?:'[a-z]+)?|[A-Z]+|\d{1,3})[.!?]*")
_NOTHING = expression(
    r"""(?: none | null | nil | true | false | undefined | \*+ | \?+ | x{3,} | %s | %\(\w+\)s | \$\d+ | :\w+ | \{\w*\}
    | <\w*> | \.{3} | \(masked\) | \[filtered\] ) $""",
    re.IGNORECASE | re.VERBOSE,
)
_BRACKETS = {"{": "}", "[": "]", "(": ")"}
_LINES = expression(r"(?:authorization|cookie)$", re.IGNORECASE)
"""Headers whose values have spaces in them."""

_HEADER_PAIRS = expression(r"(?:authorization|cookie|token|api-key)$", re.IGNORECASE)
"""Names that, quoted and followed by a quoted text, are a header and its value, not two items of a list."""

_MAX_NESTED = 20_000
"""Characters of a bracketed value that are looked through for its end."""


def create_assignments(is_sensitive: Callable[[str], bool]) -> Callable[[str], str]:
    """Make the function that masks what a text gives to a sensitive name."""

    def masked(text: str) -> str:
        if "=" not in text and ":" not in text and '"' not in text and "'" not in text and "--" not in text:
            return text
        parts: list[str] = []
        done = 0
        position = 0
        while (match := _NAME.search(text, position)) is not None:
            position = match.end()
            name = match["name"]
            if match["sign"] is None and match["pair"] is None:
                position = match.end("name")
                if not name.startswith("--"):
                    continue
            if not is_sensitive(name):
                position = match.end("name") if match["sign"] is None else position
                continue
            start, end = _value(text, match)
            if start < end:
                parts += [text[done:start], FILTERED]
                done = position = end
        return "".join([*parts, text[done:]]) if parts else text

    return masked


def _value(text: str, match: re.Match[str]) -> tuple[int, int]:
    """From where to where the value stands that ``match`` gives to its name; nothing if there is none to mask."""
    name, sign, start = match["name"], match["sign"], match.end()
    if match["pair"] is not None and (match["close"] is None or _HEADER_PAIRS.search(name) is None):
        return start, start
    opening = _OPENING.match(text, start)
    if opening is not None:
        return _quoted(text, opening)
    if text[start : start + 1] in _BRACKETS:
        return _bracketed(text, start)
    if _LINES.search(name) and sign == ":":
        end = min(
            (each for each in (text.find("\n", start), text.find("\\n", start)) if each >= 0), default=len(text)
        )
        return start, end
    plain = _PLAIN.match(text, start)
    if plain is None or _NOTHING.match(plain[0]):
        return start, start
    if sign == ":" and text[start - 1] != ":" and match["close"] is None and _WORD.fullmatch(plain[0]):
        return start, start
    end = plain.end()
    if _LINES.search(name) or plain[0].lower() in ("bearer", "basic", "digest", "token"):
        more = _MORE.match(text, end)
        end = more.end() if more else end
    return start, end


def _quoted(text: str, opening: re.Match[str]) -> tuple[int, int]:
    start, end = opening.end(), opening.end()
    closing = opening[1] + opening[2] + (opening[3] or "")
    while True:
        end = text.find(closing, end)
        if end < 0:
            return start, len(text)
        if text[end - 1] != "\\" or opening[1]:
            break
        end += len(closing)
    return (start, start) if not text[start:end].strip() or _NOTHING.match(text[start:end]) else (start, end)


def _bracketed(text: str, start: int) -> tuple[int, int]:
    opening, depth = text[start], 0
    closing = _BRACKETS[opening]
    for position in range(start, min(len(text), start + _MAX_NESTED)):
        if text[position] == opening:
            depth += 1
        elif text[position] == closing:
            depth -= 1
            if depth == 0:
                return start, (
                    start if position == start + 1 or text[start : position + 1] == FILTERED else position + 1
                )
    return start, len(text)
