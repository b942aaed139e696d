"""Masks values that a text gives to a sensitive name: ``password=...`` in a message, ``"token": "..."`` in JSON.

The names are those for attributes. After ``=`` any value is masked. After a colon and a space a plain word stays, as
in ``token: expired``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = expression(
    r"""(?<![\w.-]) (?P<name>(?P<flag>--)?+[\w.-]{2,128}+) (?P<close>\\{0,3}+["'])?+ \]?+ \\{0,4}+ [ \t]{0,4}+
    (?: (?P<sign>=>|:=|=(?!=)|:(?![:/=])) [ \t]{0,4}+
      | (?P<pair>,) [ \t]{0,4}+ (?=\(?b?\\{0,3}["'])
      | (?(flag)(?<=[ \t])|(?!)) )
    """,
    re.VERBOSE,
)
_OPENING = expression(r"(?:[brufBRUF]{1,2})?(\\{0,3})([\"'])(\2{1,7}(?=[^\s,;&)\]}]))?")
"""An opening quote, with its string prefix and escapes; quotes are doubled inside an SQL literal."""

_UNQUOTED = r"(?:\[Filtered\]|[^\s,;&)\]}\"'<>\\])+"
_UNQUOTED_VALUE = expression(_UNQUOTED)
_SECOND_WORD = expression(r"[ \t]{1,4}" + _UNQUOTED)
_WORD = expression(r"(?:[A-Z]?[a-z]+(?:'[a-z]+)?|[A-Z]+|\d{1,3})[.!?]*")
_LINE = expression(r"[^\n\\]*+(?:\\(?!n)[^\n\\]*+)*+")
"""The rest of a line; its end may be escaped."""

_PLACEHOLDER = expression(
    r"""(?: none | null | nil | true | false | undefined | \*+ | \?+ | x{3,} | %s | %\(\w+\)s | \$\d+ | :\w+ | \{\w*\}
    | <\w*> | \.{3} | \(masked\) | \[filtered\] ) $""",
    re.IGNORECASE | re.VERBOSE,
)
_BRACKETS = {"{": "}", "[": "]", "(": ")"}
_HEADERS_WITH_SPACES = expression(r"(?:authorization|cookie)$", re.IGNORECASE)
"""Headers whose values contain spaces; the value reaches to the end of the line."""

_HEADERS_IN_PAIRS = expression(r"(?:authorization|cookie|token|api-key)$", re.IGNORECASE)
"""Quoted names that form a pair with the next quoted text: a header and its value, not two items of a list."""

_MAX_BRACKETED = 20_000
"""Characters within which the closing bracket of a value is searched."""


def create_assignment_mask(is_sensitive: Callable[[str], bool]) -> Callable[[str], str]:
    """Create the function that masks the values of sensitive names in a text."""

    def mask_assignments(text: str) -> str:
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
            if not is_sensitive(name):
                position = match.end("name") if match["sign"] is None else position
                continue
            start, end = _find_value(text, match)
            if start < end:
                parts += [text[done:start], FILTERED]
                done = position = end
        return "".join([*parts, text[done:]]) if parts else text

    return mask_assignments


def _find_value(text: str, match: re.Match[str]) -> tuple[int, int]:
    """Start and end of the value of the name in ``match``; both are equal if there is nothing to mask."""
    name, sign, start = match["name"], match["sign"], match.end()
    if match["pair"] is not None and (match["close"] is None or _HEADERS_IN_PAIRS.search(name) is None):
        return start, start
    opening = _OPENING.match(text, start)
    if opening is not None:
        return _find_quoted_value(text, opening)
    if text[start : start + 1] in _BRACKETS:
        return _find_bracketed_value(text, start)
    if _HEADERS_WITH_SPACES.search(name) and sign == ":":
        rest = _LINE.match(text, start)
        return start, rest.end() if rest is not None else start
    plain = _UNQUOTED_VALUE.match(text, start)
    if plain is None or _PLACEHOLDER.match(plain[0]):
        return start, start
    if sign == ":" and text[start - 1] != ":" and match["close"] is None and _WORD.fullmatch(plain[0]):
        return start, start
    end = plain.end()
    if _HEADERS_WITH_SPACES.search(name) or plain[0].lower() in ("bearer", "basic", "digest", "token"):
        more = _SECOND_WORD.match(text, end)
        end = more.end() if more else end
    return start, end


def _find_quoted_value(text: str, opening: re.Match[str]) -> tuple[int, int]:
    start, end = opening.end(), opening.end()
    closing = opening[1] + opening[2] + (opening[3] or "")
    while True:
        end = text.find(closing, end)
        if end < 0:
            return start, len(text)
        if text[end - 1] != "\\" or opening[1]:
            break
        end += len(closing)
    return (start, start) if not text[start:end].strip() or _PLACEHOLDER.match(text[start:end]) else (start, end)


def _find_bracketed_value(text: str, start: int) -> tuple[int, int]:
    opening, depth = text[start], 0
    closing = _BRACKETS[opening]
    for position in range(start, min(len(text), start + _MAX_BRACKETED)):
        if text[position] == opening:
            depth += 1
        elif text[position] == closing:
            depth -= 1
            if depth == 0:
                is_empty = position == start + 1
                return start, start if is_empty or text[start : position + 1] == FILTERED else position + 1
    return start, len(text)
